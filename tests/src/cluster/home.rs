//! Where a node runs, and the command that runs it there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use super::ClusterError;
use crate::node::{binary, headwater};

/// Where a node runs.
#[derive(Clone, Debug)]
pub struct Home {
    /// A command that runs the node's command, such as `ip netns exec NAME`; may be empty.
    pub within: Vec<String>,
    pub http: IpAddr,
    pub quic: SocketAddr,
}

impl Home {
    /// On this machine's loopback address, with a UDP port that was free a moment ago.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn loopback() -> io::Result<Home> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let quic = UdpSocket::bind((address, 0))?.local_addr()?;
        Ok(Home { within: Vec::new(), http: address, quic })
    }
}

/// A `serve` command with its log as JSON, at home.
///
/// # Errors
/// As [`binary`].
pub fn serve(home: &Home, data_dir: &Path, settings: &[String]) -> Result<Command, ClusterError> {
    let own = headwater(&[])?;
    let mut command = match home.within.split_first() {
        None => own,
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary()?);
            for (name, _) in own.get_envs() {
                command.env_remove(name);
            }
            command
        }
    };
    let listen = SocketAddr::new(home.http, 0).to_string();
    command.args(["serve", "--listen", &listen, "--data-dir"]).arg(data_dir);
    command.args(["--set", "log.format=json"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    Ok(command)
}
