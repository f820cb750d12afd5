//! The accept loop: how much work a stranger can cause, and where each connection goes.

use std::sync::Arc;

use quinn::{Connection, Incoming};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::control;
use crate::handshake;
use crate::identity::{ALPN_CONTROL, ALPN_DATA, protocol};
use crate::refusal::Refusal;
use crate::settings::HANDSHAKE_LONGEST;
use crate::shared::Shared;

/// Handshakes at once; a further connection is refused.
const HANDSHAKES_MAX: usize = 64;
/// From so many on, a source must first prove that its address is its own.
const HANDSHAKES_TRUSTED: usize = 32;

pub(crate) async fn accept(shared: Arc<Shared>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = shared.endpoint.accept().await {
        let busy = HANDSHAKES_MAX - handshakes.available_permits();
        if busy >= HANDSHAKES_TRUSTED && incoming.may_retry() {
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
            continue;
        }
        let source = incoming.remote_address().ip();
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            shared.refusals.refused(source, &Refusal::Busy);
            incoming.refuse();
            continue;
        };
        let own = Arc::clone(&shared);
        shared.spawn(async move {
            if let Err(refusal) = take(&own, incoming).await {
                own.refusals.refused(source, &refusal);
            }
            drop(permit);
        });
    }
}

async fn take(shared: &Arc<Shared>, incoming: Incoming) -> Result<(), Refusal> {
    let connecting = incoming.accept()?;
    let connection = timeout(HANDSHAKE_LONGEST, connecting).await.map_err(|_| Refusal::Slow)??;
    let served = timeout(HANDSHAKE_LONGEST, serve(shared, &connection)).await;
    let served = served.unwrap_or(Err(Refusal::Slow));
    if let Err(refusal) = &served {
        refusal.close(&connection);
    }
    served
}

async fn serve(shared: &Arc<Shared>, connection: &Connection) -> Result<(), Refusal> {
    let node = handshake::peer(shared, connection)?;
    match protocol(connection).as_deref() {
        Some(ALPN_DATA) => handshake::settle(shared, connection, &node, false).await,
        Some(ALPN_CONTROL) => control::accept(shared, connection, &node).await,
        _ => Err(Refusal::Certificate("the peer speaks no protocol of this cluster")),
    }
}
