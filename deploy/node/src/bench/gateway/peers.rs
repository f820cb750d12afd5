//! The ways to the model: directly, through nginx, through headwater.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::super::peer::free_address;
use super::load::Load;
use crate::failure::Failure;

/// How long a server may take to start, in s.
const START_TIMEOUT_S: u64 = 60;

/// One way; a server that stands in it ends when this is dropped.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// The server that stands in the way; this process on the direct one.
    pub(super) pid: u32,
    pub(super) token: Option<String>,
    /// The number of the next request.
    pub(super) next: Rc<Cell<u64>>,
    _process: Option<Child>,
}

impl Peer {
    pub(super) fn direct(upstream: SocketAddr) -> Peer {
        let (pid, next) = (std::process::id(), Rc::default());
        Peer { name: "direct", address: upstream, pid, token: None, next, _process: None }
    }

    /// A plain proxy with one worker that keeps its connections and buffers nothing.
    pub(super) async fn nginx(
        program: &Path,
        folder: &Path,
        upstream: SocketAddr,
    ) -> Result<Peer, Failure> {
        std::fs::create_dir_all(folder).map_err(Failure::broken)?;
        let (address, folder) = (free_address()?, folder.display());
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid;\n\
             error_log {folder}/nginx.log error;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; keepalive_requests 1000000000;\n\
               client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
               fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
               upstream model {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n\
               server {{ listen {address};\n\
                 location / {{ proxy_pass http://model; proxy_http_version 1.1;\n\
                   proxy_set_header Connection \"\"; proxy_buffering off; }} }} }}\n"
        );
        let file = format!("{folder}/nginx.conf");
        std::fs::write(&file, config).map_err(Failure::broken)?;
        let mut command = Command::new(program);
        command.args(["-c", &file, "-p"]).arg(folder.to_string());
        Peer::spawn("nginx", command, address, None).await
    }

    /// This program, with a key, a quota, and its own store and audit on disk.
    pub(super) async fn headwater(folder: &Path, upstream: SocketAddr) -> Result<Peer, Failure> {
        let folder = folder.join("node");
        // What an earlier run has left would be read at the start.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(Failure::broken)?;
        let program = std::env::current_exe().map_err(Failure::broken)?;
        let key = folder.join("key");
        let run = |arguments: &[&str]| {
            let output = std::process::Command::new(&program).args(arguments).output();
            let output = output.map_err(Failure::broken)?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
                false => Err(Failure::broken(String::from_utf8_lossy(&output.stderr).into_owned())),
            }
        };
        let key_file = key.display().to_string();
        run(&["token", "--new-key", &key_file])?;
        let with_key = format!("auth.key_file={key_file:?}");
        let token = |tenant: &str, tier: &str| {
            run(&["--set", &with_key, "token", "--tenant", tenant, "--tier", tier])
        };
        let (caller, operator) = (token("bench", "standard")?, token("ops", "operator")?);
        let address = free_address()?;
        let backend = format!("{{name=\"mock\",protocol=\"openai\",url=\"http://{upstream}/v1\"}}");
        let price = "{input=1.0,output=2.0}";
        let model = format!("{{name=\"mock\",targets=[{{backend=\"mock\",price={price}}}]}}");
        let mut command = Command::new(&program);
        for set in [
            with_key,
            format!("gateway.backends=[{backend}]"),
            format!("gateway.models=[{model}]"),
            "embedding.models=[]".to_owned(),
            "log.level=error".to_owned(),
        ] {
            command.arg("--set").arg(set);
        }
        command.arg("serve").arg("--listen").arg(address.to_string());
        command.arg("--data-dir").arg(&folder);
        let token = Some(format!("Bearer {caller}"));
        let peer = Peer::spawn("headwater", command, address, token).await?;
        let at = address.to_string();
        run(&[
            "tenant",
            "limits",
            "bench",
            "--at",
            &at,
            "--token",
            &operator,
            "--limit",
            "tokens/minute=1000000000000",
        ])?;
        Ok(peer)
    }

    async fn spawn(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        token: Option<String>,
    ) -> Result<Peer, Failure> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let process = command
            .spawn()
            .map_err(|error| Failure::broken(format!("cannot start {name}: {error}")))?;
        let (pid, next) = (process.id().unwrap_or(0), Rc::default());
        let mut peer = Peer { name, address, pid, token, next, _process: Some(process) };
        let end = Instant::now() + Duration::from_secs(START_TIMEOUT_S);
        loop {
            if let Some(process) = &mut peer._process
                && let Ok(Some(status)) = process.try_wait()
            {
                return Err(Failure::broken(format!("{name} ended at its start: {status}")));
            }
            let warm_up = Load { peer: &peer, clients: 1, stream: true };
            if TcpStream::connect(address).await.is_ok() {
                match warm_up.run(Duration::from_secs(1)).await {
                    Ok(_) => return Ok(peer),
                    Err(failure) if Instant::now() > end => return Err(failure),
                    Err(_) => {}
                }
            } else if Instant::now() > end {
                return Err(Failure::broken(format!("{name} did not start in time")));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Resident memory of the server, in MiB; 0 when it is gone.
    pub(super) fn rss_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    }
}
