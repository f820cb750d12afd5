//! Clusters of node processes: identities, starting, tokens, and what the members see.

mod home;
mod view;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::node::{Ended, HANG_TIMEOUT, NodeError, NodeProcess, models_setting, run, weights};

pub use home::{Home, serve};
pub use view::{alive, await_left_of_minute, member, minute, until};

/// The cluster's id.
pub const CLUSTER: &str = "trial";
/// The node with the store; it has no model.
pub const STORE: &str = "n1";
/// One replica on one thread.
const MODEL: &str = ", replicas=1, threads=1";
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(25);
/// Lines of each log that a failing test prints.
const LAST_LINES: usize = 40;

/// Why a cluster cannot be tested.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("`headwater {command}` failed: {said}")]
    Command { command: String, said: String },
    #[error("{question} at {node} got {status}: {body}")]
    Answer { question: String, node: String, status: u16, body: String },
    #[error("no node {0} runs")]
    Absent(String),
    #[error("{0} did not come about within {HANG_TIMEOUT:?}")]
    Hang(String),
}

/// What kind of cluster.
#[derive(Clone, Debug)]
pub struct Shape {
    /// One for each node: n1, n2 and so on.
    pub homes: Vec<Home>,
    /// `storage.engine` of n1.
    pub engine: &'static str,
    /// Settings of the model on the nodes that have one, after its name and source.
    pub model: &'static str,
    /// Settings of every node.
    pub settings: Vec<String>,
}

impl Shape {
    /// So many nodes on the loopback address, with a store in memory.
    ///
    /// # Errors
    /// As [`Home::loopback`].
    pub fn loopback(nodes: usize) -> io::Result<Shape> {
        let homes = (0..nodes).map(|_| Home::loopback()).collect::<io::Result<_>>()?;
        Ok(Shape { homes, engine: "memory", model: MODEL, settings: Vec::new() })
    }
}

/// A running cluster; its nodes are killed when it is dropped.
pub struct Cluster {
    folder: TempDir,
    shape: Shape,
    weights: PathBuf,
    operator: String,
    nodes: BTreeMap<String, NodeProcess>,
}

impl Cluster {
    /// Makes an authority, a key and every node's identity, starts all nodes, and waits until
    /// each is ready and sees all others.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn start(shape: Shape) -> Result<Cluster, ClusterError> {
        let folder = tempfile::tempdir()?;
        let (weights, operator) = (weights()?, String::new());
        let mut cluster = Cluster { folder, shape, weights, operator, nodes: BTreeMap::new() };
        let authority = cluster.path("authority");
        command(&["cluster", "init", "--authority", &authority, "--id", CLUSTER])?;
        command(&["token", "--new-key", &cluster.path("key")])?;
        cluster.operator = cluster.token("operators", "operator")?;
        let names = cluster.names();
        for name in &names {
            cluster.issue(name, &cluster.path(&format!("{name}/cluster")))?;
        }
        for name in &names {
            let process = NodeProcess::begin(cluster.command(name)?)?;
            cluster.nodes.insert(name.clone(), process);
            if name == STORE {
                cluster.await_ready(name)?;
            }
        }
        for name in names.iter().filter(|name| *name != STORE) {
            cluster.await_ready(name)?;
        }
        for name in &names {
            let all = names.len();
            cluster.until_status(name, "all members alive", |status| alive(status) == all)?;
        }
        Ok(cluster)
    }

    /// The names of all nodes, whether they run or not.
    pub fn names(&self) -> Vec<String> {
        (1..=self.shape.homes.len()).map(|number| format!("n{number}")).collect()
    }

    /// The names of those that run.
    pub fn running(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// A path in the cluster's own folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Issues a certificate of the cluster's authority for `node` into the folder `out`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn issue(&self, node: &str, out: &str) -> Result<(), ClusterError> {
        let authority = self.path("authority");
        command(&["cluster", "issue", "--authority", &authority, "--node", node, "--out", out])?;
        Ok(())
    }

    /// A token of this tenant and tier.
    ///
    /// # Errors
    /// When the command fails.
    pub fn token(&self, tenant: &str, tier: &str) -> Result<String, ClusterError> {
        let key = format!("auth.key_file={}", self.path("key"));
        command(&["token", "--tenant", tenant, "--tier", tier, "--set", &key])
    }

    /// The operator's token.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// The command that serves this node.
    ///
    /// # Errors
    /// As [`crate::node::binary`].
    pub fn command(&self, name: &str) -> Result<Command, ClusterError> {
        let number: usize = name.trim_start_matches('n').parse().unwrap_or(1);
        let home = self.shape.homes.get(number - 1);
        let home = home.ok_or_else(|| ClusterError::Absent(name.to_owned()))?;
        let seeds: Vec<String> =
            self.shape.homes.iter().map(|home| format!("\"{}\"", home.quic)).collect();
        let mut settings = vec![
            format!("cluster.node={name}"),
            format!("cluster.id={CLUSTER}"),
            format!("cluster.listen={}", home.quic),
            format!("cluster.seeds=[{}]", seeds.join(", ")),
            format!("cluster.identity_dir={}", self.path(&format!("{name}/cluster"))),
            format!("auth.key_file={}", self.path("key")),
        ];
        if name == STORE {
            settings.push("storage.serve=true".to_owned());
            settings.push(format!("storage.engine={}", self.shape.engine));
            settings.push("embedding.models=[]".to_owned());
        } else {
            settings.push("storage.engine=cluster".to_owned());
            settings.push(format!("storage.node={STORE}"));
            settings.push(models_setting(&self.weights, self.shape.model));
        }
        settings.extend(self.shape.settings.iter().cloned());
        serve(home, &self.folder.path().join(name), &settings)
    }

    /// Starts a node and waits until it is ready and n1 sees it alive.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn start_node(&mut self, name: &str) -> Result<(), ClusterError> {
        let process = NodeProcess::begin(self.command(name)?)?;
        self.nodes.insert(name.to_owned(), process);
        self.await_ready(name)?;
        self.until_status(STORE, name, |status| member(status, name)["state"] == "alive")?;
        Ok(())
    }

    /// The node's next start is at another place.
    pub fn move_node(&mut self, name: &str, home: Home) {
        if let Some(place) = self.names().iter().position(|known| known == name) {
            self.shape.homes[place] = home;
        }
    }

    /// SIGTERM, then its end.
    ///
    /// # Errors
    /// As [`NodeProcess::stop`].
    pub fn stop_node(&mut self, name: &str) -> Result<Ended, ClusterError> {
        Ok(self.take(name)?.stop()?)
    }

    /// Waits for the end of a node that was told to stop.
    ///
    /// # Errors
    /// As [`NodeProcess::wait`].
    pub fn wait_node(&mut self, name: &str) -> Result<Ended, ClusterError> {
        Ok(self.take(name)?.wait()?)
    }

    /// SIGKILL, then its end.
    ///
    /// # Errors
    /// As [`NodeProcess::wait`].
    pub fn kill_node(&mut self, name: &str) -> Result<Ended, ClusterError> {
        let process = self.take(name)?;
        process.kill()?;
        Ok(process.wait()?)
    }

    fn take(&mut self, name: &str) -> Result<NodeProcess, ClusterError> {
        self.nodes.remove(name).ok_or_else(|| ClusterError::Absent(name.to_owned()))
    }

    /// A node that runs.
    ///
    /// # Errors
    /// When it does not run.
    pub fn node(&mut self, name: &str) -> Result<&mut NodeProcess, ClusterError> {
        self.nodes.get_mut(name).ok_or_else(|| ClusterError::Absent(name.to_owned()))
    }

    fn await_ready(&mut self, name: &str) -> Result<(), ClusterError> {
        let node = self.node(name)?;
        node.hear_address()?;
        node.wait_for("ready")?;
        Ok(())
    }

    /// Where a node's edge listens.
    ///
    /// # Errors
    /// When it does not run.
    pub fn address(&self, name: &str) -> Result<SocketAddr, ClusterError> {
        let node = self.nodes.get(name).ok_or_else(|| ClusterError::Absent(name.to_owned()))?;
        Ok(node.address()?)
    }

    /// Where all edges listen.
    ///
    /// # Errors
    /// When a log named no address.
    pub fn addresses(&self) -> Result<BTreeMap<String, SocketAddr>, ClusterError> {
        self.nodes.keys().map(|name| Ok((name.clone(), self.address(name)?))).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        for (name, node) in &mut self.nodes {
            // A frozen process could say nothing more, and is killed all the same.
            let said = node.said();
            let last = said.iter().filter(|line| !line.contains("headwater::access"));
            let last: Vec<&String> = last.collect();
            println!("the last of {name}'s log:");
            for line in &last[last.len().saturating_sub(LAST_LINES)..] {
                println!("  {line}");
            }
        }
    }
}

/// Runs a command of the binary and returns what it printed.
///
/// # Errors
/// [`ClusterError::Command`] when its exit code is not 0.
pub fn command(arguments: &[&str]) -> Result<String, ClusterError> {
    let output = run(arguments)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(ClusterError::Command { command: arguments.join(" "), said })
}
