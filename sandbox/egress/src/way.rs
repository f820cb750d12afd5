//! One grant's way out: two sockets, and the same in-process.

use std::convert::Infallible;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

use crate::body::Body;
use crate::egress::{OpenError, Shared};
use crate::event::{Asked, Kind};
use crate::grant::Grant;
use crate::meter::Meter;
use crate::names;
use crate::proxy::{Way, page};
use crate::refusal::Refusal;
use crate::tunnel::Tunnel;

/// The most headers of a request.
pub(crate) const HEADERS_MAX: usize = 100;

/// An open way out. Closed, with all its connections, when it is dropped.
pub struct OpenWay {
    way: Arc<Way>,
    folder: PathBuf,
    tasks: Vec<JoinHandle<()>>,
}

pub(crate) fn make_folder(folder: &Path) -> Result<(), OpenError> {
    let fail = |cause| OpenError::Folder { folder: folder.to_owned(), cause };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)
}

impl OpenWay {
    pub(crate) fn open(shared: Arc<Shared>, grant: Grant) -> Result<Self, OpenError> {
        let folder =
            shared.settings.folder.join(format!("{}-{}", std::process::id(), shared.next()));
        make_folder(&folder)?;
        let meter = Arc::new(Meter::new(grant.limits));
        let way = Arc::new(Way { shared, grant, meter });
        // Made first, so that a failure below takes the folder away again.
        let mut open = Self { way: Arc::clone(&way), folder, tasks: Vec::new() };
        let proxy = listen(&open.proxy())?;
        let names = listen(&open.names())?;
        open.tasks.push(tokio::spawn(serve(proxy, Arc::clone(&way), |way, stream, tasks| {
            proxy_connection(way, stream, tasks);
        })));
        open.tasks.push(tokio::spawn(serve(names, way, names::connection)));
        Ok(open)
    }

    /// The Unix socket of the HTTP proxy.
    #[must_use]
    pub fn proxy(&self) -> PathBuf {
        self.folder.join("proxy")
    }

    /// The Unix socket of the name server: DNS messages, each behind its length.
    #[must_use]
    pub fn names(&self) -> PathBuf {
        self.folder.join("names")
    }

    /// One request of the platform's own tools, under the same grant; its URL is absolute, of
    /// `http` or `https`. Redirects are the caller's: each goes through here again.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let record = self.way.record(Kind::Request, crate::decide::asked(&request));
        let told = |refusal: &Refusal| record.refused(refusal);
        let permit = self.way.meter.connection().inspect_err(told)?;
        self.way.forward(request, &record, permit).await.inspect_err(told)
    }
}

impl Drop for OpenWay {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // Where it fails, two dead sockets stay; nobody listens behind them any more.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn listen(path: &Path) -> Result<UnixListener, OpenError> {
    let fail = |cause| OpenError::Folder { folder: path.to_owned(), cause };
    let listener = UnixListener::bind(path).map_err(fail)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(fail)?;
    Ok(listener)
}

/// Takes connections until the task is aborted, and its connections with it.
async fn serve(
    listener: UnixListener,
    way: Arc<Way>,
    start: impl Fn(&Arc<Way>, UnixStream, &mut JoinSet<()>),
) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            taken = listener.accept() => match taken {
                Ok((stream, _)) => start(&way, stream, &mut tasks),
                // Out of files: others must end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

fn proxy_connection(way: &Arc<Way>, mut stream: UnixStream, tasks: &mut JoinSet<()>) {
    let way = Arc::clone(way);
    match way.meter.connection() {
        Ok(permit) => {
            tasks.spawn(async move {
                run(way, stream).await;
                drop(permit);
            });
        }
        Err(refusal) => {
            way.record(Kind::Connection, Asked::default()).refused(&refusal);
            let text = format!(
                "HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-type: text/plain\r\n\
                 content-length: {}\r\n\r\n{refusal}\n",
                refusal.to_string().len() + 1
            );
            // A few bytes into a fresh socket: they fit, or nobody reads them.
            tasks.spawn(async move {
                let write = stream.write_all(text.as_bytes());
                let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
            });
        }
    }
}

/// One connection of the guest: its requests, and the tunnel that it may become.
async fn run(way: Arc<Way>, stream: UnixStream) {
    let settings = &way.shared.settings;
    let tunnel: Arc<Mutex<Option<Tunnel>>> = Arc::default();
    let asked = Arc::new(AtomicU32::new(0));
    let service = service_fn(|request: Request<Incoming>| {
        let (way, tunnel) = (Arc::clone(&way), Arc::clone(&tunnel));
        asked.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(answer(&way, request, &tunnel).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.head_ms))
        .max_buf_size(settings.head_bytes)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        let idle = error.is_timeout() && asked.load(Ordering::Relaxed) > 0;
        let refusal = match () {
            () if error.is_timeout() => Some(Refusal::Deadline("waiting for a request's head")),
            () if error.is_parse() => Some(Refusal::Malformed("its head is not HTTP/1.1")),
            // The request's own record tells of the rest.
            () => None,
        };
        if let Some(refusal) = refusal.filter(|_| !idle) {
            way.record(Kind::Connection, Asked::default()).refused(&refusal);
        }
    }
    let tunnel = tunnel.lock().await.take();
    if let Some(tunnel) = tunnel {
        tunnel.run(&way).await;
    }
}

async fn answer(
    way: &Arc<Way>,
    request: Request<Incoming>,
    tunnel: &Mutex<Option<Tunnel>>,
) -> Response<Body> {
    let connect = request.method() == http::Method::CONNECT;
    let kind = if connect { Kind::Tunnel } else { Kind::Request };
    let record = way.record(kind, crate::decide::asked(&request));
    let answered = if connect {
        way.tunnel(request, &record, tunnel).await
    } else {
        way.forward(request.map(|body| body.map_err(Into::into).boxed_unsync()), &record, ()).await
    };
    answered.unwrap_or_else(|refusal| {
        record.refused(&refusal);
        page(&refusal)
    })
}
