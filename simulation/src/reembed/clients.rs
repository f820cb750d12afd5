//! Workers that bring documents in, as ingest does, and a searcher.

use std::collections::BTreeMap;

use headwater_actors::collection::{CollectionError, Found, SearchFor, Target, Value};

use super::board::{Order, chunks, text};
use super::node::{Cluster, Life};
use super::{NAME, TENANT};

type Outcome<T> = Result<T, CollectionError>;

/// Works off the board while the process lives.
pub(crate) async fn work(cluster: Cluster, life: Life) {
    let world = cluster.world.clone();
    loop {
        world.sleep(world.between(1, 150)).await;
        let Some(order) = cluster.board.take() else { continue };
        // A failed one is taken again, by whoever comes first.
        for _ in 0..4 {
            match bring_in(&cluster, &life, &order).await {
                Ok(()) => {
                    let put = order.content.is_some();
                    world.count(if put { "document put" } else { "document deleted" });
                    world.note(format_args!("document {} is {:?}", order.document, order.content));
                    order.done();
                    break;
                }
                Err(error) => {
                    world.count("document write failed");
                    world.note(format_args!("document {}: {error}", order.document));
                    if !error.is_retryable() {
                        break;
                    }
                    world.sleep(world.between(50, 1_000)).await;
                }
            }
        }
    }
}

async fn bring_in(cluster: &Cluster, life: &Life, order: &Order) -> Outcome<()> {
    let collections = &life.collections;
    let document = format!("document {}", order.document);
    let Some(content) = &order.content else {
        let removed = match collections.delete_document(TENANT, NAME, &document).await {
            Ok(removed) => removed,
            Err(CollectionError::NoDocument { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        return collections.remove_vectors(TENANT, NAME, &removed).await;
    };
    let fields = BTreeMap::from([("number".to_owned(), Value::Number(order.document as f64))]);
    let put = collections.put_document(TENANT, NAME, &document, fields, chunks(content)).await?;
    for target in &put.targets {
        let written = async {
            let missing = collections.missing(target, &put.chunks).await?;
            collections.embed_chunks(target, &missing).await
        };
        match written.await {
            Err(CollectionError::NotLive { .. }) => {}
            outcome => {
                outcome?;
            }
        }
    }
    if collections.remove_vectors(TENANT, NAME, &put.removed).await.is_err() {
        cluster.world.count("vectors left to be mended");
    }
    Ok(())
}

/// Searches now and then while the process lives.
pub(crate) async fn search(cluster: Cluster, life: Life) {
    let world = cluster.world.clone();
    let mut gone = 0;
    loop {
        world.sleep(world.between(10, 1_200)).await;
        let text = text(world.between(0, cluster.board.texts() - 1));
        let asked = if world.percent(20) { previous(&life).await } else { None };
        let pinned = asked.is_some();
        match search_once(&life, &text, asked.as_deref()).await {
            Ok(found) => {
                world.count("found");
                if pinned {
                    world.count("previous version searched");
                }
                world.note(format_args!("{} hits of {}", found.hits.len(), found.version));
                check(&cluster, &found);
            }
            Err(_) => world.count("search refused"),
        }
        let mixed = life.collections.metrics().mixed_versions();
        if mixed > 0 {
            world.violated("no_result_mixes_versions", format_args!("{mixed} hits were left out"));
        }
        let hits = life.collections.metrics().gone_hits();
        if hits > gone {
            world.count("a hit was gone");
        }
        gone = hits;
    }
}

async fn previous(life: &Life) -> Option<String> {
    let collection = life.collections.get(TENANT, NAME).await.ok()?;
    collection.versions.previous.map(|version| version.fingerprint)
}

/// One search as the edge does it.
pub(crate) async fn search_once(life: &Life, text: &str, asked: Option<&str>) -> Outcome<Found> {
    let target = life.collections.search_target(TENANT, NAME, asked).await?;
    search_target(life, &target, text).await
}

pub(crate) async fn search_target(life: &Life, target: &Target, text: &str) -> Outcome<Found> {
    let vector = life.collections.embed_query(target, text).await?;
    let wanted = SearchFor { vector, limit: 50, filter: None, min_score: None, texts: true };
    life.collections.search(target, wanted).await
}

fn check(cluster: &Cluster, found: &Found) {
    for hit in &found.hits {
        if hit.version != found.version {
            let seen = format!("a hit of {} in an answer of {}", hit.version, found.version);
            cluster.world.violated("no_result_mixes_versions", seen);
        }
        // A chunk may go between the look at its row and the read of its text.
        if let Some(text) = &hit.text
            && !text.starts_with("text number ")
        {
            cluster.world.violated("a_hit_has_its_own_text", text);
        }
    }
}
