//! Who may use this node: its own key, outside issuers and virtual keys, as the settings say.

use std::net::SocketAddr;
use std::sync::Arc;

use headwater_actors::identity::{IdentityHandle, IdentityMetrics, IdentitySettings};
use headwater_actors::runtime::Runtime;
use headwater_edge::{Authority, SigningKey};
use headwater_storage::retry::Retry;
use prometheus_client::registry::Registry;

use crate::config::Settings;
use crate::issuers::Source;

/// Starts to follow the virtual keys in the store, and reads them for the first time.
pub(crate) async fn start(
    settings: &Settings,
    runtime: &Runtime,
    store: &Retry,
    registry: &mut Registry,
) -> IdentityHandle {
    let followed =
        IdentitySettings { stale_ms: settings.auth.stale_ms, ..IdentitySettings::default() };
    let handle = IdentityHandle::new(
        runtime.clone(),
        store.clone(),
        Arc::new(secret_bits),
        followed,
        IdentityMetrics::register(registry),
    );
    if let Err(error) = handle.catch_up(false).await {
        tracing::warn!(%error, "virtual keys are not known yet: none is accepted until they are");
    }
    runtime.spawn(handle.clone().run());
    handle
}

/// From the system's own source, or none: a key that can be guessed is worse than none.
fn secret_bits() -> Option<[u8; 32]> {
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).ok().map(|()| bits)
}

/// Everyone who may vouch for a caller; the issuers' keys are followed from now on.
pub(crate) fn authority(
    settings: &Settings,
    key: Option<&SigningKey>,
    issuers: Vec<Source>,
    keys: &IdentityHandle,
    runtime: &Runtime,
    address: SocketAddr,
) -> Authority {
    if settings.auth.is_open() {
        tracing::warn!(
            %address,
            "OPEN NODE: no auth.key_file is set, so everyone on this machine may use every \
             model; fine for a trial, not for service"
        );
    }
    let authority = key.map_or_else(Authority::open, Authority::signed);
    let mut known = Vec::with_capacity(issuers.len());
    for source in issuers {
        known.push(source.issuer());
        runtime.spawn(source.follow());
    }
    authority.with_issuers(known).with_keys(keys.clone())
}
