//! Carries what comes to the sockets of a way out to the proxy on the host.

use std::io;
use std::net::{TcpListener as StdListener, UdpSocket as StdDatagrams};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use headwater_sandbox::WayOut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The most connections of a slot at once; more wait in the slot's own backlog.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(60);
/// How long the proxy may take to accept, and a name to be told.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest message of a name server.
const NAME_BYTES_MAX: usize = 4_096;

/// Carries until it is dropped.
pub(crate) struct Relay {
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Of the proxy's listener, the name server's, and the name server's datagrams.
    pub(crate) fn start(handles: Vec<OwnedFd>, way_out: &WayOut) -> io::Result<Self> {
        let mut handles = handles.into_iter();
        let mut next = || handles.next().ok_or_else(|| io::Error::other("a socket is missing"));
        let listener = |handle: OwnedFd| {
            let listener = StdListener::from(handle);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let (proxy, names) = (listener(next()?)?, listener(next()?)?);
        let datagrams = StdDatagrams::from(next()?);
        datagrams.set_nonblocking(true)?;
        let datagrams = UdpSocket::from_std(datagrams)?;
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut tasks = JoinSet::new();
        tasks.spawn(carry_all(proxy, way_out.proxy.clone(), Arc::clone(&permits)));
        tasks.spawn(carry_all(names, way_out.names.clone(), Arc::clone(&permits)));
        tasks.spawn(tell_names(datagrams, way_out.names.clone(), permits));
        Ok(Self { _tasks: tasks })
    }
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    timeout(ANSWER, UnixStream::connect(path)).await?
}

async fn carry_all(listener: TcpListener, target: PathBuf, permits: Arc<Semaphore>) {
    let mut tasks = JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        while tasks.try_join_next().is_some() {}
        let Ok((guest, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let target = target.clone();
        tasks.spawn(async move {
            if let Ok(host) = connect(&target).await {
                carry(guest, host).await;
            }
            drop(permit);
        });
    }
}

/// Both ways, until both ends are told or one way fails or is idle for too long.
async fn carry(
    guest: impl AsyncRead + AsyncWrite + Unpin,
    host: impl AsyncRead + AsyncWrite + Unpin,
) {
    let (guest_read, guest_write) = tokio::io::split(guest);
    let (host_read, host_write) = tokio::io::split(host);
    let _ = tokio::try_join!(one_way(guest_read, host_write), one_way(host_read, guest_write));
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = timeout(IDLE, from.read(&mut buffer)).await??;
        if count == 0 {
            return to.shutdown().await;
        }
        timeout(IDLE, to.write_all(&buffer[..count])).await??;
    }
}

async fn tell_names(socket: UdpSocket, target: PathBuf, permits: Arc<Semaphore>) {
    let socket = Arc::new(socket);
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; NAME_BYTES_MAX];
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        while tasks.try_join_next().is_some() {}
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (question, target) = (buffer[..count].to_vec(), target.clone());
        let socket = Arc::clone(&socket);
        tasks.spawn(async move {
            if let Ok(Ok(answer)) = timeout(ANSWER, ask(&target, &question)).await {
                let _ = socket.send_to(&answer, from).await;
            }
            drop(permit);
        });
    }
}

async fn ask(target: &Path, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(target).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(question).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
