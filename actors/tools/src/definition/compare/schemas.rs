//! Whether what fitted one schema fits another.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Difference, Severity};

/// Words that say nothing about what fits.
const REMARKS: [&str; 9] = [
    "$comment",
    "$id",
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "title",
    "readOnly",
];
/// They are compared by a rule of their own.
const COMPARED: [&str; 6] =
    ["type", "enum", "required", "properties", "additionalProperties", "items"];
/// Bounds that are tighter when they are greater, and those that are so when they are less.
const LEASTS: [&str; 5] = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
const MOSTS: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];

/// What a schema is of. An input must take all that it took; an output must give nothing that it
/// did not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Input,
    Output,
}

pub(super) fn differences(side: Side, old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    let path = if side == Side::Input { "input" } else { "output" };
    Comparison { side, found: &mut found }.schemas(path, old, new);
    found
}

struct Comparison<'f> {
    side: Side,
    found: &'f mut Vec<Difference>,
}

impl Comparison<'_> {
    fn note(&mut self, path: &str, what: impl Into<String>, severity: Severity) {
        self.found.push(Difference::new(path, what, severity));
    }

    /// A narrower input breaks callers, and so does a wider output.
    fn changed(&mut self, path: &str, what: impl Into<String>, narrows: bool) {
        let severity = match (self.side, narrows) {
            (Side::Input, true) | (Side::Output, false) => Severity::Breaking,
            _ => Severity::Compatible,
        };
        self.note(path, what, severity);
    }

    fn schemas(&mut self, path: &str, old: &Value, new: &Value) {
        if old == new {
            return;
        }
        let (Value::Object(old), Value::Object(new)) = (old, new) else {
            let takes_all = |schema: &Value| match schema {
                Value::Bool(all) => *all,
                Value::Object(words) => words.keys().all(|w| REMARKS.contains(&w.as_str())),
                _ => false,
            };
            return match (takes_all(old), takes_all(new)) {
                (true, true) => {}
                (true, false) => self.changed(path, "takes less than anything now", true),
                (false, true) => self.changed(path, "takes anything now", false),
                (false, false) => self.note(path, "is written anew", Severity::Unclear),
            };
        };
        self.sets(path, old, new);
        self.properties(path, old, new);
        self.required(path, old, new);
        match (old.get("items"), new.get("items")) {
            (Some(old), Some(new)) => self.schemas(&format!("{path}.items"), old, new),
            (None, Some(_)) => self.changed(path, "says what its entries must be now", true),
            (Some(_), None) => self.changed(path, "takes any entries now", false),
            (None, None) => {}
        }
        self.bounds(path, old, new);
        self.rest(path, old, new);
    }

    /// Types and lists of values.
    fn sets(&mut self, path: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        for (word, what) in [("type", types as fn(&Value) -> BTreeSet<String>), ("enum", texts)] {
            let (before, after) = (old.get(word).map(what), new.get(word).map(what));
            let lost = match (&before, &after) {
                (Some(before), Some(after)) => before.difference(after).count() > 0,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            let won = match (&before, &after) {
                (Some(before), Some(after)) => after.difference(before).count() > 0,
                (Some(_), None) => true,
                (None, _) => false,
            };
            let what = |set: &Option<BTreeSet<String>>| match set {
                None => "anything".to_owned(),
                Some(set) => crate::problem::short(
                    &set.iter().map(String::as_str).collect::<Vec<_>>().join(" or "),
                ),
            };
            let text = format!("{word} was {} and is {} now", what(&before), what(&after));
            if lost && won {
                self.note(path, text, Severity::Breaking);
            } else if lost || won {
                self.changed(path, text, lost);
            }
        }
    }

    fn properties(&mut self, path: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let (before, after) = (map(old, "properties"), map(new, "properties"));
        let (was_closed, is_closed) = (is_closed(old), is_closed(new));
        for (name, schema) in before {
            let path = format!("{path}.properties.{name}");
            match after.iter().find(|(other, _)| *other == name) {
                Some((_, other)) => self.schemas(&path, schema, other),
                // Where it may still be given or come, it has no meaning any more.
                None => self.note(&path, "is gone", Severity::Breaking),
            }
        }
        for (name, _) in after.iter().filter(|(name, _)| old_lacks(old, name)) {
            let path = format!("{path}.properties.{name}");
            match self.side {
                // An open object could already have held another thing under this name.
                Side::Input if !was_closed => {
                    self.note(&path, "is new, where anything could be given", Severity::Compatible);
                }
                Side::Output if was_closed => {
                    self.note(&path, "is new, where nothing else could come", Severity::Breaking);
                }
                _ => self.note(&path, "is new", Severity::Compatible),
            }
        }
        let (old_rest, new_rest) =
            (old.get("additionalProperties"), new.get("additionalProperties"));
        if was_closed != is_closed {
            let what = if is_closed {
                "takes no other properties now"
            } else {
                "takes other properties now"
            };
            self.changed(path, what, is_closed);
        } else if let (Some(old), Some(new)) = (old_rest, new_rest) {
            self.schemas(&format!("{path}.additionalProperties"), old, new);
        } else if old_rest != new_rest {
            let (all, path) = (Value::Bool(true), format!("{path}.additionalProperties"));
            self.schemas(&path, old_rest.unwrap_or(&all), new_rest.unwrap_or(&all));
        }
    }

    fn required(&mut self, path: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let names = |schema: &Map<String, Value>| -> BTreeSet<String> {
            let list = schema.get("required").and_then(Value::as_array);
            list.into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect()
        };
        let (before, after) = (names(old), names(new));
        for name in after.difference(&before) {
            self.changed(&format!("{path}.properties.{name}"), "is required now", true);
        }
        for name in before.difference(&after) {
            self.changed(&format!("{path}.properties.{name}"), "is no longer required", false);
        }
    }

    fn bounds(&mut self, path: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let leasts = LEASTS.into_iter().map(|word| (word, 1.0));
        for (word, sign) in leasts.chain(MOSTS.into_iter().map(|word| (word, -1.0))) {
            let bound = |schema: &Map<String, Value>| {
                let number = schema.get(word).and_then(Value::as_f64);
                number.map_or(f64::NEG_INFINITY, |number| number * sign)
            };
            let (before, after) = (bound(old), bound(new));
            if after > before {
                self.changed(path, format!("{word} is tighter now"), true);
            } else if after < before {
                self.changed(path, format!("{word} is wider now"), false);
            }
        }
    }

    /// Words that say what fits in ways that are not compared.
    fn rest(&mut self, path: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let words: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for word in words {
            let is_other = [&REMARKS[..], &COMPARED, &LEASTS, &MOSTS]
                .iter()
                .all(|known| !known.contains(&word.as_str()));
            if !is_other || old.get(word) == new.get(word) {
                continue;
            }
            let what = format!("{} has changed", crate::problem::short(word));
            match (old.get(word), new.get(word), word.as_str()) {
                (None, Some(_), "pattern" | "format" | "const" | "not") => {
                    self.changed(path, format!("{word} is asked for now"), true);
                }
                (Some(_), None, "pattern" | "format" | "const" | "not") => {
                    self.changed(path, format!("{word} is no longer asked for"), false);
                }
                _ => self.note(path, what, Severity::Unclear),
            }
        }
    }
}

fn map<'m>(schema: &'m Map<String, Value>, word: &str) -> Vec<(&'m str, &'m Value)> {
    let map = schema.get(word).and_then(Value::as_object);
    map.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect()
}

fn old_lacks(old: &Map<String, Value>, name: &str) -> bool {
    let properties = old.get("properties").and_then(Value::as_object);
    !properties.is_some_and(|properties| properties.contains_key(name))
}

fn is_closed(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
}

/// A number takes whole ones as well.
fn types(value: &Value) -> BTreeSet<String> {
    let mut types = match value {
        Value::String(one) => BTreeSet::from([one.clone()]),
        other => texts(other).into_iter().map(|text| text.trim_matches('"').to_owned()).collect(),
    };
    if types.contains("number") {
        types.insert("integer".to_owned());
    }
    types
}

fn texts(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(Value::to_string).collect()
}
