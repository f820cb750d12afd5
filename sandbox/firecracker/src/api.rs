//! Firecracker's interface: HTTP over a Unix socket, JSON in and out.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use crate::settings::Settings;

/// The names of files in a machine's own root, where its process stands.
pub(crate) const SOCKET: &str = "api.sock";
pub(crate) const VSOCK: &str = "v.sock";
pub(crate) const KERNEL: &str = "vmlinux";
pub(crate) const DRIVE: &str = "rootfs.ext4";
pub(crate) const STATE: &str = "state";
pub(crate) const MEMORY: &str = "memory";

/// The file that the guest's kernel starts, in the guest's root.
pub(crate) const INIT: &str = "/headwater/agent";

/// A guest of one cannot be two on vsock; each machine has a socket of its own.
const GUEST_CID: u32 = 3;
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What the machine's process says before it boots, and how it ends: without its first process the
/// kernel panics, and the process ends with the machine.
const BOOT_ARGUMENTS: &str = "console=ttyS0 reboot=k panic=1 loglevel=3 nomodule i8042.noaux \
                              i8042.nomux i8042.dumbkbd swiotlb=noforce random.trust_cpu=on";

/// How large a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size {
    pub(crate) vcpus: u32,
    pub(crate) memory_mib: u64,
}

/// One process's interface.
pub(crate) struct Api {
    sender: SendRequest<Full<Bytes>>,
    /// Calls end then, whatever they wait for.
    until: Instant,
}

impl Api {
    pub(crate) async fn new(stream: UnixStream, until: Instant) -> Result<Self, String> {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // It ends when the sender is dropped.
        tokio::spawn(connection);
        Ok(Self { sender, until })
    }

    /// One call; what was wrong with it, in the words of the process.
    async fn call(&mut self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let told = |why: &dyn std::fmt::Display| format!("{method} {path}: {why}");
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header("Host", "localhost")
            .header("Accept", "application/json");
        let (request, text) = match body {
            Value::Null => (request, Vec::new()),
            body => (request.header("Content-Type", "application/json"), body.to_string().into()),
        };
        let request = request.body(Full::from(text)).map_err(|error| told(&error))?;
        let until = self.until;
        let work = async {
            // The stream takes a call only once it is through with the one before.
            self.sender.ready().await.map_err(|error| error.to_string())?;
            let response = self.sender.send_request(request).await.map_err(|e| e.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok::<_, String>((status, body))
        };
        let (status, body) = timeout_at(until, work)
            .await
            .map_err(|_| told(&"no answer in time"))?
            .map_err(|why| told(&why))?;
        let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let fault = value.get("fault_message").and_then(Value::as_str);
        let fault = fault.unwrap_or("no reason").chars().filter(|letter| !letter.is_control());
        Err(told(&format!("{status}, {}", fault.take(500).collect::<String>())))
    }

    async fn put(&mut self, path: &str, body: Value) -> Result<(), String> {
        self.call(Method::PUT, path, body).await.map(drop)
    }

    /// Boots a machine of the files in its root.
    pub(crate) async fn boot(&mut self, size: Size, settings: &Settings) -> Result<(), String> {
        let machine = json!({
            "vcpu_count": size.vcpus, "mem_size_mib": size.memory_mib, "smt": false,
            "track_dirty_pages": false,
        });
        self.put("/machine-config", machine).await?;
        let arguments = format!("{BOOT_ARGUMENTS} init={INIT}");
        let source = json!({"kernel_image_path": KERNEL, "boot_args": arguments});
        self.put("/boot-source", source).await?;
        let bucket = |size: u64| json!({"size": size, "refill_time": 1_000});
        let drive = json!({
            "drive_id": "rootfs", "path_on_host": DRIVE, "is_root_device": true,
            "is_read_only": true, "cache_type": "Unsafe", "io_engine": "Sync",
            "rate_limiter": {
                "bandwidth": bucket(settings.drive_bytes_per_s),
                "ops": bucket(settings.drive_operations_per_s),
            },
        });
        self.put("/drives/rootfs", drive).await?;
        self.put("/vsock", json!({"guest_cid": GUEST_CID, "uds_path": VSOCK})).await?;
        self.put("/entropy", json!({})).await?;
        self.put("/actions", json!({"action_type": "InstanceStart"})).await
    }

    /// Stops the machine and writes its snapshot into its root.
    pub(crate) async fn save(&mut self) -> Result<(), String> {
        self.call(Method::PATCH, "/vm", json!({"state": "Paused"})).await?;
        let snapshot =
            json!({"snapshot_type": "Full", "snapshot_path": STATE, "mem_file_path": MEMORY});
        self.put("/snapshot/create", snapshot).await
    }

    /// Restores a machine of the snapshot in its root, and lets it run.
    pub(crate) async fn load(&mut self) -> Result<(), String> {
        // A file is mapped privately: what the guest writes is its own.
        let backend = json!({"backend_type": "File", "backend_path": MEMORY});
        let snapshot = json!({
            "snapshot_path": STATE, "mem_backend": backend, "track_dirty_pages": false,
            "resume_vm": true,
        });
        self.put("/snapshot/load", snapshot).await
    }

    /// `Not started`, `Running` or `Paused`.
    pub(crate) async fn state(&mut self) -> Result<String, String> {
        let told = self.call(Method::GET, "/", Value::Null).await?;
        let state = told.get("state").and_then(Value::as_str);
        state.map(str::to_owned).ok_or_else(|| "GET /: it tells no state".to_owned())
    }
}

/// What is left of the time of a step.
pub(crate) fn deadline(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

#[cfg(test)]
mod tests;
