//! Tunnels: bytes both ways, once the hello names the host that was allowed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::body::{Body, empty};
use crate::decide::Target;
use crate::dial::AnyStream;
use crate::hello::{HELLO_BYTES_MAX, Hello, read};
use crate::host::HostName;
use crate::meter::Flow;
use crate::proxy::Way;
use crate::record::Record;
use crate::refusal::Refusal;

/// How many bytes pass at once.
const PIECE_BYTES: usize = 16 << 10;

/// A tunnel that was allowed, before its first byte.
pub(crate) struct Tunnel {
    host: HostName,
    guest: OnUpgrade,
    outside: AnyStream,
    record: Arc<Record>,
}

impl Way {
    /// Answers `CONNECT`, and leaves the tunnel to be run when the answer has gone out.
    pub(crate) async fn tunnel(
        &self,
        request: Request<Incoming>,
        record: &Arc<Record>,
        place: &Mutex<Option<Tunnel>>,
    ) -> Result<Response<Body>, Refusal> {
        self.meter.request()?;
        let target = Target::of(&request)?;
        let (rule, port) = target.decide(&self.grant.rules)?;
        let (outside, address) = self.reach(rule, &target.host, port).await?;
        record.reached(Some(address), 0);
        let guest = hyper::upgrade::on(request);
        let record = Arc::clone(record);
        *place.lock().await = Some(Tunnel { host: target.host, guest, outside, record });
        Ok(Response::new(empty()))
    }
}

impl Tunnel {
    /// Runs to the end of both directions, of a limit or of the time.
    pub(crate) async fn run(self, way: &Way) {
        let settings = &way.shared.settings;
        let record = Arc::clone(&self.record);
        let whole = Duration::from_millis(settings.whole_ms);
        let ended = timeout(whole, self.pass(settings.head_ms, settings.idle_ms)).await;
        match ended {
            Ok(Ok(())) => record.whole(),
            Ok(Err(refusal)) => record.refused(&refusal),
            Err(_) => record.refused(&Refusal::Deadline("the tunnel was open")),
        }
    }

    async fn pass(self, head_ms: u64, idle_ms: u64) -> Result<(), Refusal> {
        let guest = self.guest.await.map_err(|_| Refusal::Left)?;
        let mut guest = TokioIo::new(guest);
        let mut outside = self.outside;
        let head = Duration::from_millis(head_ms);
        let hello = timeout(head, checked_hello(&mut guest, &self.host))
            .await
            .unwrap_or(Err(Refusal::Deadline("waiting for the hello of TLS")))?;
        self.record.pass(Flow::Out, hello.len())?;
        timeout(head, outside.write_all(&hello))
            .await
            .map_err(|_| Refusal::Deadline("sending the hello of TLS"))?
            .map_err(|_| Refusal::Broken)?;
        let (guest_reads, guest_writes) = tokio::io::split(guest);
        let (outside_reads, outside_writes) = tokio::io::split(outside);
        let moved = AtomicU64::new(0);
        let out = pump(guest_reads, outside_writes, Flow::Out, &self.record, &moved);
        let back = pump(outside_reads, guest_writes, Flow::In, &self.record, &moved);
        tokio::select! {
            both = async { tokio::try_join!(out, back) } => both.map(|_| ()),
            () = idle(&moved, idle_ms) => Err(Refusal::Deadline("nothing passed")),
        }
    }
}

/// Reads the hello and holds it to the host.
async fn checked_hello(
    guest: &mut (impl AsyncRead + Unpin),
    host: &HostName,
) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    loop {
        match read(&bytes) {
            Hello::Name(name) if HostName::new(&name).as_ref() == Ok(host) => return Ok(bytes),
            Hello::Name(_) => return Err(Refusal::Hello("they ask for another host")),
            Hello::Bad(why) => return Err(Refusal::Hello(why)),
            Hello::Short => {}
        }
        let room = HELLO_BYTES_MAX + PIECE_BYTES - bytes.len();
        let taken = (&mut *guest).take(room as u64).read_buf(&mut bytes).await;
        if taken.map_err(|_| Refusal::Left)? == 0 {
            return Err(Refusal::Left);
        }
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    flow: Flow,
    record: &Record,
    moved: &AtomicU64,
) -> Result<(), Refusal> {
    let mut piece = vec![0; PIECE_BYTES];
    let broken = |_: io::Error| Refusal::Broken;
    loop {
        let count = from.read(&mut piece).await.map_err(broken)?;
        if count == 0 {
            // The other side may have closed already: then there is nobody to tell.
            let _ = to.shutdown().await;
            return Ok(());
        }
        record.pass(flow, count)?;
        to.write_all(&piece[..count]).await.map_err(broken)?;
        moved.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns when nothing has moved for so long.
async fn idle(moved: &AtomicU64, idle_ms: u64) {
    loop {
        let before = moved.load(Ordering::Relaxed);
        sleep(Duration::from_millis(idle_ms)).await;
        if moved.load(Ordering::Relaxed) == before {
            return;
        }
    }
}
