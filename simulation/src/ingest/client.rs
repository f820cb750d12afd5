//! Clients: create jobs, stream their bodies in pieces, break off and come back, pause, resume,
//! cancel, and queue dead letters again.

use headwater_actors::ingest::{
    ChunkSettings, IngestError, JobKey, JobSpec, NearDuplicates, SourceSpec, Split,
};

use super::book::Book;
use super::lines::{self, Body};
use super::node::{Cluster, Life};
use crate::world::World;

pub(super) const TENANT: &str = "acme";
pub(super) const COLLECTION: &str = "notes";
/// Windows of the jobs; so small that most documents have several chunks.
pub(super) const WINDOW_TOKENS: usize = 8;

/// One job of a run.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) cluster: Cluster,
    pub(super) book: Book,
    pub(super) key: JobKey,
    spec: JobSpec,
}

pub(super) fn chunk_settings() -> ChunkSettings {
    ChunkSettings { overlap_percent: 0, ..ChunkSettings::of(WINDOW_TOKENS, Split::Sentence) }
}

impl Client {
    /// Draws a job and its body.
    pub(super) fn draw(
        cluster: &Cluster,
        book: &Book,
        number: u64,
        next: &mut u64,
    ) -> (Client, Body) {
        let (world, options) = (&cluster.world, &cluster.options);
        let body = lines::draw(world, options, next);
        let near = [NearDuplicates::Off, NearDuplicates::Report];
        let spec = JobSpec {
            collection: COLLECTION.to_owned(),
            model: None,
            chunks: chunk_settings(),
            priority: world.between(0, 9) as u8,
            tokens_per_s: world.percent(25).then(|| world.between(20, 200)),
            workers_max: world.between(1, 4) as u32,
            near_duplicates: near[world.between(0, 1) as usize],
            source: SourceSpec::Stream,
        };
        let key = JobKey { tenant: TENANT.to_owned(), id: format!("job-{number}") };
        book.add_body(&key.id, body.lines.clone());
        (Client { cluster: cluster.clone(), book: book.clone(), key, spec }, body)
    }

    fn world(&self) -> &World {
        &self.cluster.world
    }

    async fn rest(&self) {
        self.world().sleep(self.world().between(20, 800)).await;
    }

    /// Streams the body until the job has all of it, or takes no more.
    pub(super) async fn stream(self, body: Vec<u8>) {
        self.world().sleep(self.world().between(0, 8_000)).await;
        while !self.cluster.is_closed() {
            let Some(life) = self.cluster.any() else {
                self.rest().await;
                continue;
            };
            match self.send(&life, &body).await {
                Ok(true) => return self.world().count("body sent"),
                Ok(false) => self.world().count("client broke off"),
                Err(IngestError::Refused(_)) => return,
                Err(IngestError::Gap { .. }) => self.world().count("two clients sent one body"),
                Err(_) => {}
            }
            self.rest().await;
        }
    }

    /// False when the client breaks off.
    async fn send(&self, life: &Life, body: &[u8]) -> Result<bool, IngestError> {
        let world = self.world();
        life.handle.create(&self.key, self.spec.clone()).await?;
        // A client may send from the beginning again, or from where it was told to go on.
        let received = life.handle.status(&self.key).await?.received.lines;
        let offset = if world.percent(50) { received } else { 0 };
        let mut ends = body.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let from = match offset {
            0 => 0,
            lines => ends.nth(lines as usize - 1).map_or(body.len(), |(at, _)| at + 1),
        };
        let mut intake = life.handle.intake(&self.key, offset).await?;
        let mut rest = &body[from..];
        while !rest.is_empty() {
            if world.now_ms() < self.cluster.options.heal_ms && world.percent(5) {
                if world.percent(50) {
                    intake.flush().await?;
                }
                return Ok(false);
            }
            let (piece, behind) = rest.split_at(rest.len().min(world.between(1, 400) as usize));
            intake.push(piece).await?;
            rest = behind;
            if world.percent(30) {
                intake.flush().await?;
                world.sleep(world.between(1, 1_500)).await;
            }
        }
        intake.finish().await?;
        life.handle.seal(&self.key).await?;
        Ok(true)
    }

    /// Pauses, resumes, cancels, and revives the dead until the world heals; then lets the job
    /// go on.
    pub(super) async fn steer(self, may_cancel: bool) {
        let world = self.world().clone();
        // Whether no resumption is under way any more that may still happen.
        let mut certain = true;
        while !self.cluster.is_closed() {
            world.sleep(world.between(1_000, 12_000)).await;
            let healed = world.now_ms() >= self.cluster.options.heal_ms;
            let Some(life) = self.cluster.any() else { continue };
            let handle = &life.handle;
            if healed {
                self.book.go_on(&self.key.id);
                match handle.resume(&self.key).await {
                    Ok(_) | Err(IngestError::Refused(_)) => return,
                    Err(_) => continue,
                }
            }
            match world.between(0, 5) {
                0 | 1 => {
                    if handle.pause(&self.key).await.is_ok() {
                        world.count("job paused");
                        if certain {
                            self.book.stop(&self.key.id);
                        }
                    }
                    world.sleep(world.between(100, 5_000)).await;
                    self.book.go_on(&self.key.id);
                    certain &= handle.resume(&self.key).await.is_ok();
                }
                2 | 3 if handle.retry_dead(&self.key).await.is_ok() => {
                    world.count("dead letters looked for");
                }
                4 if may_cancel && world.percent(40) && handle.cancel(&self.key).await.is_ok() => {
                    world.count("job cancelled");
                    self.book.stop(&self.key.id);
                    return;
                }
                _ => {}
            }
        }
    }
}
