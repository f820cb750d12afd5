//! The engine: probes the host, starts slots, sweeps.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use headwater_sandbox::{
    Abilities, Channel, Ended, Engine, EngineError, Execution, Image, Isolation, Limits, Probe,
    Slot, SlotSpec, Swept, Way,
};
use headwater_sandbox_agent::{Guest, check_image, check_name, last_words, lost};
use serde_json::Value;
use tokio::time::Instant;

use crate::ENGINE;
use crate::bundle;
use crate::host::Host;
use crate::runsc::Finder;
use crate::sandbox::start;
use crate::settings::Settings;
use crate::slot::GvisorSlot;

/// What the guest of a probe runs: it tells its kernel's version and log, and looks for a file.
const PROBE: &str = include_str!("probe.py");
/// gVisor tells this build of a kernel, whatever runs below.
const KERNEL: &str = "#1 SMP Sun Jan 10 15:06:54 PST 2016";

/// Makes slots that are sandboxes of gVisor.
pub struct GvisorEngine {
    settings: Settings,
    host: Arc<Host>,
    runsc: Finder,
    probes: AtomicU64,
}

impl GvisorEngine {
    /// Takes a folder of its own below the state folder, and finds the host's cgroups.
    ///
    /// # Errors
    /// [`EngineError::Unable`] when the state folder cannot be written to.
    pub fn new(settings: Settings) -> Result<Self, EngineError> {
        let host = Host::new(&settings.state_folder, settings.cgroup_parent.as_deref())?;
        let (runsc, probes) = (Finder::default(), AtomicU64::new(0));
        Ok(Self { settings, host: Arc::new(host), runsc, probes })
    }

    async fn start_slot(&self, spec: &SlotSpec) -> Result<GvisorSlot, EngineError> {
        spec.limits.check()?;
        check_name(ENGINE, &spec.name)?;
        check_image(ENGINE, &spec.image)?;
        let runsc = self.runsc.find(&self.settings).await?;
        let busy = |what: &str, error: std::io::Error| EngineError::Busy {
            why: format!("{what} of slot {}: {error}", spec.name),
        };
        let mut remains = self.host.claim(&spec.name)?;
        let overhead = self.settings.overhead_bytes;
        let made = self.host.cgroups.make(&remains.id, &spec.limits, overhead);
        remains.group = made.map_err(|error| busy("the cgroup", error))?;
        let config = bundle::config(spec).to_string();
        let written = fs::write(remains.folder.join("config.json"), config);
        written.map_err(|error| busy("the bundle", error))?;
        let mut command = runsc.command(&remains.state, &["run", "--bundle"]);
        command.arg(&remains.folder).arg(&remains.id);
        let started = start(command, &remains.group, spec.way_out.clone());
        let (sandbox, link) = started.map_err(|error| busy("runsc", error))?;
        let mut guest = Guest::new(ENGINE, sandbox, link, spec.limits, spec.way);
        let until = Instant::now() + Duration::from_millis(self.settings.start_ms);
        guest.greeted(until).await.map_err(|why| EngineError::Unable {
            engine: ENGINE,
            why: format!("the sandbox did not start: {why}"),
            mend: "see that runsc may make namespaces here (it needs root, or `--rootless`), that \
                   its platform works, and that the image's interpreter starts"
                .to_owned(),
        })?;
        let held = remains.group.hold_processors(spec.limits.cpu_milli);
        held.map_err(|error| busy("the cgroup", error))?;
        Ok(GvisorSlot { guest, remains, runsc })
    }

    async fn probe_slot(&self, image: &Image) -> Result<u64, EngineError> {
        let began = Instant::now();
        let name = format!("probe-{}", self.probes.fetch_add(1, Ordering::Relaxed));
        let spec = SlotSpec {
            name,
            image: image.clone(),
            limits: Limits::SMALL,
            way: Way::Single,
            way_out: None,
        };
        let mut slot = self.start_slot(&spec).await?;
        let canary = self.host.canary("seen").map_err(|error| lost(error.to_string()))?;
        let execution = Execution {
            arguments: vec![canary.display().to_string()],
            ..Execution::new(PROBE, Limits::SMALL)
        };
        let (mut output, mut errors, mut first) = (Vec::new(), Vec::new(), None);
        let mut listen = |channel: Channel, bytes: &[u8]| {
            first.get_or_insert_with(|| began.elapsed());
            match channel {
                Channel::Output => output.extend_from_slice(bytes),
                Channel::Error => errors.extend_from_slice(bytes),
            }
        };
        let outcome = slot.run(&execution, &mut listen).await?;
        Box::new(slot).close().await?;
        let held = if outcome.ended == Ended::Exit(0) { held(&output) } else { None };
        let shown = || last_words(&[output.clone(), errors.clone()].concat());
        match (held, first) {
            (Some(()), Some(first)) => Ok(u64::try_from(first.as_micros()).unwrap_or(u64::MAX)),
            _ => Err(EngineError::Unable {
                engine: ENGINE,
                why: format!("a guest was not held ({:?}): {}", outcome.ended, shown()),
                mend: "see that the settings name gVisor's runsc".to_owned(),
            }),
        }
    }
}

/// Whether what a probe's guest tells is what a guest of gVisor sees.
fn held(output: &[u8]) -> Option<()> {
    let told: Value = serde_json::from_slice(output).ok()?;
    let version = told.get("version")?.as_str()?;
    let host = fs::read_to_string("/proc/version").ok()?;
    let log = told.get("log").and_then(Value::as_str).unwrap_or_default();
    let own_kernel = version.trim() != host.trim()
        && (log.contains("Starting gVisor") || version.contains(KERNEL));
    let canary_hidden = !told.get("canary")?.as_bool()?;
    let own_user = told.get("user")?.as_u64()? != 0;
    (own_kernel && canary_hidden && own_user).then_some(())
}

#[async_trait]
impl Engine for GvisorEngine {
    fn abilities(&self) -> Abilities {
        Abilities {
            name: ENGINE,
            isolation: Isolation::UserKernel,
            recycles: false,
            sessions: true,
            pauses: true,
            egress: true,
            native_packages: true,
        }
    }

    async fn probe(&self, image: &Image) -> Result<Probe, EngineError> {
        let runsc = self.runsc.find(&self.settings).await?;
        let cold_us = self.probe_slot(image).await.map_err(|error| match error {
            EngineError::Unable { .. } | EngineError::Busy { .. } => error,
            other => EngineError::Unable {
                engine: ENGINE,
                why: other.to_string(),
                mend: "see that runsc runs a container here".to_owned(),
            },
        })?;
        let warnings = self.host.cgroups.warnings.clone();
        Ok(Probe { version: runsc.version, cold_us, warnings })
    }

    async fn prepare(&self, image: &Image) -> Result<(), EngineError> {
        check_image(ENGINE, image)?;
        self.runsc.find(&self.settings).await.map(drop)
    }

    async fn start(&self, spec: SlotSpec) -> Result<Box<dyn Slot>, EngineError> {
        Ok(Box::new(self.start_slot(&spec).await?))
    }

    async fn sweep(&self) -> Result<Swept, EngineError> {
        let host = Arc::clone(&self.host);
        match tokio::task::spawn_blocking(move || host.sweep()).await {
            Ok(swept) => swept,
            Err(error) => Err(EngineError::Dirty { what: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests;
