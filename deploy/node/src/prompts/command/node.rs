//! Questions about prompts to a running node, and its refusals in words.

use clap::Args;
use serde_json::{Value, json};

use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::operator::{NoAnswer, OperatorFlags, send};

const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;
/// Refusals of what was sent: a wrong field, a partial that is not there, a secret.
const BODY: [u16; 3] = [400, NOT_FOUND, 422];
/// Refusals that say nothing about the question itself.
const BUSY: [u16; 4] = [429, 502, 503, 504];

#[derive(Debug, Args)]
pub(crate) struct NodeFlags {
    /// Another team's prompts, for operators; those of the token's team without it.
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    #[command(flatten)]
    operator: OperatorFlags,
}

/// Why a question got no good answer.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Of HTTP; 0 when there was no answer.
    status: u16,
    /// OpenAI's shape; null when there was no answer.
    error: Value,
    failure: Failure,
    may_be_asked_again: bool,
}

impl Refusal {
    pub(super) fn is_conflict(&self) -> bool {
        self.status == CONFLICT
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.status == NOT_FOUND
    }

    /// Whether it is what was sent that the node does not take.
    pub(super) fn is_of_the_body(&self) -> bool {
        BODY.contains(&self.status)
    }

    /// Whether the same question may be answered a little later.
    pub(super) fn is_passing(&self) -> bool {
        self.may_be_asked_again
    }

    /// What the scan for secrets found.
    pub(super) fn findings(&self) -> &[Value] {
        list(&self.error["findings"])
    }

    /// The field at fault.
    pub(super) fn field(&self) -> Option<&str> {
        self.error["param"].as_str()
    }

    /// The node's message, with the field.
    pub(super) fn message(&self) -> String {
        let Some(message) = self.error["message"].as_str() else {
            return self.failure.message.clone();
        };
        match self.field() {
            Some(field) if !message.contains(field) => format!("{field}: {message}"),
            _ => message.to_owned(),
        }
    }
}

impl From<NoAnswer> for Refusal {
    fn from(no_answer: NoAnswer) -> Refusal {
        match no_answer {
            NoAnswer::Refused { status, failure, mut answer, .. } => Refusal {
                status,
                error: answer.get_mut("error").map(Value::take).unwrap_or_default(),
                failure,
                may_be_asked_again: BUSY.contains(&status),
            },
            NoAnswer::Broken(failure) => {
                Refusal { status: 0, error: Value::Null, failure, may_be_asked_again: true }
            }
            NoAnswer::NotAsked(failure) => {
                Refusal { status: 0, error: Value::Null, failure, may_be_asked_again: false }
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let kind = match refusal.status {
            CONFLICT => FailureKind::Conflict,
            status if BUSY.contains(&status) => FailureKind::Unavailable,
            _ => refusal.failure.kind,
        };
        Failure::new(kind, refusal.message())
    }
}

/// The node that is asked, for one team.
pub(super) struct Node<'a> {
    flags: &'a NodeFlags,
    settings: &'a Settings,
}

impl<'a> Node<'a> {
    /// # Errors
    /// When the team's name would ask for something else.
    pub(super) fn new(flags: &'a NodeFlags, settings: &'a Settings) -> Result<Node<'a>, Failure> {
        let is_plain = |one: char| one.is_ascii_alphanumeric() || "-._~@:".contains(one);
        match &flags.team {
            Some(team) if team.is_empty() || !team.chars().all(is_plain) => {
                let text = format!("'{team}' is no team's name; give --team as tokens carry it");
                Err(Failure::settings(text))
            }
            _ => Ok(Node { flags, settings }),
        }
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Refusal> {
        self.ask("GET", path, Vec::new())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        self.ask("POST", path, body.to_string().into_bytes())
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        self.ask("PUT", path, body.to_string().into_bytes())
    }

    fn ask(&self, method: &str, path: &str, body: Vec<u8>) -> Result<Value, Refusal> {
        let path = match &self.flags.team {
            Some(team) if path.contains('?') => format!("{path}&team={team}"),
            Some(team) => format!("{path}?team={team}"),
            None => path.to_owned(),
        };
        let (flags, settings) = (&self.flags.operator, self.settings);
        Ok(send(flags, settings, method, &path, "application/json", body)?)
    }

    /// All prompts of the team, as the list has them.
    pub(super) fn heads(&self) -> Result<Vec<Value>, Failure> {
        let (mut heads, mut path) = (Vec::new(), "/v1/prompts".to_owned());
        loop {
            let page = self.get(&path)?;
            heads.extend_from_slice(list(&page["data"]));
            match page["next_after"].as_str() {
                Some(next) => path = format!("/v1/prompts?after={}", checked_name(next)?),
                None => return Ok(heads),
            }
        }
    }

    /// One version, with its document.
    pub(super) fn version(&self, name: &str, number: u64) -> Result<Value, Refusal> {
        self.get(&format!("/v1/prompts/{name}/versions/{number}"))
    }

    /// What the node says of a document that nobody has committed.
    pub(super) fn check(&self, name: &str, document: &Value) -> Result<Value, Refusal> {
        self.post(&format!("/v1/prompts/{name}/check"), &json!({ "document": document }))
    }
}

/// A JSON list's entries; none when it is no list.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A name that means the same in an address and as a folder's name, whoever gave it.
///
/// # Errors
/// Kind `Settings`, when it is no name of a prompt or a golden set.
pub(super) fn checked_name(name: &str) -> Result<&str, Failure> {
    let begins_well =
        name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    let may_hold =
        |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || ".-_".contains(one);
    match begins_well && name.len() <= 64 && name.chars().all(may_hold) {
        true => Ok(name),
        false => Err(Failure::settings(format!(
            "'{name}' is no name: it has 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a \
             letter or a digit"
        ))),
    }
}
