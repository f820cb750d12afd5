//! A version's templates, compiled once and rendered often (Jinja's language, by `minijinja`).
//! Each render has a budget of fuel, which bounds its time and its memory alike.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, LazyLock};

use minijinja::value::{Object, Serde};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use regex::Regex;
use serde_json::Map;

use crate::document::{PromptDocument, Role};
use crate::marker::{marker, text_holds_marker};
use crate::name::is_secret_name;
use crate::problem::Problem;
use crate::variable::{Variable, bind};

/// Instructions and pieces of 64 bytes that one template may use.
const FUEL: u64 = 500_000;
/// Bytes of everything that one version renders.
const OUTPUT_BYTES: usize = 4_000_000;
/// Partials within partials.
pub const DEPTH: usize = 8;
/// What a template knows its secrets by.
const SECRET: &str = "secret";

/// A version's document with the documents of its partials, by their names in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    pub document: PromptDocument,
    pub partials: BTreeMap<String, Bundle>,
}

/// What a version says for given variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    Chat(Vec<RenderedMessage>),
    Text(String),
}

/// One message, with markers where its secrets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedMessage {
    pub role: Role,
    pub content: String,
}

/// A version that is ready to be rendered; cheap to clone.
#[derive(Clone)]
pub struct Compiled {
    shared: Arc<Shared>,
}

struct Shared {
    environment: Environment<'static>,
    /// The templates' names in the environment, in their order.
    roots: Vec<(Option<Role>, String)>,
    variables: BTreeMap<String, Variable>,
    secrets: BTreeSet<String>,
    /// What a careful author would look at.
    warnings: Vec<String>,
}

impl Debug for Compiled {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Compiled")
            .field("roots", &self.shared.roots)
            .finish_non_exhaustive()
    }
}

/// Looked up as `secret.NAME`; says the name's marker.
#[derive(Debug)]
struct Secrets;

impl Object for Secrets {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        key.as_str().filter(|name| is_secret_name(name)).map(|name| Value::from(marker(name)))
    }
}

impl Compiled {
    /// Compiles all templates, and checks each name that they use.
    ///
    /// # Errors
    /// The first field with an error of syntax, a variable that is not declared, a partial that is
    /// not there, or a use of secrets that cannot be followed.
    pub fn new(bundle: &Bundle) -> Result<Compiled, Problem> {
        bundle.document.check()?;
        let mut build = Build::new();
        let mut roots = Vec::new();
        for (place, message) in bundle.document.messages.iter().enumerate() {
            let name = format!("messages[{place}].content");
            build.add(&name, &message.content, bundle)?;
            roots.push((Some(message.role), name));
        }
        if let Some(text) = &bundle.document.text {
            build.add("text", text, bundle)?;
            roots.push((None, "text".to_owned()));
        }
        build.partials(bundle, "", 0)?;
        let variables = variables_of(bundle);
        build.check_names(&variables)?;
        build.warn(&bundle.document);
        let Build { environment, secrets, warnings, .. } = build;
        Ok(Compiled {
            shared: Arc::new(Shared { environment, roots, variables, secrets, warnings }),
        })
    }

    /// What callers may set: the document's own, and what its partials declare besides.
    pub fn variables(&self) -> &BTreeMap<String, Variable> {
        &self.shared.variables
    }

    /// Names of the secrets that it uses.
    pub fn secrets(&self) -> &BTreeSet<String> {
        &self.shared.secrets
    }

    /// What is allowed and is likely to be a slip.
    pub fn warnings(&self) -> &[String] {
        &self.shared.warnings
    }

    /// Renders all templates. The result holds a marker for each secret.
    ///
    /// # Errors
    /// The first variable that is wrong, or the template that cannot be rendered with them.
    pub fn render(&self, given: &Map<String, serde_json::Value>) -> Result<Rendered, Problem> {
        let Shared { environment, roots, variables, .. } = &*self.shared;
        let bound = bind(variables, given)?;
        let mut context: BTreeMap<&str, Value> =
            bound.iter().map(|(name, value)| (name.as_str(), Value::from(Serde(value)))).collect();
        context.insert(SECRET, Value::from_object(Secrets));
        let context = Value::from_pairs(context);
        let (mut messages, mut bytes) = (Vec::with_capacity(roots.len()), 0);
        for (role, name) in roots {
            let template = environment.get_template(name).map_err(|error| told(name, &error))?;
            let content = template.render(context.clone()).map_err(|error| told(name, &error))?;
            bytes += content.len();
            if bytes > OUTPUT_BYTES {
                let problem = format!(
                    "renders to more than {OUTPUT_BYTES} bytes with what comes before it; give shorter variables"
                );
                return Err(Problem::new(name, problem));
            }
            match role {
                None if content.trim().is_empty() => {
                    let problem =
                        "renders to nothing with these variables; an empty prompt is never served";
                    return Err(Problem::new("text", problem));
                }
                None => return Ok(Rendered::Text(content)),
                // A message whose condition leaves nothing of it is not said.
                Some(_) if content.trim().is_empty() => {}
                Some(role) => messages.push(RenderedMessage { role: *role, content }),
            }
        }
        if messages.is_empty() {
            let problem =
                "renders to nothing with these variables; an empty prompt is never served";
            return Err(Problem::new("messages", problem));
        }
        Ok(Rendered::Chat(messages))
    }
}

/// The document's own variables go before its partials'.
fn variables_of(bundle: &Bundle) -> BTreeMap<String, Variable> {
    let mut all = BTreeMap::new();
    for partial in bundle.partials.values() {
        all.extend(variables_of(partial));
    }
    all.extend(bundle.document.variables.clone());
    all
}

/// The environment while it is built.
struct Build {
    environment: Environment<'static>,
    names: Vec<String>,
    used: BTreeSet<String>,
    secrets: BTreeSet<String>,
    warnings: Vec<String>,
}

impl Build {
    fn new() -> Build {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_path_join_callback(|name, parent| Cow::Owned(joined(parent, name)));
        let (names, used, secrets) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        Build { environment, names, used, secrets, warnings: Vec::new() }
    }

    /// `name` is the field that the text stands in, too.
    fn add(&mut self, name: &str, text: &str, bundle: &Bundle) -> Result<(), Problem> {
        if text_holds_marker(text) {
            return Err(Problem::new(
                name,
                "holds a character of the private use area that stands for secrets here (U+F8F0, U+F8F1); remove it",
            ));
        }
        check_includes(name, text, bundle)?;
        let added = self.environment.add_template_owned(name.to_owned(), text.to_owned());
        added.map_err(|error| told(name, &error))?;
        self.names.push(name.to_owned());
        Ok(())
    }

    fn partials(&mut self, bundle: &Bundle, prefix: &str, depth: usize) -> Result<(), Problem> {
        if depth >= DEPTH && !bundle.partials.is_empty() {
            let problem = format!("are nested more than {DEPTH} deep; put some of them into one");
            return Err(Problem::new("partials", problem));
        }
        for (name, partial) in &bundle.partials {
            let path = format!("{prefix}{PARTIAL}{name}");
            let Some(text) = &partial.document.text else {
                let problem = "is a chat; only a prompt with text may be a partial";
                return Err(Problem::new(format!("partials.{name}"), problem));
            };
            self.add(&path, text, partial)?;
            self.partials(partial, &path, depth + 1)?;
        }
        Ok(())
    }

    /// Every name in every template is a declared variable, a secret, or the engine's own.
    fn check_names(&mut self, variables: &BTreeMap<String, Variable>) -> Result<(), Problem> {
        let own: BTreeSet<String> =
            self.environment.globals().map(|(name, _)| name.to_owned()).collect();
        for name in &self.names {
            let template =
                self.environment.get_template(name).map_err(|error| told(name, &error))?;
            let used: BTreeSet<String> = template.undeclared_variables(true).into_iter().collect();
            for path in &used {
                let (root, field) = path
                    .split_once('.')
                    .map_or((path.as_str(), None), |(root, field)| (root, Some(field)));
                match field {
                    Some(field) if root == SECRET && is_secret_name(field) => {
                        self.secrets.insert(field.to_owned());
                    }
                    _ if root == SECRET => {
                        let problem = "uses secrets in a way that cannot be followed; write secret.NAME, of A-Z, 0-9 and '_'";
                        return Err(Problem::new(name, problem));
                    }
                    _ if variables.contains_key(root) => {
                        self.used.insert(root.to_owned());
                    }
                    _ if own.contains(root) => {}
                    _ => {
                        let problem =
                            format!("uses '{root}', which is not declared; add it to variables");
                        return Err(Problem::new(name, problem));
                    }
                }
            }
        }
        Ok(())
    }

    fn warn(&mut self, document: &PromptDocument) {
        for name in document.variables.keys().filter(|name| !self.used.contains(*name)) {
            self.warnings.push(format!("variables.{name}: is declared, and no template uses it"));
        }
        let texts = document.templates();
        for name in document.partials.keys() {
            let included =
                texts.iter().any(|(_, text)| includes(text).any(|one| one == Some(name)));
            if !included {
                self.warnings
                    .push(format!("partials.{name}: is named, and no template includes it"));
            }
        }
    }
}

/// Between the names of nested partials.
const PARTIAL: &str = "/";

/// The name of a partial within the template that includes it.
fn joined(parent: &str, name: &str) -> String {
    // Roots are fields of the document; partials begin with the separator.
    let prefix = if parent.starts_with(PARTIAL) { parent } else { "" };
    format!("{prefix}{PARTIAL}{name}")
}

fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

/// A tag that reads another template, with its name when that is a literal.
static INCLUDE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(r#"\{%[-+]?\s*(?:include|import|extends|from)\s+(?:"([^"]*)"|'([^']*)'|[^\s])"#)
});

/// The names that a template includes; none for one that is made as it renders.
fn includes(text: &str) -> impl Iterator<Item = Option<&str>> {
    let found = INCLUDE.iter().flat_map(move |pattern| pattern.captures_iter(text));
    found.map(|tag| tag.get(1).or(tag.get(2)).map(|name| name.as_str()))
}

fn check_includes(field: &str, text: &str, bundle: &Bundle) -> Result<(), Problem> {
    for name in includes(text) {
        match name {
            Some(name) if bundle.partials.contains_key(name) => {}
            Some(name) => {
                let problem = format!("includes '{name}', which is not there; add it to partials");
                return Err(Problem::new(field, problem));
            }
            None => {
                let problem = "includes a partial by a name that is made as it renders; write the name as a string";
                return Err(Problem::new(field, problem));
            }
        }
    }
    Ok(())
}

/// What went wrong in a template. The engine's words name variables and never their values.
fn told(template: &str, error: &Error) -> Problem {
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let what = match error.kind() {
        ErrorKind::OutOfFuel => "takes too long or makes too much; shorten its loops".to_owned(),
        ErrorKind::SyntaxError => {
            format!("has an error of syntax{line}: {}", error.detail().unwrap_or("unknown"))
        }
        kind => {
            let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("cannot be rendered{line}: {kind}{detail}")
        }
    };
    Problem::new(template, what)
}
