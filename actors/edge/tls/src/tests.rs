//! Servers and clients over loopback: real sockets, real certificates.

mod cancel;
mod certificates;
mod http3;
mod https;
mod rules;
mod stop;

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Certificate, Http3, TlsListener, TlsSettings, provider};

const LOOPBACK: &str = "127.0.0.1:0";

/// The deadline of everything that must happen, far beyond what any of it takes.
async fn within<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it took too long")
}

/// Two files, and the certificate that is in them.
struct Files {
    _folder: TempDir,
    certificate: PathBuf,
    key: PathBuf,
    root: CertificateDer<'static>,
}

impl Files {
    fn new() -> Files {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        let mut files =
            Files { _folder: folder, certificate, key, root: CertificateDer::from(Vec::new()) };
        files.renew();
        files
    }

    fn renew(&mut self) {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(&self.certificate, issued.cert.pem()).unwrap();
        fs::write(&self.key, issued.signing_key.serialize_pem()).unwrap();
        self.root = issued.cert.der().clone();
    }

    fn open(&self) -> Certificate {
        Certificate::open(&self.certificate, &self.key).unwrap()
    }
}

/// HTTPS for as long as the test's runtime lives.
async fn serve_https(router: Router, certificate: &Certificate, set: TlsSettings) -> SocketAddr {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TlsListener::new(listener, certificate, set).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// HTTP/3 until the sender is used or dropped.
fn serve_http3(
    router: Router,
    certificate: &Certificate,
) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let server = Http3::bind(LOOPBACK.parse().unwrap(), certificate).unwrap();
    let address = server.local_address().unwrap();
    let (stop, stopped) = oneshot::channel();
    let stopped = async {
        let _ = stopped.await;
    };
    (address, stop, tokio::spawn(server.serve(router, stopped)))
}

fn client_settings(root: &CertificateDer<'static>, alpn: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let versions = if alpn == b"h3" { vec![&TLS13] } else { vec![&TLS12, &TLS13] };
    let mut tls = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls
}

async fn connect_tls(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(client_settings(root, alpn)));
    within(connector.connect(ServerName::try_from("localhost").unwrap(), stream)).await
}

/// One GET over HTTPS: the answer's status and text.
async fn get_https(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    version: Version,
) -> std::io::Result<(u16, String)> {
    let http2 = version == Version::HTTP_2;
    let alpn: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
    let stream = connect_tls(address, root, alpn).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
    let io = TokioIo::new(stream);
    let request = Request::get("https://localhost/").header("host", "localhost");
    let request = request.body(Body::empty()).unwrap();
    let response = if http2 {
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (mut client, connection) = shaken.unwrap();
        tokio::spawn(connection);
        within(client.send_request(request)).await.unwrap()
    } else {
        let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        within(client.send_request(request)).await.unwrap()
    };
    let status = response.status().as_u16();
    let text = within(response.into_body().collect()).await.unwrap().to_bytes();
    Ok((status, String::from_utf8(text.to_vec()).unwrap()))
}

async fn connect_quic(
    address: SocketAddr,
    root: &CertificateDer<'static>,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let tls = QuicClientConfig::try_from(client_settings(root, b"h3")).unwrap();
    let endpoint = quinn::Endpoint::client(LOOPBACK.parse().unwrap()).unwrap();
    let settings = quinn::ClientConfig::new(Arc::new(tls));
    within(endpoint.connect_with(settings, address, "localhost").unwrap()).await
}

type Sending = SendRequest<h3_quinn::OpenStreams, Bytes>;
type Stream = RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// A client of h3 and h3-quinn, which the server does not use.
struct Client {
    quic: quinn::Connection,
    send: Sending,
}

impl Client {
    async fn connect(
        address: SocketAddr,
        root: &CertificateDer<'static>,
    ) -> Result<Client, quinn::ConnectionError> {
        let quic = connect_quic(address, root).await?;
        let transport = h3_quinn::Connection::new(quic.clone());
        let (mut driver, send) = within(h3::client::new(transport)).await.unwrap();
        tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        Ok(Client { quic, send })
    }

    /// Sends a request's head.
    async fn start(&self, request: Request<()>) -> Stream {
        within(self.send.clone().send_request(request)).await.unwrap()
    }

    async fn get(&self, path: &str) -> (Response<()>, Bytes) {
        let mut stream = self.start(get(path)).await;
        stream.finish().await.unwrap();
        answer(&mut stream).await
    }
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://localhost{path}")).body(()).unwrap()
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("https://localhost{path}")).body(()).unwrap()
}

async fn answer(stream: &mut Stream) -> (Response<()>, Bytes) {
    let head = within(stream.recv_response()).await.unwrap();
    let mut body = Vec::new();
    while let Some(part) = part(stream).await {
        body.extend_from_slice(&part);
    }
    (head, body.into())
}

async fn part(stream: &mut Stream) -> Option<Bytes> {
    let part = within(stream.recv_data()).await.unwrap();
    part.map(|mut part| part.copy_to_bytes(part.remaining()))
}

/// A body whose parts the test sends.
struct Parts {
    made: mpsc::UnboundedReceiver<Bytes>,
    _guard: Option<Guard>,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.made.poll_recv(context).map(|part| part.map(|part| Ok(http_body::Frame::data(part))))
    }
}

/// Tells when it is dropped.
struct Guard(mpsc::UnboundedSender<&'static str>);

impl Guard {
    /// A guard that says first that the handler runs.
    fn new(told: &mpsc::UnboundedSender<&'static str>) -> Guard {
        told.send("runs").unwrap();
        Guard(told.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}
