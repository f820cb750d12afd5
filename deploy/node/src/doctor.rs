//! `headwater doctor`: what this machine offers, and what to do about what is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::{Engine, Settings, data_dir};
use crate::failure::Failure;
use crate::models;

/// How a part of the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Here,
    /// Absent, and nothing configured needs it.
    Absent,
    /// Absent, and this node's settings need it.
    Needed,
}

struct Finding {
    part: &'static str,
    state: State,
    says: String,
}

/// Prints one line per part.
///
/// # Errors
/// Kind `Broken` when something is missing that the settings need.
pub(crate) fn run(settings: &Settings) -> Result<(), Failure> {
    let mut findings =
        vec![processor(), gpu(settings), kvm(), gvisor(), foundationdb(settings), disk(settings)?];
    findings.extend(weights(settings)?);
    for Finding { part, state, says } in &findings {
        let mark = match state {
            State::Here => "ok     ",
            State::Absent => "absent ",
            State::Needed => "MISSING",
        };
        println!("{mark}  {part:<13} {says}");
    }
    let needed = findings.iter().filter(|finding| finding.state == State::Needed).count();
    match needed {
        0 => Ok(()),
        _ => Err(Failure::broken(format!("{needed} things are missing that the settings need"))),
    }
}

fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    let known = ["avx2", "avx512f", "avx512_bf16", "amx_bf16"];
    let offered: Vec<&str> = known.into_iter().filter(|flag| has(flag)).collect();
    let offered =
        if offered.is_empty() { "no vector units known".to_owned() } else { offered.join(", ") };
    Finding { part: "processor", state: State::Here, says: format!("{cores} cores, {offered}") }
}

fn gpu(settings: &Settings) -> Finding {
    let wanted = settings
        .embedding
        .models
        .iter()
        .any(|model| model.device.as_deref().is_some_and(|device| device.starts_with("cuda")));
    let built = cfg!(feature = "cuda");
    let device = Path::new("/dev/nvidia0").exists();
    let toolkit =
        std::env::var_os("CUDA_PATH").map_or(PathBuf::from("/usr/local/cuda"), PathBuf::from);
    let has_toolkit = toolkit.is_dir();
    let (here, says) = match (device, built, has_toolkit) {
        (true, true, true) => (true, "NVIDIA device, this build uses it".to_owned()),
        (true, true, false) => (
            false,
            "NVIDIA device, but no CUDA toolkit (NVRTC compiles the kernels); install it and set \
             CUDA_PATH"
                .to_owned(),
        ),
        (true, false, _) => (
            false,
            "NVIDIA device, but this build is CPU only; build with --features cuda".to_owned(),
        ),
        (false, _, _) => {
            (false, "no NVIDIA device (/dev/nvidia0); encoders run on the CPU".to_owned())
        }
    };
    Finding { part: "gpu", state: state(here, wanted), says }
}

fn state(here: bool, wanted: bool) -> State {
    match (here, wanted) {
        (true, _) => State::Here,
        (false, false) => State::Absent,
        (false, true) => State::Needed,
    }
}

fn kvm() -> Finding {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let virtualises = flags.split_whitespace().any(|word| word == "vmx" || word == "svm");
    let opens = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    let says = match (opens, virtualises) {
        (true, true) => {
            "/dev/kvm opens and the processor virtualises; only a booted guest proves it".to_owned()
        }
        (true, false) => "/dev/kvm opens, but the processor shows neither vmx nor svm: an \
                          emulation that micro-VMs do not survive; use a machine with hardware \
                          virtualisation"
            .to_owned(),
        (false, _) => {
            "no usable /dev/kvm; micro-VMs need bare metal or nested virtualisation, and \
                       membership in group kvm"
                .to_owned()
        }
    };
    Finding { part: "kvm", state: state(opens && virtualises, false), says }
}

fn gvisor() -> Finding {
    let version = Command::new("runsc").arg("--version").output();
    let (here, says) = match version {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            (true, text.lines().next().unwrap_or("runsc").to_owned())
        }
        Ok(output) => (false, format!("runsc is installed but ends with {}", output.status)),
        Err(_) => (false, "runsc is not on PATH; install the package runsc".to_owned()),
    };
    Finding { part: "gvisor", state: state(here, false), says }
}

fn foundationdb(settings: &Settings) -> Finding {
    let wanted = settings.storage.engine == Engine::Fdb;
    let from_environment = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let folders = ["/usr/lib", "/usr/local/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/lib"];
    let library = from_environment
        .split(':')
        .filter(|folder| !folder.is_empty())
        .chain(folders)
        .map(|folder| Path::new(folder).join("libfdb_c.so"))
        .find(|path| path.exists());
    let built = cfg!(feature = "fdb");
    let (here, says) = match (&library, built) {
        (Some(path), true) => (true, format!("{}, this build uses it", path.display())),
        (Some(path), false) => (
            false,
            format!("{}, but this build has no adapter; build with --features fdb", path.display()),
        ),
        (None, _) => (
            false,
            "no libfdb_c.so; install foundationdb-clients 7.3 to use a cluster; one node needs \
             none"
                .to_owned(),
        ),
    };
    Finding { part: "foundationdb", state: state(here, wanted), says }
}

fn disk(settings: &Settings) -> Result<Finding, Failure> {
    let folder = data_dir(settings)?;
    let made = std::fs::create_dir_all(&folder);
    let written = made.and_then(|()| tempfile_in(&folder));
    let (here, says) = match written {
        Ok(()) => (true, format!("{} can be written", folder.display())),
        Err(error) => {
            (false, format!("{}: {error}; set data_dir to a folder of this user", folder.display()))
        }
    };
    Ok(Finding { part: "data folder", state: state(here, true), says })
}

fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(&probe)
}

fn weights(settings: &Settings) -> Result<Vec<Finding>, Failure> {
    let cache = models::cache_folder(settings)?;
    let findings = settings.embedding.models.iter().map(|model| {
        let source = models::source(&model.source);
        let (state, says) = match headwater_models_burn::weights::present(&source, &cache) {
            Some(folder) => (State::Here, format!("{}: {}", model.name, folder.display())),
            None => (
                State::Absent,
                format!("{}: not here yet; `headwater serve` fetches them", model.name),
            ),
        };
        Finding { part: "weights", state, says }
    });
    Ok(findings.collect())
}
