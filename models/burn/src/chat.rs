//! A small chat model on the CPU: SmolLM2 (arXiv:2502.02737) from a GGUF file.
//!
//! Each sequence is a thread of its own that takes the next request from a bounded queue, so an
//! answer needs no runtime and holds up no other. [`LocalChat`] is the handle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use headwater_models::chat::{ChatError, ChatModel, ChatRequest, ChatStream};
use rayon::ThreadPoolBuilder;

use crate::LoadError;

mod answer;
mod model;
mod network;
mod queue;
mod request;
mod sampler;
mod settings;
mod template;
mod text;
mod tokens;
mod weights;

use answer::{Job, Threads, answer};
use model::Model;
use queue::Queue;
use request::Wanted;
pub use settings::LocalChatSettings;

/// Most sequences, and most threads of one.
const MOST_THREADS: usize = 256;

/// A chat model on this machine; a clone shares it. When the last one is dropped its threads
/// write the answers that were accepted, as far as somebody waits for them, and end.
///
/// It reads messages of text and calls no tools; a request for anything else is refused with
/// status 400. A client's text never becomes a control token, however it is spelt. Where a
/// request names no temperature it takes 0.2 and a `top_p` of 0.9, as the model's authors
/// recommend.
///
/// The usage counts as input the tokens of the messages with the template, and as output every
/// token that was drawn, the one that ended the answer and those of a stop text too, as the
/// server of llama.cpp does.
#[derive(Clone)]
pub struct LocalChat {
    handle: Arc<Handle>,
}

struct Handle {
    model: Arc<Model>,
    queue: Arc<Queue>,
}

impl LocalChat {
    /// Reads the weights and starts the threads. Blocks; call it where blocking is allowed.
    ///
    /// # Errors
    /// [`LoadError`] naming the file or the setting, and what is allowed.
    pub fn load(settings: &LocalChatSettings) -> Result<LocalChat, LoadError> {
        let within = |field: &str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(value);
            }
            let allowed = format!("{least} to {most}");
            Err(LoadError::unsupported("settings", field, value.to_string(), allowed))
        };
        let sequences = within("sequences", settings.sequences, 1, MOST_THREADS)?;
        within("context", settings.context, 2, usize::MAX)?;
        let threads = match within("threads", settings.threads, 0, MOST_THREADS)? {
            0 => thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS),
            threads => threads,
        };
        let model = Arc::new(Model::load(settings)?);
        let queue = Arc::new(Queue::new(sequences, settings.queue));
        // From here on its drop ends the threads, also when a later one does not start.
        let handle = Arc::new(Handle { model, queue });
        for index in 0..sequences {
            handle.start(index, threads).map_err(|reason| {
                let reason = format!("a thread does not start: {reason}; take fewer");
                LoadError::malformed("settings", "threads", reason)
            })?;
        }
        Ok(LocalChat { handle })
    }

    /// Most tokens of prompt and answer together.
    pub fn context(&self) -> usize {
        self.handle.model.context
    }

    /// How many tokens the request's messages have, with the template.
    ///
    /// # Errors
    /// [`ChatError::Refused`] for a request that [`ChatModel::chat`] would refuse.
    pub fn count_tokens(&self, request: &ChatRequest) -> Result<usize, ChatError> {
        self.handle.model.count(request)
    }
}

#[async_trait]
impl ChatModel for LocalChat {
    /// Turning the messages into tokens is done before this returns; it takes about a
    /// millisecond for 10 KB of text.
    async fn chat(&self, request: &ChatRequest) -> Result<ChatStream, ChatError> {
        let model = &self.handle.model;
        let wanted = Wanted::of(request)?;
        let prompt = model.prompt(&wanted)?;
        let room = model.context - prompt.len();
        let limit = wanted.max_tokens.map_or(room, |most| most.min(room));
        let Wanted { draw, stop, stream, .. } = wanted;
        let name = request.model.clone();
        let (sender, receiver) = Job::channel(if stream { limit } else { 0 });
        self.handle.queue.push(Job { name, prompt, limit, draw, stop, stream, sender })?;
        Ok(Box::pin(receiver))
    }
}

impl Handle {
    /// Starts one sequence's threads.
    fn start(&self, index: usize, threads: usize) -> Result<(), String> {
        let name = move |thread: usize| format!("chat-{index}-{thread}");
        let pool = match threads {
            1 => None,
            _ => {
                let builder = ThreadPoolBuilder::new().num_threads(threads).thread_name(name);
                Some(builder.build().map_err(|error| error.to_string())?)
            }
        };
        let (model, queue) = (Arc::clone(&self.model), Arc::clone(&self.queue));
        let serve = move || {
            let threads = Threads(pool);
            while let Some(job) = queue.next() {
                let sender = job.sender.clone();
                // An answer that fails within must not take its sequence with it, nor look as
                // if it had ended.
                let work = AssertUnwindSafe(|| answer(&model, &threads, job));
                if catch_unwind(work).is_err() {
                    let reason = "the model failed within; try again".to_owned();
                    let _ = sender.try_send(Err(ChatError::Cut { reason }));
                }
                // The client sees the end only after the place is free again.
                queue.done();
                drop(sender);
            }
        };
        let thread = thread::Builder::new().name(format!("chat-{index}")).spawn(serve);
        thread.map(drop).map_err(|error| error.to_string())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests;
