//! Addresses with parameters in their path, which can change nothing else of them.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use crate::error::SettingsError;

/// Everything but what RFC 3986 never reserves.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A checked template such as `https://host/users/{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// The address with all parameters replaced by `x`.
    base: Url,
    /// The parts of the path, between its slashes.
    segments: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(String),
}

impl Template {
    pub(crate) fn parse(url: &str) -> Result<Template, SettingsError> {
        let wrong = |why: &str| SettingsError::new("url", why);
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))
            .ok_or_else(|| wrong("has no scheme; begin it with https://"))?;
        if url.contains('#') {
            return Err(wrong("holds a fragment; leave out what follows the `#`"));
        }
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = before_query.split_once('/').unwrap_or((before_query, ""));
        if host.contains(['{', '}', '@', '\\']) || query.contains(['{', '}']) {
            return Err(wrong(
                "holds a parameter or a password outside the path; write the host and the fixed \
                 query out, and give other parameters the place `query`",
            ));
        }
        let segments =
            path.split('/').map(pieces).collect::<Option<Vec<_>>>().ok_or_else(|| {
                wrong("holds a `{` or `}` that belongs to no name; write parameters as `{name}`")
            })?;
        let filled: Vec<String> = segments.iter().map(|pieces| fill_plain(pieces)).collect();
        if filled.iter().any(|segment| is_dots(segment)) {
            return Err(wrong("holds `.` or `..` as a part; write the path out"));
        }
        let scheme = &url[..url.len() - rest.len()];
        let question = if query.is_empty() { String::new() } else { format!("?{query}") };
        let whole = format!("{scheme}{host}/{}{question}", filled.join("/"));
        let base = Url::parse(&whole).map_err(|error| wrong(&format!("is none: {error}")))?;
        if host.is_empty() || base.path() != format!("/{}", filled.join("/")) {
            return Err(wrong("has no host, or a path that is not percent-encoded; encode it"));
        }
        Ok(Template { base, segments })
    }

    /// Names of the parameters.
    pub(crate) fn parameters(&self) -> BTreeSet<&str> {
        let pieces = self.segments.iter().flatten();
        pieces
            .filter_map(|piece| match piece {
                Piece::Parameter(name) => Some(name.as_str()),
                Piece::Text(_) => None,
            })
            .collect()
    }

    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    pub(crate) fn port(&self) -> u16 {
        self.base.port_or_known_default().unwrap_or_default()
    }

    /// The address with the values in their places; an error says which value is wrong, and why.
    pub(crate) fn fill(
        &self,
        value: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Url, String> {
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            let mut filled = String::new();
            let mut last = "";
            for piece in segment {
                match piece {
                    Piece::Text(text) => filled.push_str(text),
                    Piece::Parameter(name) => {
                        last = name;
                        filled.push_str(&encoded(name, &value(name)?)?);
                    }
                }
            }
            if is_dots(&filled) {
                return Err(format!("`{last}` makes `.` or `..` of a part of the path"));
            }
            path.push_str(&filled);
        }
        let mut url = self.base.clone();
        url.set_path(&path);
        let parts = |url: &Url| url.path_segments().map_or(0, Iterator::count);
        if parts(&url) != self.segments.len() || url.path() != path {
            return Err("the values change the shape of the path".to_owned());
        }
        Ok(url)
    }
}

fn encoded(name: &str, value: &str) -> Result<String, String> {
    if value.is_empty() {
        return Err(format!("`{name}` is empty, and stands in the path; give it a value"));
    }
    // Servers that decode before they route would climb.
    if value.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
        return Err(format!("`{name}` holds `.` or `..` as a part of a path; leave it out"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("`{name}` holds a control character; leave it out"));
    }
    Ok(utf8_percent_encode(value, ENCODED).to_string())
}

fn pieces(segment: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = segment;
    while let Some((text, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        if text.contains('}') || name.is_empty() || name.contains('{') {
            return None;
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        pieces.push(Piece::Parameter(name.to_owned()));
        rest = after;
    }
    if rest.contains('}') {
        return None;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Some(pieces)
}

fn fill_plain(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Parameter(_) => "x",
        })
        .collect()
}

/// As URL parsers see it: an encoded dot is one too.
fn is_dots(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

#[cfg(test)]
mod tests;
