//! Which headers end at the proxy.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName};

/// Whether a header belongs to one connection, to its framing or to the proxy.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    [
        CONNECTION,
        CONTENT_LENGTH,
        EXPECT,
        HOST,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// What a guest could tell an internal service about where it comes from.
fn is_origin(name: &HeaderName) -> bool {
    [FORWARDED, VIA].contains(name)
        || name.as_str() == "x-real-ip"
        || name.as_str().starts_with("x-forwarded-")
}

/// Takes away what must not pass a proxy: the connection's own headers, those that `Connection`
/// names, and (of a request) those that tell where it comes from.
pub(crate) fn strip(map: &mut HeaderMap, request: bool) {
    let mut gone: Vec<HeaderName> = Vec::new();
    for value in map.get_all(CONNECTION) {
        let words = value.to_str().unwrap_or_default().split(',');
        gone.extend(words.filter_map(|word| word.trim().parse().ok()));
    }
    gone.extend(
        map.keys().filter(|name| is_framing(name) || (request && is_origin(name))).cloned(),
    );
    // An answer's length stays: its body passes as it is, and one to HEAD has no other.
    gone.retain(|name| request || *name != CONTENT_LENGTH);
    for name in gone {
        map.remove(name);
    }
}
