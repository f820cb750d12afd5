//! The engine: probes the host, keeps snapshots, restores slots of them, sweeps.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use headwater_sandbox::{
    Abilities, Channel, Ended, Engine, EngineError, Execution, Image, Isolation, Limits, Probe,
    Slot, SlotSpec, Swept, Way,
};
use headwater_sandbox_agent::{
    Answer, Guest, Link, Order, check_image, check_name, last_words, lost, told,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::api::{Size, deadline};
use crate::host::Host;
use crate::machine::Vm;
use crate::programs::Programs;
use crate::settings::Settings;
use crate::slot::FirecrackerSlot;
use crate::snapshot::{Snapshot, bounds};
use crate::{ENGINE, unable};

/// What the guest of a probe runs: it tells which boot of which kernel it sees, and looks for a file.
const PROBE: &str = include_str!("guest/probe.py");
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// What Firecracker takes.
const VCPUS_MAX: u32 = 32;
/// A slot's process writes no files; what it writes by a fault stays small.
const FILE_BYTES_MAX: u64 = 1 << 20;
const RANDOM_BYTES: usize = 64;

/// What makes one snapshot differ from another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    digest: String,
    root: std::path::PathBuf,
    preload: Vec<String>,
    size: Size,
}

type Kept = Arc<OnceCell<Snapshot>>;

/// Makes slots that are machines of Firecracker.
pub struct FirecrackerEngine {
    settings: Settings,
    host: Arc<Host>,
    programs: OnceCell<Programs>,
    snapshots: Mutex<BTreeMap<Key, Kept>>,
    probes: AtomicU64,
}

impl FirecrackerEngine {
    /// Takes a folder of its own below the state folder, and finds the host's cgroups.
    ///
    /// # Errors
    /// [`EngineError::Unable`] when the state folder cannot be written to.
    pub fn new(settings: Settings) -> Result<Self, EngineError> {
        let host = Host::new(&settings.state_folder, &settings.cgroup_parent)?;
        Ok(Self {
            settings,
            host: Arc::new(host),
            programs: OnceCell::new(),
            snapshots: Mutex::default(),
            probes: AtomicU64::new(0),
        })
    }

    async fn programs(&self) -> Result<&Programs, EngineError> {
        self.programs.get_or_try_init(|| Programs::find(&self.settings)).await
    }

    /// How large a machine must be for these limits.
    fn size(&self, limits: &Limits) -> Result<Size, EngineError> {
        let vcpus = limits.cpu_milli.div_ceil(1_000).max(1);
        if vcpus > VCPUS_MAX {
            let what = format!(
                "give a machine {} thousandths of a processor; ask for at most {}",
                limits.cpu_milli,
                VCPUS_MAX * 1_000
            );
            return Err(EngineError::Unsupported { engine: ENGINE, what });
        }
        // A kernel keeps a 64th of all memory to know its pages.
        let own_bytes = limits.memory_bytes / 64 + self.settings.overhead_bytes;
        let memory_mib = (limits.memory_bytes + own_bytes).div_ceil(1 << 20);
        Ok(Size { vcpus, memory_mib })
    }

    /// The snapshot for an image and a size; the first who asks makes it, and others wait.
    async fn snapshot(&self, image: &Image, size: Size) -> Result<(Kept, &Programs), EngineError> {
        check_image(ENGINE, image)?;
        let programs = self.programs().await?;
        let key = Key {
            digest: image.digest.clone(),
            root: image.root.clone(),
            preload: image.preload.clone(),
            size,
        };
        let kept = {
            let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(snapshots.entry(key).or_default())
        };
        let make = || Snapshot::make(&self.host, &self.settings, programs, image, size);
        kept.get_or_try_init(make).await?;
        Ok((kept, programs))
    }

    async fn start_slot(&self, spec: &SlotSpec) -> Result<FirecrackerSlot, EngineError> {
        spec.limits.check()?;
        check_name(ENGINE, &spec.name)?;
        let size = self.size(&spec.limits)?;
        let (kept, programs) = self.snapshot(&spec.image, size).await?;
        let remains = self.host.claim(Some(&spec.name), &programs.name)?;
        let snapshot = kept.get().ok_or_else(|| lost("its snapshot is gone"))?;
        snapshot.lend_to(&remains.root()).map_err(|error| EngineError::Busy {
            why: format!("the files of slot {}: {error}", spec.name),
        })?;
        let until = deadline(self.settings.start_ms);
        let bounds = bounds(size, Some(spec.limits.cpu_milli), FILE_BYTES_MAX);
        let started =
            Vm::start(&self.host, &self.settings, programs, remains, &bounds, until).await;
        let restored = async {
            let (mut vm, mut api) = started?;
            vm.unless_ended(api.load()).await?;
            self.greeted(vm, spec, until).await
        };
        restored.await.map_err(|why: String| {
            let why = format!("slot {} was not restored: {why}", spec.name);
            let mend = "see that the host has memory, that its Firecracker was not changed since the \
                        service started, and that start_ms is enough";
            unable(why, mend)
        })
    }

    /// Meets the agent of a restored guest, and tells it what no snapshot may hold.
    async fn greeted(
        &self,
        mut vm: Vm,
        spec: &SlotSpec,
        until: Instant,
    ) -> Result<FirecrackerSlot, String> {
        let (reader, writer) = vm.agent(until).await?.into_split();
        let link = Link::new(reader, writer, spec.way_out.clone());
        let mut guest = Guest::new(ENGINE, vm, link, spec.limits, spec.way);
        guest.greeted(until).await?;
        let random = random_bytes().map_err(|error| format!("/dev/urandom: {error}"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let renewal = json!({
            "now_ns": u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            "disk_bytes": spec.limits.disk_bytes,
            "session": spec.way == Way::Session,
            "egress": spec.way_out.is_some(),
        });
        match guest.ask(told(Order::Renew, &renewal, &random), 0).await {
            Ok(Answer::Done(told, _)) => {
                let grouped = told.get("group").and_then(Value::as_bool) == Some(true);
                Ok(FirecrackerSlot { guest, grouped })
            }
            Ok(Answer::Refused(why)) => Err(format!("the guest was not made new: {why}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Runs a guest; how long it took, and whether a cgroup inside it holds calls.
    async fn probe_slot(&self, image: &Image) -> Result<(u64, bool), EngineError> {
        self.prepare(image).await?;
        let began = Instant::now();
        let name = format!("probe-{}", self.probes.fetch_add(1, Ordering::Relaxed));
        let (limits, way) = (Limits::SMALL, Way::Single);
        let spec = SlotSpec { name, image: image.clone(), limits, way, way_out: None };
        let mut slot = self.start_slot(&spec).await?;
        let grouped = slot.grouped;
        let canary = self.host.canary("seen").map_err(|error| lost(error.to_string()))?;
        let execution = Execution {
            arguments: vec![canary.display().to_string()],
            ..Execution::new(PROBE, limits)
        };
        let (mut output, mut first) = (Vec::new(), None);
        let mut listen = |_: Channel, bytes: &[u8]| {
            first.get_or_insert_with(|| began.elapsed());
            output.extend_from_slice(bytes);
        };
        let outcome = slot.run(&execution, &mut listen).await?;
        Box::new(slot).close().await?;
        let boot = fs::read_to_string(BOOT_ID).map_err(|error| lost(error.to_string()))?;
        let held = outcome.ended == Ended::Exit(0) && held(&output, boot.trim());
        match first.filter(|_| held) {
            Some(first) => Ok((u64::try_from(first.as_micros()).unwrap_or(u64::MAX), grouped)),
            None => {
                let words = last_words(&output);
                let why = format!("a guest was not held ({:?}): {words}", outcome.ended);
                Err(unable(why, "see that the settings name Firecracker and its jailer"))
            }
        }
    }
}

/// Whether what a probe's guest tells is what a guest of another kernel than the host's sees.
fn held(output: &[u8], host_boot: &str) -> bool {
    let told: Value = serde_json::from_slice(output).unwrap_or(Value::Null);
    let boot = told.get("boot").and_then(Value::as_str);
    let canary_hidden = told.get("canary").and_then(Value::as_bool) == Some(false);
    let own_user = told.get("user").and_then(Value::as_u64).is_some_and(|user| user != 0);
    boot.is_some_and(|boot| !boot.is_empty() && boot != host_boot) && canary_hidden && own_user
}

fn random_bytes() -> io::Result<[u8; RANDOM_BYTES]> {
    let mut bytes = [0; RANDOM_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[async_trait]
impl Engine for FirecrackerEngine {
    fn abilities(&self) -> Abilities {
        Abilities {
            name: ENGINE,
            isolation: Isolation::Machine,
            recycles: false,
            sessions: true,
            pauses: true,
            egress: true,
            native_packages: true,
        }
    }

    async fn probe(&self, image: &Image) -> Result<Probe, EngineError> {
        let version = self.programs().await?.version.clone();
        let (cold_us, grouped) = self.probe_slot(image).await.map_err(|error| match error {
            EngineError::Unable { .. } | EngineError::Busy { .. } => error,
            other => unable(other.to_string(), "see that Firecracker runs a machine here"),
        })?;
        let mut warnings = self.host.cgroups.warnings.clone();
        if !grouped {
            let why = "the guests' kernel lacks the memory and pids controllers of cgroup2: a call \
                       is held by its machine's memory alone; set a kernel that has both";
            warnings.push(why.to_owned());
        }
        Ok(Probe { version, cold_us, warnings })
    }

    async fn prepare(&self, image: &Image) -> Result<(), EngineError> {
        let size = self.size(&Limits::SMALL)?;
        self.snapshot(image, size).await.map(drop)
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
