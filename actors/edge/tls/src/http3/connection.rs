//! One HTTP/3 connection: its handshake, its requests, its end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use h3::error::ConnectionError;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::quic::{Connection, Door};
use super::request;

/// How long one handshake may last.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What the fields of one request may take, decoded, in bytes.
const FIELDS_BYTES_MAX: u64 = 64 << 10;

/// Serves one connection to its end. Dropping the future ends its requests, too.
pub(super) async fn serve(
    incoming: quinn::Incoming,
    handshake: OwnedSemaphorePermit,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let peer = incoming.remote_address();
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE, async { incoming.accept()?.await }) => shaken,
        () = raised(&mut stopped) => return,
    };
    let connection = match shaken {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "a QUIC handshake failed"),
        Err(_) => return tracing::debug!(%peer, "a QUIC handshake took too long"),
    };
    drop(handshake);
    match answer_all(connection, router, stopped).await {
        Err(error) if !error.is_h3_no_error() => {
            tracing::debug!(%peer, %error, "an HTTP/3 connection failed");
        }
        _ => {}
    }
}

async fn answer_all(
    connection: quinn::Connection,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), ConnectionError> {
    let door = Arc::new(Door::default());
    let mut http = h3::server::builder();
    http.max_field_section_size(FIELDS_BYTES_MAX).send_grease(false);
    let mut http = http.build(Connection::new(connection, Arc::clone(&door))).await?;
    let mut requests = JoinSet::new();
    let mut closing = false;
    loop {
        tokio::select! {
            accepted = http.accept() => {
                // An error here drops the requests, and with them their handlers.
                let Some(head) = accepted? else { break };
                let Some(line) = door.entered() else { break };
                requests.spawn(request::answer(head, line, router.clone()));
            }
            Some(_) = requests.join_next() => {
                if closing && requests.is_empty() {
                    break;
                }
            }
            () = raised(&mut stopped), if !closing => {
                closing = true;
                // From here on the transport rejects: h3 would still take the stream that it
                // names as the first one refused, and the client may send that one elsewhere.
                door.close();
                http.shutdown(1).await?;
                if requests.is_empty() {
                    break;
                }
            }
        }
    }
    while requests.join_next().await.is_some() {}
    Ok(())
}

async fn raised(stopped: &mut watch::Receiver<bool>) {
    // Without a sender the server is gone, which is the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
