//! `/prompts`: the editor's page. It holds no data: what it shows it asks for with the token that
//! its user types in.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::Uri;
use axum::response::Response;

use crate::admin::file;
use crate::error::{ApiError, Shape};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What the page is made of, by name.
const FILES: &[(&str, &str, &str)] = &[
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("page.js", SCRIPT, include_str!("page/page.js")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("charts.js", SCRIPT, include_str!("page/charts.js")),
    ("commit.js", SCRIPT, include_str!("page/commit.js")),
    ("diff.js", SCRIPT, include_str!("page/diff.js")),
    ("document.js", SCRIPT, include_str!("page/document.js")),
    ("editor.js", SCRIPT, include_str!("page/editor.js")),
    ("evals.js", SCRIPT, include_str!("page/evals.js")),
    ("experiment-form.js", SCRIPT, include_str!("page/experiment-form.js")),
    ("experiments.js", SCRIPT, include_str!("page/experiments.js")),
    ("fields.js", SCRIPT, include_str!("page/fields.js")),
    ("golden.js", SCRIPT, include_str!("page/golden.js")),
    ("history.js", SCRIPT, include_str!("page/history.js")),
    ("list.js", SCRIPT, include_str!("page/list.js")),
    ("parts.js", SCRIPT, include_str!("page/parts.js")),
    ("promotion.js", SCRIPT, include_str!("page/promotion.js")),
    ("settings.js", SCRIPT, include_str!("page/settings.js")),
    ("template.js", SCRIPT, include_str!("page/template.js")),
    ("versions.js", SCRIPT, include_str!("page/versions.js")),
];

/// `GET /prompts`
pub(crate) async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("page/page.html"))
}

/// `GET /prompts/{file}`
pub(crate) async fn part(uri: Uri, path: Result<Path<String>, PathRejection>) -> Response {
    let named = path.map(|Path(name)| name).unwrap_or_default();
    match FILES.iter().find(|(name, ..)| *name == named) {
        Some((_, kind, text)) => file(kind, text),
        None => ApiError::unknown_route(uri.path()).respond(Shape::OpenAi),
    }
}
