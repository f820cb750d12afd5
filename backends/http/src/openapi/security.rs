//! What a service asks for to know who calls, as headers with secrets.

use serde_json::{Map, Value};

use super::SecurityHeader;
use super::schemas::Schemas;

/// Longest name of a secret, in bytes.
const SECRET_BYTES_MAX: usize = 64;

/// What one operation asks for.
#[derive(Default)]
pub(super) struct Security {
    pub(super) headers: Vec<SecurityHeader>,
    pub(super) notes: Vec<String>,
}

/// The first of the operation's ways to say who calls that headers can tell.
///
/// # Errors
/// Why there is none.
pub(super) fn read(document: &Value, told: &Value) -> Result<Security, String> {
    let ways = told.get("security").or_else(|| document.get("security"));
    let ways = ways.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut why = None;
    for way in ways {
        let Some(schemes) = way.as_object() else { continue };
        match way_of(document, schemes) {
            Ok(security) => return Ok(security),
            Err(reason) => why = why.or(Some(reason)),
        }
    }
    why.map_or(Ok(Security::default()), Err)
}

/// All schemes of one way, which belong together.
fn way_of(document: &Value, schemes: &Map<String, Value>) -> Result<Security, String> {
    let mut security = Security::default();
    for name in schemes.keys() {
        let scheme = document.pointer("/components/securitySchemes").and_then(|all| all.get(name));
        let scheme = scheme.and_then(|scheme| Schemas::follow(document, scheme));
        let scheme = scheme.ok_or_else(|| format!("it asks for `{name}`, which is not there"))?;
        let header = header(name, scheme, &mut security.notes)?;
        if security.headers.iter().any(|one| one.header == header) {
            return Err(format!("it asks for two secrets in the header `{header}`"));
        }
        let secret = secret_name(name);
        security.headers.push(SecurityHeader { scheme: name.clone(), header, secret });
    }
    Ok(security)
}

/// The header that a scheme needs.
fn header(name: &str, scheme: &Value, notes: &mut Vec<String>) -> Result<String, String> {
    let text = |field: &str| scheme.get(field).and_then(Value::as_str).unwrap_or_default();
    let bearer = "authorization".to_owned();
    match text("type") {
        "apiKey" if text("in") == "header" => {
            let header = text("name").to_ascii_lowercase();
            if header == bearer {
                notes.push(format!("the secret of `{name}` is sent as `Authorization: Bearer`"));
            }
            Ok(header)
        }
        "apiKey" => Err(format!("it asks for `{name}`, a secret outside of headers")),
        "http" if text("scheme").eq_ignore_ascii_case("bearer") => Ok(bearer),
        "http" => Err(format!("it asks for `{name}`, a login that is no bearer token")),
        kind @ ("oauth2" | "openIdConnect") => {
            notes.push(format!(
                "`{name}` is of {kind}: whoever runs this keeps the secret a token that is good"
            ));
            Ok(bearer)
        }
        kind => Err(format!("it asks for `{name}`, which is of the unknown type `{kind}`")),
    }
}

/// `API_KEY` of `apiKey`: capitals, digits and `_`, a letter first.
fn secret_name(scheme: &str) -> String {
    let mut name = String::new();
    let mut after_small = false;
    for letter in scheme.chars() {
        if letter.is_ascii_alphanumeric() {
            if letter.is_ascii_uppercase() && after_small {
                name.push('_');
            }
            name.push(letter.to_ascii_uppercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
    }
    let name = name.trim_end_matches('_');
    let name = match name.starts_with(|first: char| first.is_ascii_uppercase()) {
        true => name.to_owned(),
        false => format!("KEY_{name}"),
    };
    name[..name.len().min(SECRET_BYTES_MAX)].to_owned()
}
