//! Who may call a tool. A team may call its own tools; others need a grant, and what denies wins.

use serde_json::{Map, Value};

use crate::date::Date;
use crate::definition::Definition;
use crate::fields::Fields;
use crate::glob;
use crate::name::{TEAM_RULE, ToolVersion, is_team};
use crate::problem::{Problem, short};
use crate::schema::{Misfits, Schema};

const ID_BYTES: usize = 64;
const PATTERN_BYTES: usize = 128;
const PATTERN_RULE: &str = "1 to 128 of letters, digits, '.', '_', '-', '@', ':' and '/', where * \
                            stands for any characters";
const ID_RULE: &str = "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit";

/// What a grant does when it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// From the least to the most, both among them; without a number there is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Versions {
    pub least: Option<ToolVersion>,
    pub most: Option<ToolVersion>,
}

impl Versions {
    pub fn hold(self, version: ToolVersion) -> bool {
        self.least.is_none_or(|least| least <= version)
            && self.most.is_none_or(|most| version <= most)
    }
}

/// A rule of who may call what.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    pub id: String,
    pub effect: Effect,
    /// The team that calls, or `*` for every one.
    pub team: String,
    /// A pattern of the agent's name; `*` stands for any characters.
    pub agent: String,
    /// A pattern of the tool's name.
    pub tool: String,
    pub versions: Versions,
    /// What arguments must fit beside the tool's input, or what they fit that is denied.
    pub arguments: Option<Schema>,
    /// A person is asked although the tool itself does not ask.
    pub confirm: bool,
    /// The last day of the grant.
    pub expires: Option<Date>,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'c> {
    pub team: &'c str,
    pub agent: &'c str,
}

/// Why a call is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The grant that allows it; none where the team owns the tool.
    pub grant: Option<String>,
    /// The first grant that fits and wants a person asked. The stricter one wins, as with denials.
    pub confirm: Option<String>,
}

/// What kind of obstacle it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// A grant that denies fits.
    Rule,
    /// No grant is for this team and tool.
    None,
    Agent,
    Version,
    Expired,
    Arguments,
}

/// Why a call is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Denied {
    pub denial: Denial,
    /// The grant that denies, or the one that fits nearly.
    pub grant: Option<String>,
    /// For the caller: what does not fit and whom to ask.
    pub reason: String,
}

/// Whether a call is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allowed(Allowed),
    Denied(Denied),
}

impl Grant {
    /// Reads what an administrator wrote.
    ///
    /// # Errors
    /// The first field that is missing, unknown or wrong, by its path.
    pub fn read(value: &Value) -> Result<Grant, Problem> {
        let known = [
            "id",
            "effect",
            "team",
            "agent",
            "tool",
            "versions",
            "arguments",
            "confirm",
            "expires",
        ];
        let fields = Fields::of("", value, &known)?;
        let is_id = |id: &str| id.len() <= ID_BYTES && is_team(id);
        let id = fields.needed("id", ID_RULE, fields.named("id", ID_RULE, is_id)?)?;
        let effects = [("allow", Effect::Allow), ("deny", Effect::Deny)];
        let effect = fields.word("effect", &effects)?.unwrap_or(Effect::Allow);
        let rule = format!("a team ({TEAM_RULE}), or * for every team");
        let team = fields.named("team", &rule, |team| team == "*" || is_team(team))?;
        let tool = fields.named("tool", PATTERN_RULE, is_pattern)?;
        let confirm = fields.truth("confirm", false)?;
        if confirm && effect == Effect::Deny {
            return Err(fields.problem("confirm", "is for grants that allow; leave it out"));
        }
        Ok(Grant {
            id,
            effect,
            team: fields.needed("team", &rule, team)?,
            agent: fields
                .named("agent", PATTERN_RULE, is_pattern)?
                .unwrap_or_else(|| "*".to_owned()),
            tool: fields.needed("tool", PATTERN_RULE, tool)?,
            versions: read_versions(&fields)?,
            arguments: fields
                .get("arguments")
                .map(|schema| Schema::compile("arguments", schema))
                .transpose()?,
            confirm,
            expires: fields.parsed("expires")?,
        })
    }

    /// What [`Grant::read`] reads; what is at its default is left out.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            map.extend(value.map(|value| (name.to_owned(), value)));
        };
        set("id", Some(self.id.clone().into()));
        set("effect", (self.effect == Effect::Deny).then(|| "deny".into()));
        set("team", Some(self.team.clone().into()));
        set("agent", (self.agent != "*").then(|| self.agent.clone().into()));
        set("tool", Some(self.tool.clone().into()));
        set("arguments", self.arguments.as_ref().map(|schema| schema.source().clone()));
        set("confirm", self.confirm.then_some(Value::Bool(true)));
        set("expires", self.expires.map(|day| day.to_string().into()));
        if self.versions != Versions::default() {
            let bounds = [("least", self.versions.least), ("most", self.versions.most)];
            let bounds = bounds.into_iter().filter_map(|(name, bound)| {
                bound.map(|bound| (name.to_owned(), Value::from(bound.get())))
            });
            set("versions", Some(bounds.collect()));
        }
        Value::Object(map)
    }

    fn is_of(&self, team: &str) -> bool {
        self.team == "*" || self.team == team
    }

    /// The first thing that does not fit, of those after team and tool.
    fn obstacle(&self, call: &Call<'_>) -> Option<(Denial, String)> {
        let Call { who, version, today, .. } = call;
        if !glob::fits(&self.agent, who.agent) {
            let why = format!("is for agents named '{}', not '{}'", self.agent, short(who.agent));
            return Some((Denial::Agent, why));
        }
        if !self.versions.hold(*version) {
            let why = format!("is for {}, not version {version}", self.versions);
            return Some((Denial::Version, why));
        }
        if let Some(expires) = self.expires.filter(|expires| expires < today) {
            return Some((Denial::Expired, format!("expired on {expires}")));
        }
        self.misfits(call)
            .map(|misfits| (Denial::Arguments, format!("does not allow the arguments: {misfits}")))
    }

    fn misfits(&self, call: &Call<'_>) -> Option<Misfits> {
        let (schema, arguments) = (self.arguments.as_ref()?, call.arguments?);
        schema.check_beside(call.input, arguments).err()
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.least, self.most) {
            (None, None) => out.write_str("every version"),
            (Some(least), None) => write!(out, "version {least} and later"),
            (None, Some(most)) => write!(out, "versions up to {most}"),
            (Some(least), Some(most)) if least == most => write!(out, "version {least}"),
            (Some(least), Some(most)) => write!(out, "versions {least} to {most}"),
        }
    }
}

struct Call<'c> {
    who: Caller<'c>,
    version: ToolVersion,
    /// Of the tool: its secrets are not repeated.
    input: &'c Schema,
    arguments: Option<&'c Value>,
    today: Date,
}

/// Whether a caller may call this version of a tool with these arguments, which fit the tool's
/// input. Without arguments: whether some call could be allowed, for lists and searches.
///
/// Only the caller's own grants, and those of every team, are named in a reason.
pub fn decide(
    grants: &[Grant],
    who: Caller<'_>,
    (definition, version): (&Definition, ToolVersion),
    arguments: Option<&Value>,
    now_ms: u64,
) -> Decision {
    let call =
        Call { who, version, input: &definition.input, arguments, today: Date::of_ms(now_ms) };
    let tool = definition.name.as_str();
    let for_both = |grant: &&Grant| grant.is_of(who.team) && glob::fits(&grant.tool, tool);
    let mine: Vec<&Grant> = grants.iter().filter(for_both).collect();
    let (denying, allowing): (Vec<&Grant>, Vec<&Grant>) =
        mine.into_iter().partition(|grant| grant.effect == Effect::Deny);
    // What is denied for some arguments only is not denied before there are any.
    let denies = |grant: &&&Grant| {
        let could = grant.arguments.is_none() || arguments.is_some();
        could && grant.obstacle(&call).is_none()
    };
    if let Some(rule) = denying.iter().find(denies) {
        let reason = format!(
            "grant {} denies {tool} to team {}; ask team {}, which owns the tool, or an \
             administrator",
            rule.id,
            short(who.team),
            definition.owner
        );
        let grant = Some(rule.id.clone());
        return Decision::Denied(Denied { denial: Denial::Rule, grant, reason });
    }
    let fitting: Vec<&Grant> =
        allowing.iter().copied().filter(|grant| grant.obstacle(&call).is_none()).collect();
    let confirm = fitting.iter().find(|grant| grant.confirm).map(|grant| grant.id.clone());
    if definition.owner == who.team {
        return Decision::Allowed(Allowed { grant: None, confirm });
    }
    match fitting.first() {
        Some(first) => Decision::Allowed(Allowed { grant: Some(first.id.clone()), confirm }),
        None => Decision::Denied(missed(&allowing, &call, definition)),
    }
}

/// Of the grants for this team and tool, the one whose first obstacle comes latest.
fn missed(allowing: &[&Grant], call: &Call<'_>, definition: &Definition) -> Denied {
    let order = |denial: Denial| match denial {
        Denial::Rule | Denial::None => 0,
        Denial::Agent => 1,
        Denial::Version => 2,
        Denial::Expired => 3,
        Denial::Arguments => 4,
    };
    let ask = format!("ask team {}, which owns the tool, for a grant", definition.owner);
    let obstacles =
        allowing.iter().filter_map(|grant| grant.obstacle(call).map(|found| (grant, found)));
    let nearest =
        obstacles.fold(None, |best: Option<(&&Grant, (Denial, String))>, next| match &best {
            Some((_, (denial, _))) if order(*denial) >= order(next.1.0) => best,
            _ => Some(next),
        });
    match nearest {
        None => Denied {
            denial: Denial::None,
            grant: None,
            reason: format!(
                "team {} has no grant for tool {}; {ask}",
                short(call.who.team),
                definition.name
            ),
        },
        Some((grant, (denial, why))) => {
            let reason = match denial {
                Denial::Arguments => format!("grant {} {why}; change them, or {ask}", grant.id),
                _ => format!("grant {} for {} {why}; {ask}", grant.id, definition.name),
            };
            Denied { denial, grant: Some(grant.id.clone()), reason }
        }
    }
}

fn is_pattern(pattern: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-@:/*".contains(&b);
    (1..=PATTERN_BYTES).contains(&pattern.len()) && pattern.bytes().all(good)
}

fn read_versions(fields: &Fields<'_>) -> Result<Versions, Problem> {
    let Some(value) = fields.get("versions") else { return Ok(Versions::default()) };
    let fields = Fields::of("versions", value, &["least", "most"])?;
    let bound = |name: &str| {
        let number = fields.whole(name, 1, u64::from(u32::MAX))?;
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.map(ToolVersion::new).transpose()
    };
    let versions = Versions { least: bound("least")?, most: bound("most")? };
    match (versions.least, versions.most) {
        (Some(least), Some(most)) if most < least => {
            Err(fields.problem("most", format!("is below least; choose {least} or more")))
        }
        _ => Ok(versions),
    }
}
