//! One call as one HTTP request.

use std::collections::BTreeSet;

use headwater_backends::{BackendError, Invocation};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::operation::{Body, Operation, ParameterPlace};
use crate::template::Template;

/// What goes out, but for secrets.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// JSON.
    pub(crate) body: Option<String>,
}

/// The request of this call.
pub(crate) fn build(
    operation: &Operation,
    template: &Template,
    invocation: &Invocation,
) -> Result<Ready, BackendError> {
    let arguments = match &invocation.arguments {
        Value::Object(arguments) => arguments,
        Value::Null => &Map::new(),
        _ => return Err(wrong("they are no JSON object; give one")),
    };
    let mut url = template.fill(|name| in_path(operation, arguments, name)).map_err(wrong)?;
    let mut headers = HeaderMap::new();
    let mut used = BTreeSet::new();
    for parameter in &operation.parameters {
        used.insert(parameter.argument.as_str());
        let Some(value) = arguments.get(&parameter.argument).filter(|value| !value.is_null())
        else {
            continue;
        };
        let (argument, name) = (&parameter.argument, parameter.name());
        match parameter.place {
            ParameterPlace::Path => {}
            ParameterPlace::Query => {
                let mut query = url.query_pairs_mut();
                for text in texts(argument, value, parameter.commas)? {
                    query.append_pair(name, &text);
                }
            }
            ParameterPlace::Header => {
                for text in texts(argument, value, true)? {
                    headers.append(header_name(name)?, header_value(argument, &text)?);
                }
            }
        }
    }
    if operation.body == Body::Query {
        rest_in_query(&mut url, arguments, &mut used)?;
    }
    let body = body(operation, arguments, &mut used);
    if let Some(unknown) = arguments.keys().find(|name| !used.contains(name.as_str())) {
        return Err(wrong(format!("`{unknown}` has no place in the request; leave it out")));
    }
    if invocation.dry_run {
        dry_run(operation, &mut url, &mut headers)?;
    }
    headers.insert("idempotency-key", header_value("the call's id", &invocation.call)?);
    Ok(Ready { url, headers, body })
}

fn in_path(
    operation: &Operation,
    arguments: &Map<String, Value>,
    name: &str,
) -> Result<String, String> {
    let parameter = operation
        .parameters
        .iter()
        .find(|parameter| parameter.place == ParameterPlace::Path && parameter.name() == name)
        .ok_or_else(|| format!("`{name}` has no argument"))?;
    let argument = &parameter.argument;
    match arguments.get(argument) {
        None | Some(Value::Null) => Err(format!("`{argument}` is missing; give it a value")),
        Some(value) => scalar(value)
            .ok_or_else(|| format!("`{argument}` is no text, number or boolean; give one")),
    }
}

/// The values of a parameter, as texts.
fn texts(argument: &str, value: &Value, commas: bool) -> Result<Vec<String>, BackendError> {
    let no_text = || {
        wrong(format!(
            "`{argument}` is no text, number, boolean, or list of them; give one of those"
        ))
    };
    let Value::Array(values) = value else {
        return Ok(vec![scalar(value).ok_or_else(no_text)?]);
    };
    let texts: Vec<String> =
        values.iter().map(scalar).collect::<Option<Vec<_>>>().ok_or_else(no_text)?;
    if commas {
        if texts.iter().any(|text| text.contains(',')) {
            return Err(wrong(format!("`{argument}` holds a text with a comma; leave it out")));
        }
        return Ok(vec![texts.join(",")]);
    }
    Ok(texts)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn rest_in_query<'a>(
    url: &mut Url,
    arguments: &'a Map<String, Value>,
    used: &mut BTreeSet<&'a str>,
) -> Result<(), BackendError> {
    for (name, value) in arguments {
        if used.insert(name) && !value.is_null() {
            let mut query = url.query_pairs_mut();
            for text in texts(name, value, false)? {
                query.append_pair(name, &text);
            }
        }
    }
    Ok(())
}

fn body<'a>(
    operation: &'a Operation,
    arguments: &'a Map<String, Value>,
    used: &mut BTreeSet<&'a str>,
) -> Option<String> {
    match &operation.body {
        Body::None | Body::Query => None,
        Body::Argument { argument } => {
            used.insert(argument);
            arguments.get(argument).map(Value::to_string)
        }
        Body::Rest => {
            let rest: Map<String, Value> = arguments
                .iter()
                .filter(|(name, _)| !used.contains(name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            used.extend(arguments.keys().map(String::as_str));
            Some(Value::Object(rest).to_string())
        }
    }
}

fn dry_run(
    operation: &Operation,
    url: &mut Url,
    headers: &mut HeaderMap,
) -> Result<(), BackendError> {
    match &operation.dry_run {
        Some(dry_run) if dry_run.place == ParameterPlace::Header => {
            let value = header_value("the dry run's value", &dry_run.value)?;
            headers.insert(header_name(&dry_run.name)?, value);
        }
        Some(dry_run) => {
            url.query_pairs_mut().append_pair(&dry_run.name, &dry_run.value);
        }
        None if operation.method.is_read_only() => {}
        None => {
            return Err(BackendError::Refused {
                why: "the tool has no dry run, and nothing was sent".to_owned(),
            });
        }
    }
    Ok(())
}

fn header_name(name: &str) -> Result<HeaderName, BackendError> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| wrong(format!("`{name}` is no name of a header")))
}

fn header_value(argument: &str, text: &str) -> Result<HeaderValue, BackendError> {
    let visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    HeaderValue::from_str(text)
        .ok()
        .filter(|_| visible)
        .ok_or_else(|| wrong(format!("{argument} holds what no header may; give plain ASCII")))
}

fn wrong(why: impl Into<String>) -> BackendError {
    BackendError::Arguments { why: why.into() }
}

#[cfg(test)]
mod tests;
