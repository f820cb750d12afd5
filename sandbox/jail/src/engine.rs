//! The engine: what all slots of this process share.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use headwater_sandbox::{
    Abilities, Engine, EngineError, Image, Isolation, Probe, Slot, SlotSpec, Swept,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use sha2::{Digest, Sha256};

use crate::NAME;
use crate::cgroup::{Group, Parents, find};
use crate::registry::{Left, Registry};
use crate::settings::JailSettings;
use crate::slot::JailSlot;
use crate::start::{is_launcher_of, landlock_version, start};

/// What slots are made with.
pub(crate) struct Host {
    pub(crate) settings: JailSettings,
    pub(crate) parents: Parents,
    pub(crate) registry: Registry,
    pub(crate) is_root: bool,
    pub(crate) landlock: i64,
}

impl Host {
    /// The first of the ids of a slot: ids of its own for nearly each of 2^28 names, so that
    /// what the kernel counts for a user it does not count for two slots.
    pub(crate) fn first_id(&self, slot: &str) -> u32 {
        let digest = Sha256::digest(slot.as_bytes());
        let number = digest.iter().take(4).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        self.settings.first_id + (number >> 4) * 4
    }
}

/// The jail engine. Clones share everything.
#[derive(Clone)]
pub struct Jail {
    host: Arc<Host>,
}

impl Jail {
    /// An engine for this process. Whether it can work here, [`Engine::probe`] finds out.
    ///
    /// # Errors
    /// [`EngineError::Unable`] when the folder of state cannot be used.
    pub fn new(settings: JailSettings) -> Result<Self, EngineError> {
        let registry = Registry::open(&settings.state).map_err(|error| EngineError::Unable {
            engine: NAME,
            why: format!("its folder of state cannot be used ({error})"),
            mend: "choose a folder that the service may write to".to_owned(),
        })?;
        let parents = find(&settings.cgroups);
        let is_root = geteuid().is_root();
        let landlock = landlock_version();
        Ok(Self { host: Arc::new(Host { settings, parents, registry, is_root, landlock }) })
    }

    /// What holds less than it could on this host.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.host.parents.warnings();
        if self.host.landlock == 0 {
            warnings.push(
                "the kernel has no landlock, so a guest's files are held by mounts alone; use \
                 Linux 5.13 or later with landlock in its list of security modules"
                    .to_owned(),
            );
        }
        if !self.host.is_root {
            warnings.push(
                "the service is not root, so guests have its own user id behind their namespace; \
                 start it as root to give each slot ids of its own"
                    .to_owned(),
            );
        }
        warnings
    }
}

fn check_name(name: &str) -> Result<(), EngineError> {
    let good = !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if good {
        return Ok(());
    }
    let what = format!("take the slot name {name:?}; use 1 to 100 letters, digits and `-`");
    Err(EngineError::Unsupported { engine: NAME, what })
}

#[async_trait]
impl Engine for Jail {
    fn abilities(&self) -> Abilities {
        Abilities {
            name: NAME,
            isolation: Isolation::Contained,
            recycles: true,
            sessions: true,
            pauses: self.host.parents.freezer.is_some() || self.host.parents.unified.is_some(),
            egress: true,
            native_packages: true,
        }
    }

    async fn probe(&self, image: &Image) -> Result<Probe, EngineError> {
        crate::probe::probe(self, image).await
    }

    async fn prepare(&self, image: &Image) -> Result<(), EngineError> {
        // Slots share nothing but the pages of the image's files, which a first start reads.
        let slot = self.start(crate::probe::spec(image)).await?;
        slot.close().await
    }

    async fn start(&self, spec: SlotSpec) -> Result<Box<dyn Slot>, EngineError> {
        check_name(&spec.name)?;
        spec.limits.check()?;
        let parts = start(&self.host, &spec).await?;
        let mut slot = JailSlot::new(parts, &spec);
        slot.spare().await?;
        Ok(Box::new(slot))
    }

    async fn sweep(&self) -> Result<Swept, EngineError> {
        let host = Arc::clone(&self.host);
        let swept = tokio::task::spawn_blocking(move || sweep(&host)).await;
        swept.unwrap_or_else(|error| Err(EngineError::Dirty { what: error.to_string() }))
    }
}

fn sweep(host: &Host) -> Result<Swept, EngineError> {
    let mut swept = Swept::default();
    let mut stays = Vec::new();
    let left = host.registry.left().map_err(|error| EngineError::Dirty {
        what: format!("the folder of state cannot be read ({error})"),
    })?;
    for left in left {
        sweep_process(host, &left, &mut swept, &mut stays);
    }
    let held = host.registry.held();
    for parent in host.parents.folders() {
        let Ok(entries) = fs::read_dir(parent) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let slot = host.registry.slot_of(&name);
            if slot.is_some_and(|slot| !held.contains(slot)) {
                let group = Group::named(&host.parents, &name);
                remove(&group, &mut swept, &mut stays);
            }
        }
    }
    if stays.is_empty() { Ok(swept) } else { Err(EngineError::Dirty { what: stays.join("; ") }) }
}

/// Kills what a slot's group holds and removes it.
fn remove(group: &Group, swept: &mut Swept, stays: &mut Vec<String>) {
    let is_there = |folder: &&std::path::PathBuf| folder.is_dir();
    let folders = group.folders.iter().filter(is_there).count() as u32;
    let processes = group.processes().map_or(0, |list| list.len() as u32);
    match group.remove() {
        Ok(()) => {
            swept.cgroups += folders;
            swept.processes += processes;
        }
        Err(what) => stays.push(what),
    }
}

fn sweep_process(host: &Host, left: &Left, swept: &mut Swept, stays: &mut Vec<String>) {
    let before = stays.len();
    for slot in &left.slots {
        let file = left.folder.join(format!("{slot}.slot"));
        let launcher = fs::read_to_string(&file).ok().and_then(|text| text.parse::<i32>().ok());
        if let Some(launcher) = launcher.filter(|process| is_launcher_of(*process, slot)) {
            // The zygote dies with it, and with the zygote all of the slot.
            let _ = kill(Pid::from_raw(launcher), Signal::SIGKILL);
            swept.processes += 1;
            let deadline = Instant::now() + Duration::from_secs(5);
            while is_launcher_of(launcher, slot) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            if is_launcher_of(launcher, slot) {
                stays.push(format!("process {launcher} of slot {slot}"));
            }
        }
        let group = Group::named(&host.parents, &host.registry.group_name(slot));
        remove(&group, swept, stays);
        if stays.len() == before {
            let _ = fs::remove_file(&file);
        }
    }
    if left.is_dead && stays.len() == before && fs::remove_dir_all(&left.folder).is_ok() {
        swept.folders += 1;
    }
}
