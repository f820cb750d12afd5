//! What runs a tool.

use headwater_sandbox::ImageName;
use serde_json::{Map, Value, json};

use super::http::{self, HttpArguments};
use crate::fields::Fields;
use crate::problem::Problem;

const SOURCE_CHARACTERS: usize = 262_144;
const MCP_TOOL_BYTES: usize = 128;
const PLACE_RULE: &str = "1 to 63 of a-z, 0-9, '_' and '-', a letter first";
const DATABASE_RULE: &str = "1 to 64 letters, digits, '_' and '-', a letter first";

/// Tools that the platform itself has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    HttpFetch,
    VectorSearch,
    SqlRead,
    RunPython,
}

impl Builtin {
    pub const ALL: [Builtin; 4] =
        [Builtin::HttpFetch, Builtin::VectorSearch, Builtin::SqlRead, Builtin::RunPython];

    pub fn word(self) -> &'static str {
        match self {
            Builtin::HttpFetch => "http_fetch",
            Builtin::VectorSearch => "vector_search",
            Builtin::SqlRead => "sql_read",
            Builtin::RunPython => "run_python",
        }
    }
}

/// What runs a tool.
#[derive(Debug, Clone, PartialEq)]
pub enum Backend {
    Http {
        /// Absolute, `http` or `https`.
        url: String,
        method: &'static str,
        arguments: HttpArguments,
    },
    /// A tool of another MCP server, which the node's settings name.
    Mcp { server: String, tool: String },
    /// Python in a sandbox: arguments come as JSON on standard input, the output goes as JSON to
    /// standard output.
    Code { image: ImageName, source: String },
    Builtin {
        builtin: Builtin,
        /// All that is set, checked: `http_fetch` has `bytes_max`; `vector_search` has `collection`
        /// and `entries_max`; `sql_read` has `database` (as the node's settings name it) and `rows_max`;
        /// `run_python` has `image`.
        settings: Map<String, Value>,
    },
}

impl Backend {
    /// Whether it runs code that somebody wrote in a sandbox.
    pub fn is_code(&self) -> bool {
        match self {
            Backend::Code { .. } => true,
            Backend::Builtin { builtin, .. } => *builtin == Builtin::RunPython,
            Backend::Http { .. } | Backend::Mcp { .. } => false,
        }
    }

    /// Whether it reaches what the platform does not hold.
    pub(crate) fn is_open_world(&self) -> bool {
        match self {
            Backend::Http { .. } | Backend::Mcp { .. } => true,
            Backend::Builtin { builtin, .. } => *builtin == Builtin::HttpFetch,
            Backend::Code { .. } => false,
        }
    }

    /// The word of settings and answers.
    pub fn word(&self) -> &'static str {
        match self {
            Backend::Http { .. } => "http",
            Backend::Mcp { .. } => "mcp",
            Backend::Code { .. } => "code",
            Backend::Builtin { .. } => "builtin",
        }
    }

    pub(super) fn read(path: &str, value: &Value) -> Result<Backend, Problem> {
        if value.get("builtin").is_some() {
            return read_builtin(path, value);
        }
        let fields = Fields::of(path, value, &["http", "mcp", "code", "builtin"])?;
        let rule = "must have exactly one of http, mcp, code, builtin";
        match (fields.get("http"), fields.get("mcp"), fields.get("code")) {
            (Some(http), None, None) => http::read(&fields.path("http"), http),
            (None, Some(mcp), None) => read_mcp(&fields.path("mcp"), mcp),
            (None, None, Some(code)) => read_code(&fields.path("code"), code),
            _ => Err(Problem::new(path, rule)),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Backend::Http { url, method, arguments } => {
                let mut http = Map::new();
                http.insert("url".to_owned(), url.clone().into());
                http.insert("method".to_owned(), (*method).into());
                arguments.write(&mut http);
                json!({"http": http})
            }
            Backend::Mcp { server, tool } => json!({"mcp": {"server": server, "tool": tool}}),
            Backend::Code { image, source } => {
                json!({"code": {"image": image.as_str(), "source": source}})
            }
            Backend::Builtin { builtin, settings } => {
                let mut map = settings.clone();
                map.insert("builtin".to_owned(), builtin.word().into());
                Value::Object(map)
            }
        }
    }
}

fn read_mcp(path: &str, value: &Value) -> Result<Backend, Problem> {
    let fields = Fields::of(path, value, &["server", "tool"])?;
    let server = fields.named("server", PLACE_RULE, is_place)?;
    let server =
        fields.needed("server", "the name of an MCP server of the node's settings", server)?;
    let rule = "1 to 128 of letters, digits, '_', '-', '.' and '/'";
    let tool = fields.named("tool", rule, |tool| {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"_-./".contains(&b);
        (1..=MCP_TOOL_BYTES).contains(&tool.len()) && tool.bytes().all(good)
    })?;
    let tool = fields.needed("tool", "the tool's name at that server", tool)?;
    Ok(Backend::Mcp { server, tool })
}

fn read_code(path: &str, value: &Value) -> Result<Backend, Problem> {
    let fields = Fields::of(path, value, &["image", "source"])?;
    let source = fields.text("source", SOURCE_CHARACTERS)?;
    let source = fields.needed("source", "a Python program", source)?;
    let image = read_image(&fields)?;
    let image = fields.needed("image", "the name of an image, as in python", image)?;
    Ok(Backend::Code { image, source })
}

fn read_image(fields: &Fields<'_>) -> Result<Option<ImageName>, Problem> {
    match fields.text("image", 63)? {
        None => Ok(None),
        Some(name) => {
            ImageName::new(name).map(Some).map_err(|why| fields.problem("image", why.to_string()))
        }
    }
}

fn read_builtin(path: &str, value: &Value) -> Result<Backend, Problem> {
    let words = Builtin::ALL.map(|builtin| (builtin.word(), builtin));
    let known = value.get("builtin").and_then(Value::as_str);
    let known = words.iter().find(|(word, _)| known == Some(word)).map(|(_, builtin)| *builtin);
    let known: &[&str] = match known {
        Some(Builtin::HttpFetch) => &["builtin", "bytes_max"],
        Some(Builtin::VectorSearch) => &["builtin", "collection", "entries_max"],
        Some(Builtin::SqlRead) => &["builtin", "database", "rows_max"],
        Some(Builtin::RunPython) => &["builtin", "image"],
        None => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let problem = format!("must be one of {}", words.join(", "));
            return Err(Problem::new(format!("{path}.builtin"), problem));
        }
    };
    let fields = Fields::of(path, value, known)?;
    let builtin = fields.word("builtin", &words)?;
    let builtin = fields.needed("builtin", "the name of one", builtin)?;
    let mut settings = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        settings.extend(value.map(|value| (name.to_owned(), value)));
    };
    match builtin {
        Builtin::HttpFetch => {
            let bytes = fields.whole("bytes_max", 1, super::OUTPUT_BYTES_MAX)?;
            set("bytes_max", bytes.map(Value::from));
        }
        Builtin::VectorSearch => {
            let collection = fields.named("collection", PLACE_RULE, is_place)?;
            let collection = fields.needed("collection", "the name of one", collection)?;
            set("collection", Some(collection.into()));
            set("entries_max", fields.whole("entries_max", 1, 1_000)?.map(Value::from));
        }
        Builtin::SqlRead => {
            let database = fields.named("database", DATABASE_RULE, is_database)?;
            let what = "the name of a database of the node's settings";
            set("database", Some(fields.needed("database", what, database)?.into()));
            set("rows_max", fields.whole("rows_max", 1, 100_000)?.map(Value::from));
        }
        Builtin::RunPython => {
            set("image", read_image(&fields)?.map(|image| image.as_str().into()));
        }
    }
    Ok(Backend::Builtin { builtin, settings })
}

/// Whether it may name a collection or an MCP server of the node's settings.
fn is_place(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 63
        && name.bytes().all(good)
}

/// Whether it may name a database of the node's settings.
fn is_database(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 64
        && name.bytes().all(good)
}
