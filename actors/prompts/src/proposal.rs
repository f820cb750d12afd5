//! Answers of production that somebody flagged, as cases that an editor may take into the golden
//! set. A flag alone changes no gate, however many there are.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::document::{MessageTemplate, hex};
use crate::golden::Case;
use crate::judge::Judge;
use crate::problem::Problem;

/// Most cases of one prompt that wait for an editor.
pub const PROPOSALS: u64 = 200;
/// Bytes of one flag, as JSON.
const FLAG_BYTES: usize = 20_000;
/// Characters of a proposal's name.
const ID_DIGITS: usize = 16;

/// An answer that was not good, as whoever got it tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flag {
    /// What the prompt was rendered with.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
    /// What was said after the prompt's own messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<MessageTemplate>,
    pub answer: String,
    /// What a good answer would have said or done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expected: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Flag {
    /// # Errors
    /// The field that is wrong.
    pub fn check(&self) -> Result<(), Problem> {
        let bytes = serde_json::to_vec(self).map_or(0, |json| json.len());
        if bytes > FLAG_BYTES {
            let problem = format!("has {bytes} bytes as JSON; at most {FLAG_BYTES} are allowed");
            return Err(Problem::new("flag", problem));
        }
        if self.answer.trim().is_empty() {
            return Err(Problem::new("flag.answer", "is missing; give the answer that is flagged"));
        }
        Ok(())
    }

    /// Every text of it, with its field, in an order of its own.
    pub fn texts(&self) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        let mut copy = self.clone();
        copy.each_text(&mut |field, text| texts.push((field.to_owned(), text.clone())));
        texts
    }

    /// The flag with other texts, in the order of [`Flag::texts`].
    #[must_use]
    pub fn with_texts(mut self, texts: Vec<String>) -> Flag {
        let mut texts = texts.into_iter();
        self.each_text(&mut |_, text| {
            if let Some(other) = texts.next() {
                *text = other;
            }
        });
        self
    }

    fn each_text(&mut self, act: &mut dyn FnMut(&str, &mut String)) {
        act("flag.answer", &mut self.answer);
        act("flag.expected", &mut self.expected);
        act("flag.reason", &mut self.reason);
        for message in &mut self.messages {
            act("flag.messages", &mut message.content);
        }
        for value in self.variables.values_mut() {
            each_text_of(value, act);
        }
    }

    /// Names it by what was asked and expected: the same again is the same proposal.
    pub fn id(&self) -> String {
        let asked = (&self.variables, &self.messages, &self.expected);
        let json = serde_json::to_value(asked).unwrap_or_default().to_string();
        hex(&Sha256::digest(json.as_bytes())).chars().take(ID_DIGITS).collect()
    }
}

fn each_text_of(value: &mut Value, act: &mut dyn FnMut(&str, &mut String)) {
    match value {
        Value::String(text) => act("flag.variables", text),
        Value::Array(entries) => entries.iter_mut().for_each(|entry| each_text_of(entry, act)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_text_of(field, act)),
        _ => {}
    }
}

/// A flagged answer that waits for an editor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    pub id: String,
    pub golden_set: String,
    pub flag: Flag,
    /// Who flagged it first.
    pub by: String,
    /// Since 1970.
    pub created_ms: u64,
    /// How often it was flagged.
    pub times: u64,
}

/// How an editor takes a proposal.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acceptance {
    /// `flagged-` and the proposal's id without it.
    pub case: Option<String>,
    /// That of the set without it, when all its cases have the same.
    pub judge: Option<Judge>,
    /// In the place of what was flagged.
    pub expected: Option<String>,
    pub rubric: String,
}

impl Proposal {
    /// The case that it becomes.
    ///
    /// # Errors
    /// The field that is missing.
    pub fn case(&self, taken: Acceptance, set: &[Case]) -> Result<Case, Problem> {
        let Acceptance { case, judge, expected, rubric } = taken;
        let common = || {
            let first = set.first().map(|case| case.judge.clone());
            first.filter(|judge| set.iter().all(|case| case.judge == *judge))
        };
        let judge = judge.or_else(common).ok_or_else(|| {
            let problem = "is missing; the set has no judge that is all its cases', so say which";
            Problem::new("judge", problem)
        })?;
        let Flag { variables, messages, expected: flagged, .. } = self.flag.clone();
        Ok(Case {
            id: case.unwrap_or_else(|| self.case_id()),
            variables,
            messages,
            expected: expected.unwrap_or(flagged),
            judge,
            rubric,
            weight: 1.0,
        })
    }

    /// What the case is called unless its editor says otherwise.
    pub fn case_id(&self) -> String {
        format!("flagged-{}", self.id)
    }
}
