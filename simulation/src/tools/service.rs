//! The service outside: it does what the tools do, tells the book, and fails as its mood is.

use std::sync::Arc;

use async_trait::async_trait;
use headwater_actors::tools::{Answer, Backend, BackendError, Content, Invocation, Listed};
use serde_json::{Value, json};

use super::HEAL_MS;
use super::book::{Book, Place};
use super::catalog::{Entry, OUTPUT_BYTES};
use crate::world::World;

/// Longer than any caller waits, in ms.
const FOR_EVER_MS: u64 = 1_000_000;
/// The latest that a call arrives, in ms.
const ARRIVES_MS: u64 = 9_000;

/// What may go wrong, in percent of the calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mood {
    busy: u64,
    unsent: u64,
    lost: u64,
    broken: u64,
    hangs: u64,
    late: u64,
    garbage: u64,
    too_large: u64,
    /// Of the others, how many take their time.
    slow: u64,
}

impl Mood {
    pub(super) fn draw(world: &World) -> Mood {
        let some = |most: u64| match world.percent(50) {
            true => world.between(1, most),
            false => 0,
        };
        Mood {
            busy: some(25),
            unsent: some(25),
            lost: some(25),
            broken: some(15),
            hangs: some(12),
            late: some(10),
            garbage: some(12),
            too_large: some(12),
            slow: some(60),
        }
    }
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct Service {
    world: World,
    pub(super) book: Book,
    mood: Mood,
}

impl Service {
    pub(super) fn new(world: &World, book: &Book, mood: Mood) -> Service {
        Service { world: world.clone(), book: book.clone(), mood }
    }

    /// The service as one process reaches it.
    pub(super) fn seen_by(&self, place: Place) -> Arc<dyn Backend> {
        Arc::new(Way { service: self.clone(), place })
    }

    fn strikes(&self, share: u64, what: &'static str) -> bool {
        let strikes = self.world.now_ms() < HEAL_MS && self.world.percent(share);
        if strikes {
            self.world.count(what);
        }
        strikes
    }

    /// Does what is asked; the service remembers calls of tools that know their ids.
    fn act(&self, place: Place, tool: Entry, invocation: &Invocation) -> Value {
        let number = invocation.arguments.get("n").and_then(Value::as_u64).unwrap_or_default();
        let done = self.book.acted(place, tool, &invocation.call, number);
        json!({"n": number, "done": done})
    }
}

struct Way {
    service: Service,
    place: Place,
}

fn answer(content: Content) -> Answer {
    Answer { content, is_error: false, bytes_in: 10, bytes_out: 10, reached: Vec::new() }
}

#[async_trait]
impl Backend for Way {
    async fn call(&self, invocation: &Invocation) -> Result<Answer, BackendError> {
        let Way { service, place } = self;
        let Service { world, book, mood } = service;
        let call = &invocation.call;
        world.sleep(world.between(1, 40)).await;
        world.note(format_args!("{place:?} asks {} for {call}", invocation.tool));
        let Some(tool) = Entry::named(&invocation.tool) else {
            return Err(BackendError::NotFound { what: invocation.tool.clone() });
        };
        if service.strikes(mood.busy, "tool busy") {
            let retry_after_ms = world.between(1, 800);
            return Err(BackendError::Busy { why: "much to do".to_owned(), retry_after_ms });
        }
        if service.strikes(mood.unsent, "tool not reached") {
            return Err(BackendError::Unsent { why: "no route".to_owned() });
        }
        book.reached(*place, tool, call);
        let lost = || BackendError::Unknown { why: "the connection broke off".to_owned() };
        if service.strikes(mood.broken, "tool broke off") {
            return Err(lost());
        }
        if service.strikes(mood.hangs, "tool hung") {
            if world.percent(50) {
                service.act(*place, tool, invocation);
            }
            world.sleep(FOR_EVER_MS).await;
        }
        if service.strikes(mood.late, "tool arrived late") {
            let (service, place, invocation) = (service.clone(), *place, invocation.clone());
            let sleep = world.sleep(world.between(50, ARRIVES_MS));
            world.spawn(async move {
                sleep.await;
                service.act(place, tool, &invocation);
            });
            world.sleep(FOR_EVER_MS).await;
        }
        let content = service.act(*place, tool, invocation);
        if service.strikes(mood.lost, "tool lost its answer") {
            return Err(lost());
        }
        if service.strikes(mood.garbage, "tool said something else") {
            return Ok(answer(Content::text("<html>it works</html>")));
        }
        if service.strikes(mood.too_large, "tool said too much") {
            if world.percent(50) {
                return Err(BackendError::TooLarge { bytes_max: OUTPUT_BYTES });
            }
            return Ok(answer(Content::text("x".repeat(2 * OUTPUT_BYTES as usize))));
        }
        if service.strikes(mood.slow, "tool slow") {
            world.sleep(world.between(100, 6_000)).await;
        }
        Ok(answer(Content::Json(content)))
    }

    async fn list(&self) -> Result<Vec<Listed>, BackendError> {
        Ok(Vec::new())
    }
}
