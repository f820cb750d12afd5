//! The server's process, as the client sees it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::server;

/// What the kernel counts CPU time in, on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// Ends with this process, whatever ends that: its stdin is then closed.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) tcp: SocketAddr,
    pub(crate) quic: SocketAddr,
}

impl ServerProcess {
    /// Starts this program again, and waits until it has said where it listens.
    pub(crate) fn start(folder: &Path) -> ServerProcess {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(server::ROLE)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (tcp, quic) = line.trim().split_once(' ').unwrap();
        ServerProcess { tcp: tcp.parse().unwrap(), quic: quic.parse().unwrap(), child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// User and system time of a process since its start.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name in parentheses may hold anything; user and system time are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}
