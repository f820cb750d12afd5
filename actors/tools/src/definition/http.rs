//! One request of HTTP: where it goes, and where each argument of a call does.

mod read;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

pub(super) use read::read;

/// Where a request carries all arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentsIn {
    Query,
    /// The body is the object of arguments.
    Json,
    /// Each `{name}` of the URL's path is an argument; the others go into the query.
    Path,
}

impl ArgumentsIn {
    pub fn word(self) -> &'static str {
        match self {
            ArgumentsIn::Query => "query",
            ArgumentsIn::Json => "json",
            ArgumentsIn::Path => "path",
        }
    }
}

/// Where a request carries its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpArguments {
    /// All of them, by one rule.
    All(ArgumentsIn),
    /// Each by a rule of its own.
    Each {
        parameters: Vec<HttpParameter>,
        /// Where those go that are no parameters.
        rest: HttpRest,
        /// What tells the service that nothing may change.
        dry_run: Option<HttpDryRun>,
    },
}

/// An argument outside the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpParameter {
    pub argument: String,
    pub place: HttpPlace,
    /// The name in the URL or header, where it is not the argument's.
    pub name: Option<String>,
    /// A list is one text with commas, rather than a repeated parameter.
    pub commas: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpPlace {
    Path,
    Query,
    Header,
}

/// Where arguments go that are no parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpRest {
    /// There are none.
    None,
    Query,
    /// They are the body, as one object.
    Body,
    /// One argument is the whole body; there are no others.
    Argument(String),
}

/// A parameter that asks for a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpDryRun {
    /// Never the path.
    pub place: HttpPlace,
    pub name: String,
    pub value: String,
}

impl HttpParameter {
    /// The name in the URL or header.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.argument)
    }
}

impl HttpPlace {
    const ALL: [(&str, HttpPlace); 3] =
        [("path", HttpPlace::Path), ("query", HttpPlace::Query), ("header", HttpPlace::Header)];

    fn word(self) -> &'static str {
        match self {
            HttpPlace::Path => "path",
            HttpPlace::Query => "query",
            HttpPlace::Header => "header",
        }
    }
}

impl HttpArguments {
    /// For each `{name}` of the URL's path, the argument that fills it.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(super) fn in_path<'a>(&'a self, url: &'a str) -> Result<Vec<(&'a str, &'a str)>, String> {
        let names = read::check_url(url)?;
        let HttpArguments::Each { parameters, .. } = self else {
            return Ok(names.into_iter().map(|name| (name, name)).collect());
        };
        let argument = |name: &str| {
            let filled = |one: &&HttpParameter| one.place == HttpPlace::Path && one.name() == name;
            parameters.iter().find(filled).map(|one| one.argument.as_str())
        };
        Ok(names.into_iter().filter_map(|name| Some((name, argument(name)?))).collect())
    }

    pub(super) fn write(&self, map: &mut Map<String, Value>) {
        let mut set = |name: &str, value: Value| map.insert(name.to_owned(), value);
        match self {
            HttpArguments::All(place) => {
                set("arguments", place.word().into());
            }
            HttpArguments::Each { parameters, rest, dry_run } => {
                set("parameters", parameters.iter().map(HttpParameter::to_json).collect());
                set("body", rest.to_json());
                if let Some(HttpDryRun { place, name, value }) = dry_run {
                    set("dry_run", json!({"in": place.word(), "name": name, "value": value}));
                }
            }
        }
    }
}

impl HttpParameter {
    fn to_json(&self) -> Value {
        let mut parameter = json!({"argument": self.argument, "in": self.place.word()});
        if let Some(map) = parameter.as_object_mut() {
            map.extend(self.name.iter().map(|name| ("name".to_owned(), name.clone().into())));
            map.extend(self.commas.then(|| ("commas".to_owned(), true.into())));
        }
        parameter
    }
}

impl HttpRest {
    fn to_json(&self) -> Value {
        match self {
            HttpRest::None => json!({"kind": "none"}),
            HttpRest::Query => json!({"kind": "query"}),
            HttpRest::Body => json!({"kind": "rest"}),
            HttpRest::Argument(argument) => json!({"kind": "argument", "argument": argument}),
        }
    }
}
