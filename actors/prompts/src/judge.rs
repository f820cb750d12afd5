//! Judges: what an answer is worth, from 0 to 1. Those that need no model decide here; the others
//! say what must be asked, and read what came back.

use regex::RegexBuilder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::{NAME_RULE, is_prompt_name};
use crate::problem::Problem;

/// Bytes that a judge's pattern may compile to.
const PATTERN_BYTES: usize = 1_000_000;
/// Bytes of a reason that are kept.
const REASON_BYTES: usize = 500;

/// How an answer is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Judge {
    /// The answer is what was expected, but for white space around it.
    Exact {
        #[serde(default)]
        ignore_case: bool,
    },
    /// The answer holds each of these texts; the expected one without any.
    Contains {
        #[serde(default)]
        texts: Vec<String>,
    },
    Regex {
        pattern: String,
    },
    /// The answer is JSON that fits the schema.
    JsonSchema {
        schema: Value,
    },
    /// The answer means what was expected: the cosine of their vectors, by an encoder of this
    /// cluster, is at least this.
    Similarity {
        encoder: String,
        at_least: f64,
    },
    /// A model says what it is worth, asked by a version of a prompt of the same team, which gets
    /// the variables `question`, `answer`, `expected` and `rubric`. Both are pinned: another judge
    /// is another measure.
    Llm {
        model: String,
        prompt: String,
        version: u64,
    },
    /// A model says whether it is better than a baseline version's answer to the same case, asked
    /// once with each of them first: `question`, `first`, `second`, `expected` and `rubric`.
    Pairwise {
        model: String,
        prompt: String,
        version: u64,
    },
}

impl Judge {
    /// # Errors
    /// The field that is wrong, below `field`.
    pub fn check(&self, field: &str) -> Result<(), Problem> {
        match self {
            Judge::Exact { .. } | Judge::Contains { .. } => Ok(()),
            Judge::Regex { pattern } => {
                let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
                built.map(drop).map_err(|error| {
                    Problem::new(format!("{field}.pattern"), format!("is no pattern: {error}"))
                })
            }
            Judge::JsonSchema { schema } => {
                let built = jsonschema::validator_for(schema);
                built.map(drop).map_err(|error| {
                    Problem::new(format!("{field}.schema"), format!("is no JSON schema: {error}"))
                })
            }
            Judge::Similarity { at_least, .. } if !(0.0..=1.0).contains(at_least) => {
                Err(Problem::new(format!("{field}.at_least"), "must be 0 to 1"))
            }
            Judge::Similarity { encoder, .. } if encoder.is_empty() => Err(Problem::new(
                format!("{field}.encoder"),
                "is empty; name an encoder of this cluster",
            )),
            Judge::Similarity { .. } => Ok(()),
            Judge::Llm { prompt, .. } | Judge::Pairwise { prompt, .. }
                if !is_prompt_name(prompt) =>
            {
                Err(Problem::new(format!("{field}.prompt"), format!("must be {NAME_RULE}")))
            }
            Judge::Llm { model, .. } | Judge::Pairwise { model, .. } if model.is_empty() => {
                Err(Problem::new(format!("{field}.model"), "is empty; name a model of the gateway"))
            }
            Judge::Llm { .. } | Judge::Pairwise { .. } => Ok(()),
        }
    }

    /// What records call it: the same name for the same measure.
    pub fn name(&self) -> String {
        match self {
            Judge::Exact { ignore_case: false } => "exact".to_owned(),
            Judge::Exact { ignore_case: true } => "exact, ignoring case".to_owned(),
            Judge::Contains { .. } => "contains".to_owned(),
            Judge::Regex { .. } => "regex".to_owned(),
            Judge::JsonSchema { .. } => "json_schema".to_owned(),
            Judge::Similarity { encoder, at_least } => {
                format!("similarity by {encoder}, at least {at_least}")
            }
            Judge::Llm { model, prompt, version } => {
                format!("llm {model} asked by {prompt}@{version}")
            }
            Judge::Pairwise { model, prompt, version } => {
                format!("pairwise {model} asked by {prompt}@{version}")
            }
        }
    }

    /// Whether it is a measure that many cases share, rather than a rule of one case.
    pub fn measures(&self) -> bool {
        matches!(self, Judge::Similarity { .. } | Judge::Llm { .. } | Judge::Pairwise { .. })
    }

    /// Whether both are of one kind, such as two models that judge.
    pub fn is_kind_of(&self, other: &Judge) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether it compares with an expected answer.
    pub fn needs_expected(&self) -> bool {
        match self {
            Judge::Exact { .. } | Judge::Similarity { .. } => true,
            Judge::Contains { texts } => texts.is_empty(),
            Judge::Regex { .. }
            | Judge::JsonSchema { .. }
            | Judge::Llm { .. }
            | Judge::Pairwise { .. } => false,
        }
    }

    /// Whether it compares with a baseline version's answer.
    pub fn is_pairwise(&self) -> bool {
        matches!(self, Judge::Pairwise { .. })
    }

    /// The model that judges; none for judges that ask none.
    pub fn model(&self) -> Option<&String> {
        match self {
            Judge::Llm { model, .. } | Judge::Pairwise { model, .. } => Some(model),
            _ => None,
        }
    }

    /// The score of an answer; none for judges that a model decides.
    pub fn decide(&self, expected: &str, answer: &str) -> Option<Score> {
        let (is_good, why) = match self {
            Judge::Exact { ignore_case: false } => {
                (answer.trim() == expected.trim(), "differs from what was expected")
            }
            Judge::Exact { ignore_case: true } => {
                let same = answer.trim().to_lowercase() == expected.trim().to_lowercase();
                (same, "differs from what was expected")
            }
            Judge::Contains { texts } => {
                let own = [expected.to_owned()];
                let texts: &[String] = if texts.is_empty() { &own } else { texts };
                return Some(match texts.iter().find(|text| !answer.contains(text.as_str())) {
                    None => Score::full(),
                    Some(text) => Score::none(format!("does not hold '{text}'")),
                });
            }
            Judge::Regex { pattern } => {
                let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
                (built.is_ok_and(|pattern| pattern.is_match(answer)), "does not match the pattern")
            }
            Judge::JsonSchema { schema } => return Some(fits(schema, answer)),
            Judge::Similarity { .. } | Judge::Llm { .. } | Judge::Pairwise { .. } => return None,
        };
        Some(if is_good { Score::full() } else { Score::none(why.to_owned()) })
    }
}

fn fits(schema: &Value, answer: &str) -> Score {
    let json = match serde_json::from_str::<Value>(without_fence(answer)) {
        Ok(json) => json,
        Err(error) => return Score::none(format!("is no JSON: {error}")),
    };
    match jsonschema::validator_for(schema) {
        Ok(validator) => match validator.iter_errors(&json).next() {
            None => Score::full(),
            Some(error) => Score::none(format!(
                "does not fit the schema at '{}': {error}",
                error.instance_path()
            )),
        },
        Err(error) => Score::none(format!("the schema is none: {error}")),
    }
}

/// Models like to put JSON into a fence of Markdown.
pub(crate) fn without_fence(answer: &str) -> &str {
    let answer = answer.trim();
    let inner = answer.strip_prefix("```").and_then(|inner| inner.strip_suffix("```"));
    inner.map_or(answer, |inner| inner.strip_prefix("json").unwrap_or(inner).trim())
}

/// What an answer is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// 0 to 1.
    pub value: f64,
    /// Empty when there is nothing to say.
    pub reason: String,
}

impl Score {
    pub fn full() -> Score {
        Score { value: 1.0, reason: String::new() }
    }

    pub fn none(reason: String) -> Score {
        let mut reason = reason;
        reason.truncate(reason.floor_char_boundary(REASON_BYTES));
        Score { value: 0.0, reason }
    }

    /// Of the cosine of two vectors.
    pub fn of_similarity(cosine: f64, at_least: f64) -> Score {
        match cosine >= at_least {
            true => Score::full(),
            false => Score::none(format!("is {cosine:.3} alike, less than {at_least:.3}")),
        }
    }

    /// Of a model that judged: JSON with `score`, 0 to 1, and `reason`.
    ///
    /// # Errors
    /// When it said something else; it is asked again then.
    pub fn read(said: &str) -> Result<Score, Problem> {
        #[derive(Deserialize)]
        struct Said {
            score: f64,
            #[serde(default)]
            reason: String,
        }
        let wrong = |problem: String| Problem::new("judge", problem);
        let said: Said = serde_json::from_str(without_fence(said))
            .map_err(|error| wrong(format!("did not say JSON with score and reason: {error}")))?;
        if !(0.0..=1.0).contains(&said.score) {
            return Err(wrong(format!("gave {}, which is not 0 to 1", said.score)));
        }
        Ok(Score { value: said.score, ..Score::none(said.reason) })
    }
}
