//! OpenAPI documents (3.0 and 3.1, as JSON or YAML) read as tools.

mod operations;
mod schemas;
mod security;

use serde_json::{Map, Value, json};

use crate::operation::{Body, Operation, ParameterPlace};
use crate::template::Template;

/// Longest document, in bytes.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Why a document was not read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the document {why}")]
pub struct OpenApiError {
    pub why: String,
}

/// What is read of a document, and how its tools are called.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// Where the service is, such as `https://api.example.com/v1`; without it the document's first
    /// server is.
    pub base: Option<&'a str>,
    /// Stands ahead of all names, such as `pets-`.
    pub prefix: &'a str,
    /// Ids of operations, or methods and paths as in `GET /pets`; all of them without any.
    pub only: &'a [String],
}

/// What was read of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenApi {
    pub title: String,
    /// The document's own version.
    pub version: String,
    pub tools: Vec<OpenApiTool>,
    /// Operations that became no tool, by their paths.
    pub skipped: Vec<Skipped>,
}

/// One operation as a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenApiTool {
    /// Of lower-case letters, digits and `-`, a letter first, at most 48; unique in the document.
    pub name: String,
    /// At most 1,024 characters.
    pub description: String,
    pub input_schema: Value,
    /// Of the answer with the status 200 or 201, where it is JSON.
    pub output_schema: Option<Value>,
    pub deprecated: bool,
    /// What was left out of the schemas, such as a cycle that was cut, and what to know of secrets.
    pub notes: Vec<String>,
    /// What the service asks for to know who calls.
    pub headers: Vec<SecurityHeader>,
    pub operation: Operation,
}

/// A header whose value is a secret of the calling team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityHeader {
    /// As the document names it in `securitySchemes`.
    pub scheme: String,
    /// In lower case. `authorization` is sent as `Bearer` and the secret.
    pub header: String,
    /// The secret's name: the scheme's in capitals, such as `API_KEY` of `apiKey`, unless whoever
    /// imports it sets another one.
    pub secret: String,
}

/// An operation that became no tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Such as `POST /upload`.
    pub operation: String,
    pub why: String,
}

/// Reads a document.
///
/// # Errors
/// When the text is neither JSON nor YAML, no OpenAPI document of 3.0 or 3.1, names no absolute
/// server, or has not all operations that were chosen.
pub fn read(text: &str, choice: &Choice<'_>) -> Result<OpenApi, OpenApiError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(wrong("is too large; give one of at most 16 MiB"));
    }
    let document = parse(text)?;
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("3.0") && !version.starts_with("3.1") {
        return Err(wrong("has no `openapi` of 3.0 or 3.1; convert it to one of them"));
    }
    let base = base_url(&document, choice.base)?;
    let info = |field: &str| {
        let value = document.get("info").and_then(|info| info.get(field));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (tools, skipped) = operations::read(&document, &base, choice)?;
    Ok(OpenApi { title: info("title"), version: info("version"), tools, skipped })
}

/// JSON is YAML as well, and is read faster.
fn parse(text: &str) -> Result<Value, OpenApiError> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| wrong(&format!("is no JSON: {error}")));
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.to_string();
        let line = error.lines().next().unwrap_or_default();
        wrong(&format!("is neither JSON nor YAML: {line}"))
    })
}

impl OpenApiTool {
    /// The tool as a registry takes it, owned by this team.
    ///
    /// The backend has `url`, `method` and `arguments` (`query`, `json` or `path`) where these say
    /// it all, else the whole operation: `url`, `method`, `parameters` and `body`.
    pub fn definition(&self, owner: &str) -> Value {
        let read_only = self.operation.method.is_read_only();
        let mut definition = json!({
            "name": self.name,
            "description": self.description,
            "owner": owner,
            "kind": if read_only { "read_only" } else { "stateful" },
            "idempotent": self.operation.method.is_idempotent(),
            "input": self.input_schema,
            "egress": [self.egress()],
            "backend": {"http": self.backend()},
        });
        if let (Some(output), Some(map)) = (&self.output_schema, definition.as_object_mut()) {
            map.insert("output".to_owned(), output.clone());
        }
        definition
    }

    fn egress(&self) -> Value {
        let method = self.operation.method.as_str();
        let Ok(template) = Template::parse(&self.operation.url) else { return Value::Null };
        let mut egress = json!({
            "host": template.host(), "ports": [template.port()], "methods": [method],
        });
        if let (false, Some(map)) = (self.headers.is_empty(), egress.as_object_mut()) {
            let headers = self.headers.iter();
            let headers = headers.map(|one| json!({"header": one.header, "secret": one.secret}));
            map.insert("tls".to_owned(), "originate".into());
            map.insert("headers".to_owned(), headers.collect());
        }
        egress
    }

    fn backend(&self) -> Value {
        let Operation { method, url, parameters, body, .. } = &self.operation;
        let all_in = |place: ParameterPlace| {
            parameters
                .iter()
                .all(|one| one.place == place && one.name() == one.argument && !one.commas)
        };
        let path_or_query = parameters.iter().all(|one| {
            let plain = one.name() == one.argument && !one.commas;
            plain && one.place != ParameterPlace::Header
        });
        let in_path = parameters.iter().any(|one| one.place == ParameterPlace::Path);
        let arguments = match body {
            Body::None | Body::Query if path_or_query && in_path => Some("path"),
            Body::None | Body::Query if all_in(ParameterPlace::Query) => Some("query"),
            Body::Rest if parameters.is_empty() => Some("json"),
            _ => None,
        };
        match arguments {
            Some(arguments) => {
                json!({"url": url, "method": method.as_str(), "arguments": arguments})
            }
            None => {
                let mut whole = serde_json::to_value(&self.operation).unwrap_or_default();
                if let Some(map) = whole.as_object_mut() {
                    map.retain(|_, value| !value.is_null());
                }
                whole
            }
        }
    }
}

/// The address that all paths follow, without a slash at its end.
fn base_url(document: &Value, base: Option<&str>) -> Result<String, OpenApiError> {
    let server = document.pointer("/servers/0");
    let mut url = match base {
        Some(base) => base.to_owned(),
        None => server
            .and_then(|server| server.get("url"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
    };
    let no_variables = Map::new();
    let variables = server
        .filter(|_| base.is_none())
        .and_then(|server| server.get("variables"))
        .and_then(Value::as_object)
        .unwrap_or(&no_variables);
    for (name, variable) in variables {
        let default = variable.get("default").and_then(Value::as_str).unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default);
    }
    let url = url.trim_end_matches('/');
    match Template::parse(url) {
        Ok(template) if template.parameters().is_empty() && !url.contains('?') => {
            Ok(url.to_owned())
        }
        _ => Err(wrong("names no absolute server; give the address of the service as the base")),
    }
}

fn wrong(why: &str) -> OpenApiError {
    OpenApiError { why: why.to_owned() }
}

#[cfg(test)]
mod tests;
