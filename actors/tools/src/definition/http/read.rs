//! Reads where a request of HTTP goes, and what becomes of its arguments.

use serde_json::Value;

use super::{ArgumentsIn, HttpArguments, HttpDryRun, HttpParameter, HttpPlace, HttpRest};
use crate::definition::backend::Backend;
use crate::fields::Fields;
use crate::problem::{Problem, short};

const URL_BYTES: usize = 2_048;
const PARAMETERS: usize = 128;
const NAME_CHARACTERS: usize = 128;
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// Headers that say who asks, or how long a message is, are not a model's to give.
const RESERVED_HEADERS: [&str; 13] = [
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

impl HttpParameter {
    fn read(path: &str, value: &Value) -> Result<HttpParameter, Problem> {
        let fields = Fields::of(path, value, &["argument", "in", "name", "commas"])?;
        let argument = fields.text("argument", NAME_CHARACTERS)?;
        let argument = fields.needed("argument", "an argument's name", argument)?;
        let place = fields.word("in", &HttpPlace::ALL)?;
        let place = fields.needed("in", "path, query or header", place)?;
        let name = fields.text("name", NAME_CHARACTERS)?.filter(|name| *name != argument);
        let parameter =
            HttpParameter { argument, place, name, commas: fields.truth("commas", false)? };
        if place == HttpPlace::Header {
            check_header(&fields, "name", parameter.name())?;
        }
        Ok(parameter)
    }
}

impl HttpRest {
    fn read(path: &str, value: &Value) -> Result<HttpRest, Problem> {
        let fields = Fields::of(path, value, &["kind", "argument"])?;
        let argument = fields.text("argument", NAME_CHARACTERS)?;
        let words = ["none", "query", "rest", "argument"].map(|word| (word, word));
        let kind = fields.word("kind", &words)?;
        let kind = fields.needed("kind", "none, query, rest or argument", kind)?;
        match (kind, argument) {
            ("argument", argument) => {
                let argument = fields.needed("argument", "the one that is the body", argument)?;
                Ok(HttpRest::Argument(argument))
            }
            (_, Some(_)) => {
                Err(fields.problem("argument", "is for the kind argument; leave it out"))
            }
            ("query", None) => Ok(HttpRest::Query),
            ("rest", None) => Ok(HttpRest::Body),
            _ => Ok(HttpRest::None),
        }
    }
}

impl HttpDryRun {
    fn read(path: &str, value: &Value) -> Result<HttpDryRun, Problem> {
        let fields = Fields::of(path, value, &["in", "name", "value"])?;
        let places = [("query", HttpPlace::Query), ("header", HttpPlace::Header)];
        let place = fields.word("in", &places)?;
        let place = fields.needed("in", "query or header", place)?;
        let name = fields.text("name", NAME_CHARACTERS)?;
        let name = fields.needed("name", "the parameter's name", name)?;
        if place == HttpPlace::Header {
            check_header(&fields, "name", &name)?;
        }
        let value = fields.text("value", NAME_CHARACTERS)?;
        let value = fields.needed("value", "what it says, as in true", value)?;
        Ok(HttpDryRun { place, name, value })
    }
}

pub(in crate::definition) fn read(path: &str, value: &Value) -> Result<Backend, Problem> {
    let each = ["parameters", "body", "dry_run"];
    let known = ["url", "method", "arguments"];
    let fields = Fields::of(path, value, &[&known[..], &each[..]].concat())?;
    let methods = METHODS.map(|method| (method, method));
    let method = fields.word("method", &methods)?.unwrap_or("POST");
    let set = each.into_iter().find(|name| fields.get(name).is_some());
    let arguments = match (fields.get("arguments"), set) {
        (Some(_), Some(name)) => {
            let problem = "is for requests that say where each argument goes; leave it out, or \
                           arguments, which says it for all";
            return Err(fields.problem(name, problem));
        }
        (None, Some(_)) => read_each(&fields, method)?,
        (_, None) => read_all(&fields, method)?,
    };
    let url = fields.text("url", URL_BYTES)?;
    let url = fields.needed("url", "an address, as in https://api.example.com/search", url)?;
    let placeholders = check_url(&url).map_err(|why| fields.problem("url", why))?;
    match &arguments {
        HttpArguments::All(ArgumentsIn::Path) if placeholders.is_empty() => {
            Err(fields.problem("url", "has no {name} in its path; add one, or choose query"))
        }
        HttpArguments::All(ArgumentsIn::Query | ArgumentsIn::Json) if !placeholders.is_empty() => {
            Err(fields
                .problem("url", "holds braces; they are for arguments in the path: choose path"))
        }
        HttpArguments::All(_) => Ok(Backend::Http { url, method, arguments }),
        HttpArguments::Each { parameters, .. } => {
            check_each(&fields, &placeholders, parameters)?;
            Ok(Backend::Http { url, method, arguments })
        }
    }
}

fn has_body(method: &str) -> bool {
    !["GET", "HEAD"].contains(&method)
}

fn read_all(fields: &Fields<'_>, method: &str) -> Result<HttpArguments, Problem> {
    let places = [ArgumentsIn::Query, ArgumentsIn::Json, ArgumentsIn::Path];
    let default = if has_body(method) { ArgumentsIn::Json } else { ArgumentsIn::Query };
    let place = fields.word("arguments", &places.map(|place| (place.word(), place)))?;
    match place.unwrap_or(default) {
        ArgumentsIn::Json if !has_body(method) => {
            let problem = format!("must be query or path, for a {method} has no body");
            Err(fields.problem("arguments", problem))
        }
        place => Ok(HttpArguments::All(place)),
    }
}

fn read_each(fields: &Fields<'_>, method: &str) -> Result<HttpArguments, Problem> {
    let parameters = fields.list("parameters", PARAMETERS, HttpParameter::read)?;
    let body = fields.get("body").map(|body| HttpRest::read(&fields.path("body"), body));
    let rest = body.transpose()?.unwrap_or(HttpRest::None);
    let dry_run = fields.get("dry_run");
    let dry_run = dry_run.map(|it| HttpDryRun::read(&fields.path("dry_run"), it)).transpose()?;
    if !has_body(method) && matches!(rest, HttpRest::Body | HttpRest::Argument(_)) {
        let problem = format!("must be none or query, for a {method} has no body");
        return Err(fields.problem("body", problem));
    }
    if let HttpRest::Argument(argument) = &rest
        && parameters.iter().any(|one| one.argument == *argument)
    {
        return Err(fields.problem("body", "is a parameter already; name another argument"));
    }
    Ok(HttpArguments::Each { parameters, rest, dry_run })
}

/// Each parameter is there once, and each `{name}` of the path has one.
fn check_each(
    fields: &Fields<'_>,
    placeholders: &[&str],
    parameters: &[HttpParameter],
) -> Result<(), Problem> {
    for (place, one) in parameters.iter().enumerate() {
        let is_twice = parameters[..place].iter().any(|other| other.argument == one.argument);
        if is_twice {
            let field = format!("parameters[{place}].argument");
            return Err(fields.problem(&field, "stands twice; leave one out"));
        }
        if one.place == HttpPlace::Path && !placeholders.contains(&one.name()) {
            let field = format!("parameters[{place}].name");
            let problem = format!("is not in the path; write {{{}}} there", one.name());
            return Err(fields.problem(&field, problem));
        }
    }
    let is_filled = |name: &str| {
        parameters.iter().any(|one| one.place == HttpPlace::Path && one.name() == name)
    };
    match placeholders.iter().find(|name| !is_filled(name)) {
        None => Ok(()),
        Some(name) => {
            let problem = format!("has {{{name}}} in its path; give it a parameter in the path");
            Err(fields.problem("url", problem))
        }
    }
}

fn check_header(fields: &Fields<'_>, field: &str, name: &str) -> Result<(), Problem> {
    let lower = name.to_ascii_lowercase();
    let is_token = lower.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_token || RESERVED_HEADERS.contains(&lower.as_str()) || lower.starts_with("proxy-") {
        let problem = format!(
            "'{}' is no header that an argument may fill; secrets come by headers in egress",
            short(name)
        );
        return Err(fields.problem(field, problem));
    }
    Ok(())
}

/// The names in braces of the URL's path, or what is wrong with it.
pub(super) fn check_url(url: &str) -> Result<Vec<&str>, String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or("must begin with https:// or http://")?;
    if !url.is_ascii() || url.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
        return Err("must be ASCII without spaces; percent-encode the rest".to_owned());
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("must not hold a user or password; name a secret header in egress".to_owned());
    }
    let well_formed = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    if authority.is_empty() || !authority.bytes().all(well_formed) {
        return Err(format!("names no host: '{}'", short(authority)));
    }
    if path.contains('#') {
        return Err("must not have a fragment (#); servers never see it".to_owned());
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if query.contains(['{', '}']) {
        return Err("has braces in its query; arguments that are not in the path go there by \
                    themselves"
            .to_owned());
    }
    placeholders(path)
}

fn placeholders(path: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut pieces = path.split('{');
    let unopened = "has a } without a { before it";
    if pieces.next().is_some_and(|first| first.contains('}')) {
        return Err(unopened.to_owned());
    }
    for piece in pieces {
        let (name, rest) = piece.split_once('}').ok_or("has a { without a } behind it")?;
        if rest.contains('}') {
            return Err(unopened.to_owned());
        }
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || !name.bytes().all(good) {
            return Err(format!(
                "names the argument '{}' in braces; write letters, digits, '_' and '-'",
                short(name)
            ));
        }
        names.push(name);
    }
    Ok(names)
}
