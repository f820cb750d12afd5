//! The escape and abuse suite over the jail, beside what it must not touch on this host.

use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::{fs, net::TcpListener};

use async_trait::async_trait;
use headwater_sandbox::conformance::{Counts, Places, Witness, run};
use headwater_sandbox::{Engine, EngineError, Image, ImageName};
use headwater_sandbox_images::{Recipe, make, open};
use headwater_sandbox_jail::{Jail, JailSettings};

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
        let children = |pid: u32| {
            let path = format!("/proc/{pid}/task");
            let tasks = fs::read_dir(path).into_iter().flatten().flatten();
            let lists =
                tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
            lists.map(|list| list.split_whitespace().count()).sum::<usize>()
        };
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        let hash = self.folder.join("state/hosts");
        let slots = fs::read_dir(hash).into_iter().flatten().flatten();
        let slots = slots.flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten());
        Counts { processes: children(std::process::id()), mounts, cgroups: slots.count() }
    }
}

/// An image that is kept from run to run, since making one takes a while.
fn image() -> Image {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("images");
    let name = ImageName::new("suite").unwrap();
    if let Ok((image, _)) = open(&folder, &name) {
        return image;
    }
    make(&folder, &Recipe::new(name)).unwrap().0
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
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut host = Host::new(folder.path());
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
