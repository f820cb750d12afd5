//! A server that answers each connection with the bytes it was told, and sees clients leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What the server does, one after the other, once it has read a request.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Send(Vec<u8>),
    /// A chunk of a chunked body.
    Chunk(Vec<u8>),
    Pause(Duration),
    /// Waits until the client leaves, and reports it.
    AwaitLeave,
    /// Closes the connection.
    Close,
}

/// What the server saw.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The head and body of a request.
    Request(String, String),
    Left,
}

pub(super) struct Server {
    pub(super) port: u16,
    seen: UnboundedReceiver<Seen>,
    connections: Arc<AtomicUsize>,
}

/// The head of a stream whose body is chunked.
pub(super) fn stream_head() -> Act {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    Act::Send(head.as_bytes().to_vec())
}

/// The end of a chunked body.
pub(super) fn stream_end() -> Act {
    Act::Send(b"0\r\n\r\n".to_vec())
}

/// A whole answer.
pub(super) fn whole(status: u16, headers: &str, body: &str) -> Act {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    );
    Act::Send(text.into_bytes())
}

impl Server {
    /// Does the same for every request, on connections that stay.
    pub(super) async fn start(acts: Vec<Act>) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (report, seen) = unbounded_channel();
        let acts = Arc::new(acts);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, Arc::clone(&acts), report.clone()));
            }
        });
        Server { port, seen, connections }
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) async fn seen(&mut self) -> Seen {
        let seen = tokio::time::timeout(Duration::from_secs(10), self.seen.recv()).await;
        seen.expect("something to see within 10 s").expect("a server")
    }
}

async fn serve(mut stream: TcpStream, acts: Arc<Vec<Act>>, report: UnboundedSender<Seen>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = read(&mut stream, &mut buffer).await {
        let _ = report.send(Seen::Request(head, body));
        for act in acts.iter() {
            let sent = match act {
                Act::Send(bytes) => stream.write_all(bytes).await,
                Act::Chunk(bytes) => {
                    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                    chunk.extend_from_slice(bytes);
                    chunk.extend_from_slice(b"\r\n");
                    stream.write_all(&chunk).await
                }
                Act::Pause(pause) => {
                    tokio::time::sleep(*pause).await;
                    Ok(())
                }
                Act::AwaitLeave => {
                    let left = stream.read(&mut [0; 1]).await;
                    if matches!(left, Ok(0) | Err(_)) {
                        let _ = report.send(Seen::Left);
                    }
                    return;
                }
                Act::Close => return,
            };
            if sent.is_err() {
                let _ = report.send(Seen::Left);
                return;
            }
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, String)> {
    let head_bytes = loop {
        if let Some(place) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            break place + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_bytes].to_vec()).ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(Some(0), |text| text.parse().ok())?;
    while buffer.len() < head_bytes + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(buffer[head_bytes..head_bytes + length].to_vec()).ok()?;
    buffer.drain(..head_bytes + length);
    Some((head, body))
}
