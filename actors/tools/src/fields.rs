//! Reads an object's fields; every error names the field by its path and says what is allowed.

use serde_json::{Map, Value};

use crate::problem::{Problem, short};

/// An object whose fields are all known.
pub(crate) struct Fields<'v> {
    path: String,
    map: &'v Map<String, Value>,
}

impl<'v> Fields<'v> {
    /// # Errors
    /// When it is no object, or has a field beside the known ones.
    pub(crate) fn of(path: &str, value: &'v Value, known: &[&str]) -> Result<Fields<'v>, Problem> {
        let Some(map) = value.as_object() else {
            let path = if path.is_empty() { "document" } else { path };
            let problem = format!("must be an object with {}", known.join(", "));
            return Err(Problem::new(path, problem));
        };
        let fields = Fields { path: path.to_owned(), map };
        match map.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(fields),
            Some(unknown) => {
                let problem = format!("is not known here; allowed are {}", known.join(", "));
                Err(Problem::new(fields.path(&short(unknown)), problem))
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        match self.path.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.path),
        }
    }

    /// A null is what a client without a value sends.
    pub(crate) fn get(&self, name: &str) -> Option<&'v Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn problem(&self, name: &str, problem: impl Into<String>) -> Problem {
        Problem::new(self.path(name), problem)
    }

    /// # Errors
    /// When the field is missing; `what` says what it should be.
    pub(crate) fn needed<T>(&self, name: &str, what: &str, found: Option<T>) -> Result<T, Problem> {
        found.ok_or_else(|| self.problem(name, format!("is missing; give {what}")))
    }

    /// A text of 1 to `most` characters.
    pub(crate) fn text(&self, name: &str, most: usize) -> Result<Option<String>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong = || self.problem(name, format!("must be a text of 1 to {most} characters"));
        let text = value.as_str().ok_or_else(wrong)?;
        match text.is_empty() || text.chars().count() > most {
            true => Err(wrong()),
            false => Ok(Some(text.to_owned())),
        }
    }

    /// A text that keeps a rule.
    pub(crate) fn named(
        &self,
        name: &str,
        rule: &str,
        keeps: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_str().filter(|text| keeps(text)) {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(self.problem(name, format!("must be {rule}"))),
        }
    }

    pub(crate) fn whole(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                Err(self.problem(name, format!("must be a whole number from {least} to {most}")))
            }
        }
    }

    pub(crate) fn truth(&self, name: &str, default: bool) -> Result<bool, Problem> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(_) => Err(self.problem(name, "must be true or false")),
        }
    }

    /// One of the words, and what it stands for.
    pub(crate) fn word<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
        match found {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                Err(self.problem(name, format!("must be one of {}", words.join(", "))))
            }
        }
    }

    /// Up to `most` entries; `read` gets each with its path.
    pub(crate) fn list<T>(
        &self,
        name: &str,
        most: usize,
        read: impl Fn(&str, &'v Value) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let entries = value.as_array().filter(|entries| entries.len() <= most);
        let entries = entries.ok_or_else(|| {
            self.problem(name, format!("must be a list of at most {most} entries"))
        })?;
        let path = self.path(name);
        let entries = entries.iter().enumerate();
        entries.map(|(place, entry)| read(&format!("{path}[{place}]"), entry)).collect()
    }

    /// What another reader makes of the field; its problem's field becomes this one's path.
    pub(crate) fn parsed<T: std::str::FromStr<Err = Problem>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.problem(name, "must be a text"))?;
        text.parse().map(Some).map_err(|wrong: Problem| self.problem(name, wrong.problem))
    }
}
