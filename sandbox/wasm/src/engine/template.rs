//! A started interpreter with its modules imported: the pages of memory that every guest begins
//! with.

use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};

use headwater_sandbox::{EngineError, Image, Limits};
use serde_json::json;
use wasmtime::Error;

use crate::engine::compiled::Compiled;
use crate::engine::guest::{Control, Guest};
use crate::engine::interpreter::Interpreter;
use crate::engine::settings::THREAD_STACK_BYTES;
use crate::engine::{Shared, unable};
use crate::guest::wasi::Voice;

/// What an interpreter runs once: the imports, and what it runs its calls with.
const BOOT: &str = include_str!("boot.py");
/// A page of the host, which is what a guest that writes to it gets for its own.
const PAGE_BYTES: usize = 4_096;
/// How many of the last bytes that an interpreter said are shown when it does not start.
const WORDS_BYTES: usize = 400;

/// Pieces of a memory, each with its place in it.
type Pieces = Vec<(usize, Vec<u8>)>;

/// What an interpreter's memory has that the module's has not. A module keeps nothing else between
/// two programs: its one variable outside its memory is the end of its stack, which is where it
/// was when a program has returned.
pub(crate) struct Template {
    pub(crate) compiled: Arc<Compiled>,
    memory_bytes: usize,
    changed: Pieces,
}

impl Template {
    /// Starts an interpreter, lets it import the image's modules, and keeps what that changed;
    /// blocks.
    ///
    /// # Errors
    /// [`EngineError::Unable`] with what the interpreter said.
    pub(crate) fn make(
        shared: &Arc<Shared>,
        compiled: &Arc<Compiled>,
        image: &Image,
    ) -> Result<Self, EngineError> {
        let (own, code, preload) =
            (Arc::clone(shared), Arc::clone(compiled), image.preload.clone());
        let work = move || boot(&own, &code, &preload);
        // Threads of others have smaller stacks than a guest may fill.
        let thread = thread::Builder::new().name("wasm-template".to_owned());
        let made = thread.stack_size(THREAD_STACK_BYTES).spawn(work).and_then(|thread| {
            thread.join().map_err(|_| io::Error::other("the interpreter's thread panicked"))
        });
        let made = made.map_err(|error| error.to_string()).flatten();
        let (memory_bytes, changed) = made.map_err(|why| {
            let why = format!("image {}: an interpreter does not start: {why}", image.name);
            unable(why, "see that the image's modules to preload are in it")
        })?;
        Ok(Self { compiled: Arc::clone(compiled), memory_bytes, changed })
    }

    /// An interpreter that has all this in its memory.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn interpreter(
        &self,
        shared: &Shared,
        guest: Guest,
    ) -> wasmtime::Result<Interpreter> {
        let mut made = Interpreter::new(shared, &self.compiled, guest)?;
        let more = self.memory_bytes.saturating_sub(made.memory.data_size(&made.store));
        if more > 0 {
            let pages = more as u64 / made.memory.page_size(&made.store);
            made.memory.grow(&mut made.store, pages)?;
        }
        let memory = made.memory.data_mut(&mut made.store);
        for (at, bytes) in &self.changed {
            let place = memory.get_mut(*at..at + bytes.len());
            place.ok_or_else(|| Error::msg("the memory is too small"))?.copy_from_slice(bytes);
        }
        Ok(made)
    }
}

/// The bytes of a started interpreter's memory, and what they have that the module's have not.
fn boot(
    shared: &Shared,
    compiled: &Compiled,
    preload: &[String],
) -> Result<(usize, Pieces), String> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let voice: Voice = Box::new(move |_, bytes: &[u8]| {
        heard.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    });
    let guest = |voice: Voice| {
        let control = Arc::new(Control::default());
        Guest::new(&compiled.root, control, voice, &Limits::SMALL, shared.settings.start_ms)
    };
    let told = |error: Error| format!("{error:#}");
    let mut guest_of_boot = guest(voice);
    guest_of_boot.wasi.input = (json!(preload).to_string().into_bytes(), 0);
    let mut own = Interpreter::new(shared, compiled, guest_of_boot).map_err(told)?;
    let ended = own.run(shared, BOOT).map_err(told);
    if ended != Ok(0) {
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = String::from_utf8_lossy(&said[said.len().saturating_sub(WORDS_BYTES)..]);
        return Err(format!("{ended:?}, {}", shown.trim()));
    }
    let fresh = Interpreter::new(shared, compiled, guest(Box::new(|_, _| {}))).map_err(told)?;
    let (before, after) = (fresh.memory.data(&fresh.store), own.memory.data(&own.store));
    Ok((after.len(), changes(before, after)))
}

/// The pages that are others than before, those that follow on each other as one.
pub(crate) fn changes(before: &[u8], after: &[u8]) -> Pieces {
    let mut changed = Pieces::new();
    for (number, page) in after.chunks(PAGE_BYTES).enumerate() {
        let at = number * PAGE_BYTES;
        let is_same = match before.get(at..at + page.len()) {
            Some(old) => old == page,
            None => page.iter().all(|byte| *byte == 0),
        };
        match changed.last_mut() {
            _ if is_same => {}
            Some((from, bytes)) if *from + bytes.len() == at => bytes.extend_from_slice(page),
            _ => changed.push((at, page.to_vec())),
        }
    }
    changed
}
