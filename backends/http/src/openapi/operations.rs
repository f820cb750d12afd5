//! Operations of a document, one a tool.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use super::{Choice, OpenApiError, OpenApiTool, SecurityHeader, Skipped, security, wrong};
use crate::operation::{Body, Method, Operation, Parameter, ParameterPlace};

const NAME_BYTES_MAX: usize = 48;
const DESCRIPTION_CHARACTERS_MAX: usize = 1_024;
const TOOLS_MAX: usize = 2_000;
/// The argument that is a body which is no object, or whose names meet those of parameters.
const BODY: &str = "body";

const METHODS: [(&str, Method); 6] = [
    ("get", Method::Get),
    ("head", Method::Head),
    ("post", Method::Post),
    ("put", Method::Put),
    ("patch", Method::Patch),
    ("delete", Method::Delete),
];

/// All tools that were chosen, and what became none.
pub(super) fn read(
    document: &Value,
    base: &str,
    choice: &Choice<'_>,
) -> Result<(Vec<OpenApiTool>, Vec<Skipped>), OpenApiError> {
    let (mut tools, mut skipped, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut left: BTreeSet<&str> = choice.only.iter().map(String::as_str).collect();
    let no_paths = Map::new();
    let paths = document.get("paths").and_then(Value::as_object).unwrap_or(&no_paths);
    for (path, item) in paths {
        let is_all = choice.only.is_empty();
        let Some(item) = Schemas::follow(document, item).and_then(Value::as_object) else {
            if !is_all {
                continue;
            }
            let why = "its reference leads nowhere".to_owned();
            skipped.push(Skipped { operation: path.clone(), why });
            continue;
        };
        let others = ["options", "trace"].into_iter();
        for word in others.filter(|word| is_all && item.contains_key(*word)) {
            let operation = format!("{} {path}", word.to_uppercase());
            skipped.push(Skipped { operation, why: "tools have no such method".to_owned() });
        }
        for (word, method) in METHODS {
            let Some(told) = item.get(word) else { continue };
            let operation = format!("{} {path}", method.as_str());
            let id = told.get("operationId").and_then(Value::as_str);
            let named = [Some(operation.as_str()), id].into_iter().flatten();
            if !named.fold(is_all, |chosen, name| left.remove(name) || chosen) {
                continue;
            }
            if tools.len() == TOOLS_MAX {
                let why = format!("the document has more than {TOOLS_MAX} operations");
                skipped.push(Skipped { operation, why });
                continue;
            }
            let prefix = choice.prefix;
            let reading = Reading { document, item, told, method, path, base, prefix };
            match reading.tool(&mut names) {
                Ok(tool) => tools.push(tool),
                Err(why) => skipped.push(Skipped { operation, why }),
            }
        }
    }
    match left.first() {
        None => Ok((tools, skipped)),
        Some(name) => Err(wrong(&format!(
            "has no operation `{name}`; name it by its operationId, or as in `GET /pets`"
        ))),
    }
}

struct Reading<'a> {
    document: &'a Value,
    item: &'a Map<String, Value>,
    told: &'a Value,
    method: Method,
    path: &'a str,
    base: &'a str,
    prefix: &'a str,
}

/// The arguments of a tool while they are put together.
#[derive(Default)]
struct Arguments {
    properties: Map<String, Value>,
    required: Vec<Value>,
    parameters: Vec<Parameter>,
}

impl Reading<'_> {
    fn tool(&self, names: &mut BTreeSet<String>) -> Result<OpenApiTool, String> {
        let security = security::read(self.document, self.told)?;
        let mut schemas = Schemas::new(self.document);
        let mut arguments = self.parameters(&mut schemas, &security.headers)?;
        let body = self.body(&mut schemas, &mut arguments)?;
        let operation = Operation {
            method: self.method,
            url: format!("{}{}", self.base, self.path),
            parameters: arguments.parameters,
            body,
            dry_run: None,
        };
        operation.check().map_err(|error| error.to_string())?;
        let mut input_schema = json!({
            "type": "object",
            "properties": arguments.properties,
            "additionalProperties": false,
        });
        if let (false, Some(map)) = (arguments.required.is_empty(), input_schema.as_object_mut()) {
            map.insert("required".to_owned(), Value::Array(arguments.required));
        }
        let output_schema = self.output(&mut schemas);
        let mut notes = schemas.notes;
        notes.extend(security.notes);
        if !security.headers.is_empty() && self.base.starts_with("http://") {
            notes.push("its secrets can be read on the way; give a base of https".to_owned());
        }
        Ok(OpenApiTool {
            name: self.name(names),
            description: self.description(),
            input_schema,
            output_schema,
            deprecated: self.told.get("deprecated") == Some(&Value::Bool(true)),
            notes,
            headers: security.headers,
            operation,
        })
    }

    /// The parameters of the path and of the operation, which has the last word.
    fn parameters(
        &self,
        schemas: &mut Schemas<'_>,
        secrets: &[SecurityHeader],
    ) -> Result<Arguments, String> {
        let mut found: Vec<&Value> = Vec::new();
        let of_path = self.item.get("parameters").and_then(Value::as_array);
        let own = self.told.get("parameters").and_then(Value::as_array);
        for parameter in of_path.into_iter().chain(own).flatten() {
            let parameter = Schemas::follow(self.document, parameter)
                .ok_or("a parameter's reference leads nowhere")?;
            let key = |one: &Value| (one.get("name").cloned(), one.get("in").cloned());
            found.retain(|known| key(known) != key(parameter));
            found.push(parameter);
        }
        // A secret is not a model's to give.
        let is_secret = |parameter: &Value| {
            let text = |field: &str| parameter.get(field).and_then(Value::as_str);
            let name = text("name").unwrap_or_default().to_ascii_lowercase();
            text("in") == Some("header") && secrets.iter().any(|one| one.header == name)
        };
        found.retain(|parameter| !is_secret(parameter));
        let mut arguments = Arguments::default();
        for parameter in found {
            self.parameter(parameter, schemas, &mut arguments)?;
        }
        Ok(arguments)
    }

    fn parameter(
        &self,
        told: &Value,
        schemas: &mut Schemas<'_>,
        arguments: &mut Arguments,
    ) -> Result<(), String> {
        let text = |field: &str| told.get(field).and_then(Value::as_str).unwrap_or_default();
        let (name, required) = (text("name"), told.get("required") == Some(&Value::Bool(true)));
        let place = match text("in") {
            "path" => ParameterPlace::Path,
            "query" => ParameterPlace::Query,
            // Who asks, and in which format, is not a model's to say.
            "header"
                if ["accept", "content-type", "authorization"]
                    .contains(&name.to_ascii_lowercase().as_str()) =>
            {
                return Ok(());
            }
            "header" => ParameterPlace::Header,
            "cookie" if required => return Err(format!("`{name}` is a cookie that it needs")),
            "cookie" => return Ok(()),
            _ => return Err(format!("the parameter `{name}` is at no place that is known")),
        };
        let Some(schema) = told.get("schema") else {
            return match required {
                true => Err(format!("the parameter `{name}` has no plain schema")),
                false => Ok(()),
            };
        };
        if arguments.properties.contains_key(name) {
            return Err(format!("two parameters are named `{name}`"));
        }
        let mut schema = schemas.inline(schema);
        if schema.get("type") == Some(&json!("object")) {
            return match required {
                true => Err(format!("the parameter `{name}` is an object")),
                false => Ok(()),
            };
        }
        describe(&mut schema, text("description"));
        arguments.properties.insert(name.to_owned(), schema);
        if required || place == ParameterPlace::Path {
            arguments.required.push(json!(name));
        }
        let commas = told.get("explode") == Some(&Value::Bool(false));
        let argument = name.to_owned();
        arguments.parameters.push(Parameter { argument, place, name: None, commas });
        Ok(())
    }

    /// The body's own names beside those of the parameters where it is an object, else one
    /// argument for the whole.
    fn body(&self, schemas: &mut Schemas<'_>, arguments: &mut Arguments) -> Result<Body, String> {
        let Some(told) = self.told.get("requestBody") else {
            return Ok(Body::None);
        };
        let told = Schemas::follow(self.document, told).ok_or("its body's reference is broken")?;
        let required = told.get("required") == Some(&Value::Bool(true));
        if self.method.is_read_only() {
            return if required { Err("it reads with a body".to_owned()) } else { Ok(Body::None) };
        }
        let Some(schema) = json_schema(told) else {
            return match required {
                true => Err("its body is no JSON".to_owned()),
                false => Ok(Body::None),
            };
        };
        let mut schema = schemas.inline(schema);
        let properties = schema.get("properties").and_then(Value::as_object).cloned();
        let is_plain = ["allOf", "anyOf", "oneOf", "additionalProperties", "patternProperties"]
            .iter()
            .all(|word| schema.get(word).is_none_or(|value| value == &json!(false)));
        if let Some(properties) = properties
            && is_plain
            && properties.keys().all(|name| !arguments.properties.contains_key(name))
        {
            arguments.properties.extend(properties);
            if let Some(names) = schema.get("required").and_then(Value::as_array)
                && required
            {
                arguments.required.extend(names.iter().cloned());
            }
            return Ok(Body::Rest);
        }
        if arguments.properties.contains_key(BODY) {
            return Err(format!("a parameter is named `{BODY}` as its body is"));
        }
        let description = told.get("description").and_then(Value::as_str).unwrap_or_default();
        describe(&mut schema, description);
        arguments.properties.insert(BODY.to_owned(), schema);
        if required {
            arguments.required.push(json!(BODY));
        }
        Ok(Body::Argument { argument: BODY.to_owned() })
    }

    fn output(&self, schemas: &mut Schemas<'_>) -> Option<Value> {
        let responses = self.told.get("responses")?;
        let response = ["200", "201"].iter().find_map(|status| responses.get(status))?;
        let response = Schemas::follow(self.document, response)?;
        Some(schemas.inline(json_schema(response)?))
    }

    fn description(&self) -> String {
        let text = |field: &str| {
            self.told.get(field).and_then(Value::as_str).map(str::trim).unwrap_or_default()
        };
        let (summary, description) = (text("summary"), text("description"));
        let told = match (summary.is_empty(), description.is_empty()) {
            (true, true) => format!("{} {}", self.method.as_str(), self.path),
            (false, false) if description != summary => format!("{summary}\n{description}"),
            (false, _) => summary.to_owned(),
            (true, false) => description.to_owned(),
        };
        told.chars().take(DESCRIPTION_CHARACTERS_MAX).collect()
    }

    /// The operation's id, or its method and path, as a name that nobody has yet.
    fn name(&self, names: &mut BTreeSet<String>) -> String {
        let id = self.told.get("operationId").and_then(Value::as_str).map(plain_name);
        let plain = id.filter(|name| !name.is_empty()).unwrap_or_else(|| {
            plain_name(&format!("{} {}", self.method.as_str().to_lowercase(), self.path))
        });
        let prefix: String = self.prefix.chars().filter(char::is_ascii).collect();
        let plain = format!("{prefix}{plain}");
        let plain = plain[..plain.len().min(NAME_BYTES_MAX)].trim_end_matches('-');
        let mut name = plain.to_owned();
        let mut count = 1;
        while !names.insert(name.clone()) {
            count += 1;
            let end = format!("-{count}");
            let room = NAME_BYTES_MAX - end.len();
            name = format!("{}{end}", plain[..plain.len().min(room)].trim_end_matches('-'));
        }
        name
    }
}

fn describe(schema: &mut Value, description: &str) {
    if let (false, Some(map)) = (description.is_empty(), schema.as_object_mut()) {
        map.entry("description").or_insert_with(|| json!(description));
    }
}

/// The schema of a body or an answer, where it is JSON.
fn json_schema(told: &Value) -> Option<&Value> {
    let content = told.get("content")?.as_object()?;
    let is_json = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind == "application/json" || kind.ends_with("+json") || kind == "*/*"
    };
    content.iter().find(|(kind, _)| is_json(kind))?.1.get("schema")
}

/// `listUserPosts` and `GET /users/{id}` as `list-user-posts` and `get-users-id`.
fn plain_name(text: &str) -> String {
    let mut name = String::new();
    let mut after_small = false;
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() {
            if letter.is_ascii_uppercase() && after_small {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
    }
    let from_letter = name.trim_start_matches(|first: char| !first.is_ascii_lowercase());
    let cut = &from_letter[..from_letter.len().min(NAME_BYTES_MAX)];
    cut.trim_end_matches('-').to_owned()
}
