//! `/admin`: the operator's page. It holds no data: what it shows it asks for with the token that
//! the operator types in.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// Nothing of another place is loaded, run or sent to.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// A file of a page that is in the binary.
pub(crate) fn file(kind: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A newer binary's page must not run an older one's script.
        (header::CACHE_CONTROL, "no-cache"),
    ] as [(HeaderName, &'static str); 5]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `GET /admin`
pub(crate) async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("admin/page.html"))
}

/// `GET /admin/page.css`
pub(crate) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("admin/page.css"))
}

/// `GET /admin/page.js`
pub(crate) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("admin/page.js"))
}
