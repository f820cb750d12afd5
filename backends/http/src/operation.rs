//! How a tool's arguments become one HTTP request.

use std::collections::BTreeSet;

use reqwest::header::HeaderName;
use serde::{Deserialize, Serialize};

use crate::error::SettingsError;
use crate::template::Template;

/// One request, told as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    pub method: Method,
    /// `https://host/path/{name}`: a `{name}` stands for a whole part or some of it, in the path
    /// only. The host is written out.
    pub url: String,
    /// What becomes of arguments; of those not named here `body` says it.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    #[serde(default)]
    pub body: Body,
    /// How the backend is told that nothing may change. Without it a dry run is refused, but for
    /// `GET` and `HEAD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRun>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

/// An argument outside the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The argument's name.
    pub argument: String,
    #[serde(rename = "in")]
    pub place: ParameterPlace,
    /// The name in the URL or header; the argument's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A list is one text with commas, rather than a repeated parameter.
    #[serde(default, skip_serializing_if = "is_false")]
    pub commas: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterPlace {
    Path,
    Query,
    Header,
}

/// What becomes of the arguments that are no parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Body {
    /// They are refused.
    #[default]
    None,
    /// They go into the query, each by its own name; there is no body.
    Query,
    /// They are the body, as one JSON object.
    Rest,
    /// One argument is the whole body, as JSON; others are refused.
    Argument { argument: String },
}

/// A parameter that asks for a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DryRun {
    /// In the query or a header.
    #[serde(rename = "in")]
    pub place: ParameterPlace,
    pub name: String,
    pub value: String,
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl Operation {
    /// The usual request: each `{name}` of the URL's path is the argument of that name, and `rest`
    /// says what becomes of the others.
    ///
    /// # Errors
    /// The field that is wrong, and what to give instead.
    pub fn of(method: Method, url: &str, rest: Body) -> Result<Operation, SettingsError> {
        let template = Template::parse(url)?;
        let parameter = |name: &str| Parameter {
            argument: name.to_owned(),
            place: ParameterPlace::Path,
            name: None,
            commas: false,
        };
        let parameters = template.parameters().into_iter().map(parameter).collect();
        let operation =
            Operation { method, url: url.to_owned(), parameters, body: rest, dry_run: None };
        operation.check()?;
        Ok(operation)
    }

    /// # Errors
    /// The field that is wrong, and what to give instead.
    pub fn check(&self) -> Result<(), SettingsError> {
        let template = Template::parse(&self.url)?;
        let mut in_path = BTreeSet::new();
        let mut arguments = BTreeSet::new();
        for parameter in &self.parameters {
            let field = format!("parameters.{}", parameter.argument);
            if !arguments.insert(parameter.argument.as_str()) {
                return Err(SettingsError::new(field, "stands twice; leave one out"));
            }
            let name = parameter.name();
            match parameter.place {
                ParameterPlace::Path => {
                    in_path.insert(name);
                }
                ParameterPlace::Header => check_header(&field, name)?,
                ParameterPlace::Query => {}
            }
        }
        if in_path != template.parameters() {
            let why = "the names in its braces and the parameters in the path are not the same; \
                       give each `{name}` a parameter with `in: path`";
            return Err(SettingsError::new("url", why));
        }
        if let Body::Argument { argument } = &self.body
            && arguments.contains(argument.as_str())
        {
            return Err(SettingsError::new("body", "is a parameter already; name another one"));
        }
        let has_body = matches!(self.body, Body::Rest | Body::Argument { .. });
        if self.method.is_read_only() && has_body {
            let why = "GET and HEAD carry none; choose none or query, or take another method";
            return Err(SettingsError::new("body", why));
        }
        match &self.dry_run {
            Some(dry_run) if dry_run.place == ParameterPlace::Path => {
                Err(SettingsError::new("dry_run.in", "is `query` or `header`"))
            }
            Some(dry_run) if dry_run.place == ParameterPlace::Header => {
                check_header("dry_run.name", &dry_run.name)
            }
            _ => Ok(()),
        }
    }
}

impl Method {
    /// The method changes nothing, by RFC 9110.
    pub fn is_read_only(self) -> bool {
        matches!(self, Method::Get | Method::Head)
    }

    /// A second request changes nothing more, by RFC 9110.
    pub fn is_idempotent(self) -> bool {
        self.is_read_only() || matches!(self, Method::Put | Method::Delete)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

impl Parameter {
    /// The name in the URL or header.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.argument)
    }
}

/// Headers that say who asks, or how long a message is, are not a model's to give.
const FORBIDDEN: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "idempotency-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

fn check_header(field: &str, name: &str) -> Result<(), SettingsError> {
    let lower = name.to_ascii_lowercase();
    if HeaderName::from_bytes(lower.as_bytes()).is_err() {
        return Err(SettingsError::new(field, "is no name of a header"));
    }
    if FORBIDDEN.contains(&lower.as_str()) || lower.starts_with("proxy-") {
        let why = "is a header that no argument may fill; give secrets by the tool's secrets";
        return Err(SettingsError::new(field, why));
    }
    Ok(())
}
