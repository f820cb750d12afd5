//! What a version of a tool is: what it takes and gives, what it may do, and what runs it.

mod backend;
mod compare;
mod egress;
mod hidden;
mod http;
mod read;
mod write;

#[cfg(test)]
mod tests;

use headwater_sandbox::{Isolation, Limits};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::deprecation::Deprecation;
use crate::name::{DefinitionHash, ToolName, ToolVersion, wire_name};
use crate::schema::{Misfits, Schema};

pub use backend::{Backend, Builtin};
pub use compare::{Difference, Severity, amend, compare, is_compatible};
pub use egress::{Egress, SecretHeader};
pub use http::{ArgumentsIn, HttpArguments, HttpDryRun, HttpParameter, HttpPlace, HttpRest};

/// Bytes of the largest definition, as canonical JSON.
pub const DEFINITION_BYTES_MAX: usize = 524_288;
/// Bytes of output that a tool may allow itself.
pub const OUTPUT_BYTES_MAX: u64 = 4 << 20;
/// The longest that an answer is kept, in seconds: seven days.
pub const CACHE_SECONDS_MAX: u64 = 604_800;

/// How a tool treats the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ReadOnly,
    Stateful,
    /// It runs code in a sandbox.
    Code,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::ReadOnly, Kind::Stateful, Kind::Code];

    pub fn word(self) -> &'static str {
        match self {
            Kind::ReadOnly => "read_only",
            Kind::Stateful => "stateful",
            Kind::Code => "code",
        }
    }

    /// The kind that a word names.
    pub fn of(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// What the owner promises of its speed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sla {
    pub p95_ms: Option<u64>,
    pub note: Option<String>,
}

/// Answers are kept and served again to the same arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    pub ttl_seconds: u64,
}

/// When a person is asked before a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Confirmation {
    Never,
    Always,
    /// When the arguments fit the schema.
    When(Schema),
}

impl Confirmation {
    /// Whether a call with these arguments, which fit the tool's input, is asked about.
    pub fn asks(&self, arguments: &Value) -> bool {
        match self {
            Confirmation::Never => false,
            Confirmation::Always => true,
            Confirmation::When(schema) => schema.fits(arguments),
        }
    }
}

/// The size of a code tool's sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    Small,
    Large,
}

impl Tier {
    pub const ALL: [Tier; 2] = [Tier::Small, Tier::Large];

    pub fn word(self) -> &'static str {
        match self {
            Tier::Small => "small",
            Tier::Large => "large",
        }
    }

    pub fn limits(self) -> Limits {
        match self {
            Tier::Small => Limits::SMALL,
            Tier::Large => Limits::LARGE,
        }
    }
}

/// The sandbox that a code tool needs at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub isolation: Isolation,
    pub tier: Tier,
}

/// A kept answer may stand in while the breaker is open, as long as it is not older than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    pub cached_for_seconds: u64,
}

/// After this many failures one after the other no call is made for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    pub failures: u32,
    pub open_ms: u64,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker { failures: 5, open_ms: 30_000 }
    }
}

/// What all callers of one team together may use; without a number there is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    pub calls_per_minute: Option<u64>,
    pub microdollars_per_day: Option<u64>,
}

/// A version of a tool, as its owner wrote it, with all that was left out at its default.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub name: ToolName,
    /// For models and people.
    pub description: String,
    /// What arguments fit; always a schema of an object.
    pub input: Schema,
    /// What an output fits; any JSON without it.
    pub output: Option<Schema>,
    /// The team that owns the tool.
    pub owner: String,
    pub kind: Kind,
    pub sla: Sla,
    /// Of one call, in millionths of a dollar.
    pub cost_microdollars: u64,
    pub timeout_ms: u64,
    /// A call that waits may take up to 30 seconds instead of 10.
    pub premium: bool,
    /// A call is an operation that the caller comes back for; it may take up to 10 minutes.
    pub asynchronous: bool,
    pub cache: Option<Cache>,
    /// Repeating a call with the same id is safe at the tool itself.
    pub idempotent: bool,
    pub confirmation: Confirmation,
    /// The tool can say what it would do without doing it.
    pub dry_run: bool,
    pub output_bytes_max: u64,
    /// Where the tool needs to reach; nowhere else is open to it.
    pub egress: Vec<Egress>,
    /// Names of secrets that the tool itself gets to see, in alphabetical order. Those of
    /// [`Egress::headers`] are none of them.
    pub secrets: Vec<String>,
    /// There for code tools, and for them only.
    pub room: Option<Room>,
    /// Outputs go through redaction.
    pub redact: bool,
    pub fallback: Option<Fallback>,
    pub breaker: Breaker,
    pub quotas: Quotas,
    pub deprecation: Option<Deprecation>,
    pub backend: Backend,
}

impl Definition {
    /// Compact JSON with sorted keys, without what is at its default: what is stored.
    pub fn canonical(&self) -> String {
        // A map of serde_json is sorted without its `preserve_order`.
        self.to_json().to_string()
    }

    /// The SHA-256 of [`Definition::canonical`] without `deprecation`: announcing an end does not
    /// break those who pinned the version. A description counts: models do what it says.
    pub fn hash(&self) -> DefinitionHash {
        let mut json = self.to_json();
        if let Some(map) = json.as_object_mut() {
            map.remove("deprecation");
        }
        DefinitionHash::of(&Sha256::digest(json.to_string().as_bytes()))
    }

    /// # Errors
    /// What of the arguments does not fit the input, without secrets.
    pub fn check_arguments(&self, arguments: &Value) -> Result<(), Misfits> {
        self.input.check(arguments)
    }

    /// # Errors
    /// What of an output does not fit; where outputs are redacted, none of its values is repeated.
    pub fn check_output(&self, output: &Value) -> Result<(), Misfits> {
        match &self.output {
            None => Ok(()),
            Some(schema) if self.redact => schema.check_blindly(output),
            Some(schema) => schema.check(output),
        }
    }

    /// The name of the function that models and MCP clients call for this version.
    pub fn function_name(&self, version: ToolVersion) -> String {
        wire_name(&self.name, version)
    }

    /// All secrets that a call needs, the tool's own and those of headers, each once, sorted.
    pub fn secret_names(&self) -> Vec<&str> {
        let headers = self.egress.iter().flat_map(|egress| &egress.headers);
        let headers = headers.map(|header| header.secret.as_str());
        let mut names: Vec<&str> = self.secrets.iter().map(String::as_str).chain(headers).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
