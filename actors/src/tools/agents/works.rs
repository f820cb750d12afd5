//! What a run has under way: futures that belong to whoever holds the run, so that they end with it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use headwater_tools::agent::Event;

type Work = Pin<Box<dyn Future<Output = Event> + Send>>;

/// See the module. Few are under way at once, so all are asked when one has moved.
#[derive(Default)]
pub(super) struct Works {
    /// Each by the call that it is for; the model's question has none.
    all: Vec<(Option<String>, Work)>,
}

impl Works {
    pub(super) fn begin(
        &mut self,
        call: Option<String>,
        work: impl Future<Output = Event> + Send + 'static,
    ) {
        self.all.push((call, Box::pin(work)));
    }

    /// The next one that ends. Waits for ever when there is none.
    pub(super) async fn next(&mut self) -> Event {
        poll_fn(|context| {
            for place in 0..self.all.len() {
                if let Poll::Ready(event) = self.all[place].1.as_mut().poll(context) {
                    drop(self.all.swap_remove(place));
                    return Poll::Ready(event);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Nobody waits for this call any more.
    pub(super) fn leave(&mut self, call: &str) {
        self.all.retain(|(of, _)| of.as_deref() != Some(call));
    }

    pub(super) fn leave_all(&mut self) {
        self.all.clear();
    }
}
