//! One answer: reads the prompt, draws token after token, and says what may be shown.

use async_channel::{Receiver, Sender};
use headwater_models::chat::{ChatError, ChatEvent, Chunk, Finish, Usage};
use rayon::ThreadPool;

use super::model::Model;
use super::network::PART;
use super::sampler::{Draw, Sampler};
use super::text::Pieces;
use crate::kernels::workers::Workers;

/// Chunks of an answer beside one for each of its tokens: that it begins, what was held back,
/// and that it ended or failed.
const OTHER_CHUNKS: usize = 4;

type Said = Result<Chunk, ChatError>;

/// An accepted request.
pub(super) struct Job {
    /// The model's name as the request has it.
    pub(super) name: String,
    /// At least one token, and fewer than the context has.
    pub(super) prompt: Vec<u32>,
    /// Most tokens of the answer, at least one.
    pub(super) limit: usize,
    pub(super) draw: Draw,
    pub(super) stop: Vec<String>,
    pub(super) stream: bool,
    pub(super) sender: Sender<Said>,
}

impl Job {
    /// A channel with room for all that an answer of `limit` tokens says, so that a client who
    /// reads slowly holds up nobody; the limit bounds what its answer takes.
    pub(super) fn channel(limit: usize) -> (Sender<Said>, Receiver<Said>) {
        async_channel::bounded(limit.saturating_add(OTHER_CHUNKS))
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_dropped(&self) -> bool {
        self.sender.is_closed()
    }
}

/// The threads of one sequence; none where the calling thread is the only one.
pub(super) struct Threads(pub(super) Option<ThreadPool>);

impl Threads {
    fn run<T: Send>(&self, work: impl FnOnce(&Workers<'_>) -> T + Send) -> T {
        match &self.0 {
            Some(pool) => {
                let threads = pool.current_num_threads();
                pool.install(|| work(&Workers { threads, pace: None }))
            }
            None => work(&Workers { threads: 1, pace: None }),
        }
    }
}

/// Writes the answer until it ends or nobody waits for it any more.
pub(super) fn answer(model: &Model, threads: &Threads, job: Job) {
    let mut out = Out { job: &job, held: Vec::new(), text: String::new() };
    out.say(vec![ChatEvent::Started { id: None, model: Some(job.name.clone()) }]);
    match write(model, threads, &mut out) {
        Ending::Dropped => {}
        Ending::Failed(reason) => {
            // The channel has room for it, or is closed.
            let _ = job.sender.try_send(Err(ChatError::Cut { reason: reason.to_owned() }));
        }
        Ending::Finished { reason, stop, written } => {
            let usage =
                Usage { input: job.prompt.len() as u64, output: written, ..Usage::default() };
            let finished = ChatEvent::Finished { choice: 0, reason, stop };
            out.finish(vec![finished, ChatEvent::Usage(usage)]);
        }
    }
}

enum Ending {
    Finished {
        reason: Finish,
        stop: Option<String>,
        /// Tokens drawn, the one that ended the answer too.
        written: u64,
    },
    Dropped,
    Failed(&'static str),
}

fn write(model: &Model, threads: &Threads, out: &mut Out<'_>) -> Ending {
    let job = out.job;
    let network = &model.network;
    let mut past = network.past(job.prompt.len() + job.limit);
    let mut state = Vec::new();
    for part in job.prompt.chunks(PART) {
        if job.is_dropped() {
            return Ending::Dropped;
        }
        state = threads.run(|workers| network.read(workers, part, &mut past));
    }
    let mut sampler = Sampler::new(job.draw.clone());
    let mut pieces = Pieces::new(job.stop.clone());
    let mut written = 0;
    let (reason, stop) = loop {
        if job.is_dropped() {
            return Ending::Dropped;
        }
        let mut logits = threads.run(|workers| network.logits(workers, &state));
        let Some(id) = sampler.next(&mut logits) else {
            return Ending::Failed("the weights of the model give no numbers; fetch them again");
        };
        written += 1;
        // A control token is no text: it ends the turn.
        let Some(bytes) = model.vocabulary.bytes(id) else { break (Finish::Stop, None) };
        let piece = pieces.push(bytes);
        out.text(piece.text);
        if piece.stop.is_some() {
            break (Finish::Stop, piece.stop);
        }
        if written == job.limit as u64 {
            break (Finish::Length, None);
        }
        state = threads.run(|workers| network.read(workers, &[id], &mut past));
    };
    out.text(pieces.finish(stop.is_some()));
    Ending::Finished { reason, stop, written }
}

/// Where events go: out at once, or together in the end.
struct Out<'a> {
    job: &'a Job,
    held: Vec<ChatEvent>,
    text: String,
}

impl Out<'_> {
    fn text(&mut self, text: String) {
        if self.job.stream && !text.is_empty() {
            self.say(vec![ChatEvent::Text { choice: 0, text }]);
        } else {
            self.text.push_str(&text);
        }
    }

    fn say(&mut self, events: Vec<ChatEvent>) {
        if self.job.stream {
            // The channel has room for it, or is closed; who writes looks at that.
            let _ = self.job.sender.try_send(Ok(Chunk::of(events)));
        } else {
            self.held.extend(events);
        }
    }

    fn finish(mut self, last: Vec<ChatEvent>) {
        let mut events = std::mem::take(&mut self.held);
        if !self.text.is_empty() {
            events.push(ChatEvent::Text { choice: 0, text: std::mem::take(&mut self.text) });
        }
        events.extend(last);
        let _ = self.job.sender.try_send(Ok(Chunk::of(events)));
    }
}
