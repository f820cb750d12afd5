//! The escape and abuse suite over the jail, beside what it must not touch on this host.

use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::{fs, net::TcpListener};

use async_trait::async_trait;
use headwater_sandbox::conformance::{Counts, Places, Witness, run};
use headwater_sandbox::{Engine, EngineError, Image, Limits, SlotSpec, Way};
use headwater_sandbox_jail::{Jail, JailSettings};
use sha2::{Digest, Sha256};

#[path = "support/host.rs"]
mod host;
#[path = "support/image.rs"]
mod image;

use host::{cgroups, descendants};
use image::image;

const SECRET: &str = "nobody may read this";

struct Host {
    folder: PathBuf,
    places: Places,
    tcp: TcpListener,
    hidden: UnixListener,
    file: UnixListener,
}

impl Host {
    fn new(folder: &Path) -> Self {
        let canary = folder.join("canary");
        fs::write(&canary, SECRET).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let name = format!("headwater-canary-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let hidden = UnixListener::bind_addr(&address).unwrap();
        hidden.set_nonblocking(true).unwrap();
        let path = folder.join("canary.sock");
        let file = UnixListener::bind(&path).unwrap();
        file.set_nonblocking(true).unwrap();
        let places = Places {
            canary: canary.display().to_string(),
            port: tcp.local_addr().unwrap().port(),
            abstract_socket: name,
            socket: path.display().to_string(),
        };
        Self { folder: folder.to_path_buf(), places, tcp, hidden, file }
    }
}

#[async_trait]
impl Witness for Host {
    fn places(&self) -> Places {
        self.places.clone()
    }

    async fn faults(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.tcp.accept().is_ok() {
            faults.push("a TCP connection came".to_owned());
        }
        if self.hidden.accept().is_ok() || self.file.accept().is_ok() {
            faults.push("a connection to a Unix socket came".to_owned());
        }
        if fs::read_to_string(self.folder.join("canary")).unwrap_or_default() != SECRET {
            faults.push("the canary was changed".to_owned());
        }
        faults
    }

    async fn counts(&mut self) -> Counts {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        // The names of the jail's cgroups tell the folder of state.
        let state = fs::canonicalize(self.folder.join("state")).unwrap();
        let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
        let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let prefix = format!("headwater-{short}-");
        let named = cgroups(|name| name.starts_with(&prefix));
        let processes = descendants(std::process::id()).len();
        Counts { processes, mounts: mounts.lines().count(), cgroups: named }
    }
}

/// The witness is no witness if it does not see a slot that is there.
async fn sees_a_slot(jail: &Jail, image: &Image, host: &mut Host) {
    let before = host.counts().await;
    let (limits, way) = (Limits::SMALL, Way::Single);
    let spec =
        SlotSpec { name: "seen".to_owned(), image: image.clone(), limits, way, way_out: None };
    let mut slot = jail.start(spec).await.unwrap();
    slot.usage().await.unwrap();
    let between = host.counts().await;
    assert_eq!(between.processes, before.processes + 4, "launcher, zygote, keeper and guest");
    let can_group = jail.abilities().pauses;
    assert_eq!(between.cgroups > before.cgroups, can_group, "{between:?}, {before:?}");
    slot.close().await.unwrap();
    assert_eq!(host.counts().await, before);
}

#[tokio::test]
async fn the_jail_passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = vec![env!("CARGO_BIN_EXE_headwater-jail").into()];
    let jail = Jail::new(JailSettings::new(launcher, folder.path().join("state"))).unwrap();
    let image = image();
    match jail.probe(&image).await {
        Ok(probe) => println!("probe: {probe:?}"),
        Err(EngineError::Unable { why, mend, .. }) if why.contains("namespaces") => {
            return println!("skipped: {why}; {mend}");
        }
        Err(error) => panic!("{error}"),
    }
    let mut host = Host::new(folder.path());
    sees_a_slot(&jail, &image, &mut host).await;
    let only = std::env::var("ONLY").unwrap_or_default();
    let reports = run(&jail, &image, &mut host, &only).await;
    let mut output = std::io::stdout();
    for report in &reports {
        let word = if report.passed { "passed" } else { "FAILED" };
        writeln!(output, "{word} {}: {}", report.name, report.seen).unwrap();
    }
    assert!(only.is_empty() == (reports.len() > 90), "{} cases", reports.len());
    let failed: Vec<&str> =
        reports.iter().filter(|r| !r.passed).map(|report| report.name.as_str()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(jail.sweep().await.unwrap(), headwater_sandbox::Swept::default());
}
