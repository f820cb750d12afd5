//! Reads a definition and checks what its fields say together.

use headwater_sandbox::Isolation;
use serde_json::Value;

use super::backend::Backend;
use super::egress::Egress;
use super::hidden;
use super::{
    Breaker, CACHE_SECONDS_MAX, Cache, Confirmation, DEFINITION_BYTES_MAX, Definition, Fallback,
    Kind, OUTPUT_BYTES_MAX, Quotas, Room, Sla, Tier,
};
use crate::deprecation::Deprecation;
use crate::fields::Fields;
use crate::name::{SECRET_RULE, TEAM_RULE, ToolName, is_secret, is_team};
use crate::problem::Problem;
use crate::schema::Schema;

const DESCRIPTION_CHARACTERS: usize = 1_024;
const NOTE_CHARACTERS: usize = 256;
const ENTRIES: usize = 32;
const TIMEOUT_MS: u64 = 10_000;
const PREMIUM_TIMEOUT_MS: u64 = 30_000;
const ASYNCHRONOUS_TIMEOUT_MS: u64 = 600_000;
const MICRODOLLARS_MAX: u64 = 1_000_000_000_000;
pub(super) const OUTPUT_BYTES: u64 = 256 << 10;

const FIELDS: [&str; 25] = [
    "name",
    "description",
    "input",
    "output",
    "owner",
    "kind",
    "sla",
    "cost_microdollars",
    "timeout_ms",
    "premium",
    "asynchronous",
    "cache",
    "idempotent",
    "confirmation",
    "dry_run",
    "output_bytes_max",
    "egress",
    "secrets",
    "isolation",
    "limits",
    "redact",
    "fallback",
    "breaker",
    "quotas",
    "deprecation",
];

impl Definition {
    /// Reads what an owner wrote.
    ///
    /// # Errors
    /// The first field that is missing, unknown or wrong, by its path.
    pub fn read(value: &Value) -> Result<Definition, Problem> {
        let known: Vec<&str> = FIELDS.into_iter().chain(["backend"]).collect();
        let fields = Fields::of("", value, &known)?;
        let name = fields.text("name", 64)?;
        let name =
            ToolName::new(fields.needed("name", "the tool's name, as in web-search", name)?)?;
        let description = fields.text("description", DESCRIPTION_CHARACTERS)?;
        let description =
            fields.needed("description", "what the tool does, for models", description)?;
        let input = fields.needed("input", "a JSON schema of an object", fields.get("input"))?;
        let owner = fields.named("owner", TEAM_RULE, is_team)?;
        let kind = fields.word("kind", &Kind::ALL.map(|kind| (kind.word(), kind)))?;
        let backend = fields.needed("backend", "what runs the tool", fields.get("backend"))?;
        let kind = fields.needed("kind", "read_only, stateful or code", kind)?;
        let mut secrets = fields.list("secrets", ENTRIES, read_secret)?;
        secrets.sort_unstable();
        secrets.dedup();
        let definition = Definition {
            name,
            description,
            input: Schema::of_object("input", input)?,
            output: fields.get("output").map(|it| Schema::compile("output", it)).transpose()?,
            owner: fields.needed("owner", "the name of the team that owns the tool", owner)?,
            kind,
            sla: read_sla(&fields)?,
            cost_microdollars: fields.whole("cost_microdollars", 0, MICRODOLLARS_MAX)?.unwrap_or(0),
            timeout_ms: read_timeout(&fields)?,
            premium: fields.truth("premium", false)?,
            asynchronous: fields.truth("asynchronous", false)?,
            cache: read_cache(&fields)?,
            idempotent: fields.truth("idempotent", kind == Kind::ReadOnly)?,
            confirmation: read_confirmation(&fields)?,
            dry_run: fields.truth("dry_run", false)?,
            output_bytes_max: fields
                .whole("output_bytes_max", 1, OUTPUT_BYTES_MAX)?
                .unwrap_or(OUTPUT_BYTES),
            egress: fields.list("egress", ENTRIES, Egress::read)?,
            secrets,
            room: read_room(&fields, kind)?,
            redact: fields.truth("redact", false)?,
            fallback: read_fallback(&fields)?,
            breaker: read_breaker(&fields)?,
            quotas: read_quotas(&fields)?,
            deprecation: fields
                .get("deprecation")
                .map(|value| Deprecation::read("deprecation", value))
                .transpose()?,
            backend: Backend::read("backend", backend)?,
        };
        definition.check()?;
        hidden::check("description", value.get("description"))?;
        hidden::check("input", value.get("input"))?;
        hidden::check("output", value.get("output"))?;
        Ok(definition)
    }

    /// What fields must be together.
    fn check(&self) -> Result<(), Problem> {
        let bytes = self.canonical().len();
        if bytes > DEFINITION_BYTES_MAX {
            let problem =
                format!("has {bytes} bytes as JSON; at most {DEFINITION_BYTES_MAX} are allowed");
            return Err(Problem::new("document", problem));
        }
        if self.kind != Kind::ReadOnly && self.cache.is_some() {
            return Err(Problem::new("cache", "is for tools of the kind read_only; leave it out"));
        }
        if self.kind != Kind::ReadOnly && self.fallback.is_some() {
            let problem = "is for tools of the kind read_only; leave it out";
            return Err(Problem::new("fallback", problem));
        }
        match (self.kind == Kind::Code, self.backend.is_code()) {
            (true, false) => {
                let problem = "runs no code; choose code or run_python, or another kind";
                return Err(Problem::new("backend", problem));
            }
            (false, true) => {
                return Err(Problem::new("kind", "must be code, for the backend runs code"));
            }
            _ => {}
        }
        self.check_placeholders()
    }

    /// Each argument in the URL's path is one that every call has.
    fn check_placeholders(&self) -> Result<(), Problem> {
        let Backend::Http { url, arguments, .. } = &self.backend else {
            return Ok(());
        };
        let names = arguments.in_path(url);
        let names = names.map_err(|why| Problem::new("backend.http.url", why))?;
        let required = self.input.source().get("required").and_then(Value::as_array);
        let is_required = |name: &str| {
            required.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(name)))
        };
        match names.into_iter().find(|(_, argument)| !is_required(argument)) {
            None => Ok(()),
            Some((name, argument)) => {
                let it = if argument == name { "it" } else { argument };
                let problem =
                    format!("has {{{name}}} in its path; name {it} in input.required as well");
                Err(Problem::new("backend.http.url", problem))
            }
        }
    }
}

fn read_secret(path: &str, value: &Value) -> Result<String, Problem> {
    let name = value.as_str().filter(|name| is_secret(name));
    name.map(str::to_owned)
        .ok_or_else(|| Problem::new(path, format!("must be a secret's name: {SECRET_RULE}")))
}

fn read_sla(fields: &Fields<'_>) -> Result<Sla, Problem> {
    let Some(value) = fields.get("sla") else { return Ok(Sla::default()) };
    let fields = Fields::of("sla", value, &["p95_ms", "note"])?;
    let p95_ms = fields.whole("p95_ms", 1, ASYNCHRONOUS_TIMEOUT_MS)?;
    Ok(Sla { p95_ms, note: fields.text("note", NOTE_CHARACTERS)? })
}

fn read_timeout(fields: &Fields<'_>) -> Result<u64, Problem> {
    let (premium, asynchronous) =
        (fields.truth("premium", false)?, fields.truth("asynchronous", false)?);
    let (most, more) = match (asynchronous, premium) {
        (true, _) => (ASYNCHRONOUS_TIMEOUT_MS, ""),
        (false, true) => (PREMIUM_TIMEOUT_MS, ", or up to 600000 with asynchronous"),
        (false, false) => {
            (TIMEOUT_MS, ", or up to 30000 with premium, or up to 600000 with asynchronous")
        }
    };
    fields
        .whole("timeout_ms", 1, most)
        .map(|given| given.unwrap_or(TIMEOUT_MS))
        .map_err(|wrong| Problem::new(wrong.field, wrong.problem + more))
}

fn read_cache(fields: &Fields<'_>) -> Result<Option<Cache>, Problem> {
    let Some(value) = fields.get("cache") else { return Ok(None) };
    let fields = Fields::of("cache", value, &["ttl_seconds"])?;
    let ttl_seconds = fields.whole("ttl_seconds", 1, CACHE_SECONDS_MAX)?;
    let ttl_seconds = fields.needed("ttl_seconds", "how long answers are kept", ttl_seconds)?;
    Ok(Some(Cache { ttl_seconds }))
}

fn read_fallback(fields: &Fields<'_>) -> Result<Option<Fallback>, Problem> {
    let Some(value) = fields.get("fallback") else { return Ok(None) };
    let fields = Fields::of("fallback", value, &["cached_for_seconds"])?;
    let seconds = fields.whole("cached_for_seconds", 1, CACHE_SECONDS_MAX)?;
    let what = "how old an answer may be that stands in";
    let cached_for_seconds = fields.needed("cached_for_seconds", what, seconds)?;
    Ok(Some(Fallback { cached_for_seconds }))
}

fn read_confirmation(fields: &Fields<'_>) -> Result<Confirmation, Problem> {
    let rule = "must be never, always, or {\"when\": a JSON schema that arguments fit}";
    match fields.get("confirmation") {
        None => Ok(Confirmation::Never),
        Some(Value::String(word)) if word == "never" => Ok(Confirmation::Never),
        Some(Value::String(word)) if word == "always" => Ok(Confirmation::Always),
        Some(value @ Value::Object(_)) => {
            let fields = Fields::of("confirmation", value, &["when"])?;
            let when = fields.needed("when", "a JSON schema", fields.get("when"))?;
            Schema::compile("confirmation.when", when).map(Confirmation::When)
        }
        Some(_) => Err(Problem::new("confirmation", rule)),
    }
}

fn read_room(fields: &Fields<'_>, kind: Kind) -> Result<Option<Room>, Problem> {
    if kind != Kind::Code {
        let set = ["isolation", "limits"].into_iter().find(|name| fields.get(name).is_some());
        return match set {
            None => Ok(None),
            Some(name) => Err(fields.problem(name, "is for tools of the kind code; leave it out")),
        };
    }
    let isolation = Isolation::ALL.map(|class| (class.word(), class));
    let isolation = fields.word("isolation", &isolation)?.unwrap_or(Isolation::UserKernel);
    let tier = fields.word("limits", &Tier::ALL.map(|tier| (tier.word(), tier)))?;
    Ok(Some(Room { isolation, tier: tier.unwrap_or(Tier::Small) }))
}

fn read_breaker(fields: &Fields<'_>) -> Result<Breaker, Problem> {
    let default = Breaker::default();
    let Some(value) = fields.get("breaker") else { return Ok(default) };
    let fields = Fields::of("breaker", value, &["failures", "open_ms"])?;
    let failures = fields.whole("failures", 1, 1_000)?;
    let failures = failures.and_then(|failures| u32::try_from(failures).ok());
    Ok(Breaker {
        failures: failures.unwrap_or(default.failures),
        open_ms: fields.whole("open_ms", 100, 3_600_000)?.unwrap_or(default.open_ms),
    })
}

fn read_quotas(fields: &Fields<'_>) -> Result<Quotas, Problem> {
    let Some(value) = fields.get("quotas") else { return Ok(Quotas::default()) };
    let fields = Fields::of("quotas", value, &["calls_per_minute", "microdollars_per_day"])?;
    Ok(Quotas {
        calls_per_minute: fields.whole("calls_per_minute", 1, 1_000_000)?,
        microdollars_per_day: fields.whole("microdollars_per_day", 1, MICRODOLLARS_MAX)?,
    })
}
