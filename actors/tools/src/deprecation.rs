//! What a caller of a version that is going away is told.

use serde_json::{Map, Value};

use crate::date::Date;
use crate::fields::Fields;
use crate::name::ToolReference;
use crate::problem::Problem;

const NOTE_CHARACTERS: usize = 256;

/// A version is on its way out: it serves through the day `ends`, and is refused from the next on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deprecation {
    /// From this day on callers are warned.
    pub since: Date,
    /// The last day of service.
    pub ends: Date,
    pub replacement: Option<ToolReference>,
    pub note: Option<String>,
}

/// What a caller of a deprecated version gets beside the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Days until the last one of service; 0 on that day.
    pub days_left: u32,
    /// For people: what ends, when, and what to use instead.
    pub text: String,
    /// The value of the header `Deprecation` (RFC 9745).
    pub deprecation_header: String,
    /// The value of the header `Sunset` (RFC 8594).
    pub sunset_header: String,
}

impl Deprecation {
    pub(crate) fn read(path: &str, value: &Value) -> Result<Deprecation, Problem> {
        let fields = Fields::of(path, value, &["since", "ends", "replacement", "note"])?;
        let since: Date =
            fields.needed("since", "a day, as in 2027-03-31", fields.parsed("since")?)?;
        let ends: Date =
            fields.needed("ends", "a day, as in 2027-06-30", fields.parsed("ends")?)?;
        if ends < since {
            return Err(fields.problem("ends", format!("is before since; choose {since} or later")));
        }
        let replacement = fields.parsed("replacement")?;
        Ok(Deprecation { since, ends, replacement, note: fields.text("note", NOTE_CHARACTERS)? })
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("since".to_owned(), self.since.to_string().into());
        map.insert("ends".to_owned(), self.ends.to_string().into());
        if let Some(replacement) = &self.replacement {
            map.insert("replacement".to_owned(), replacement.to_string().into());
        }
        if let Some(note) = &self.note {
            map.insert("note".to_owned(), note.clone().into());
        }
        Value::Object(map)
    }

    /// Whether callers are warned by now.
    pub fn has_begun(&self, now_ms: u64) -> bool {
        self.since <= Date::of_ms(now_ms)
    }

    /// Whether calls are refused by now.
    pub fn has_ended(&self, now_ms: u64) -> bool {
        self.ends < Date::of_ms(now_ms)
    }

    /// What a caller of `tool`, such as `web-search@1`, is told; none before `since`. After `ends`
    /// days left are 0, and the text says that it has ended.
    pub fn notice(&self, tool: &ToolReference, now_ms: u64) -> Option<Notice> {
        if !self.has_begun(now_ms) {
            return None;
        }
        let days_left = u32::try_from(Date::of_ms(now_ms).days_to(self.ends)).unwrap_or(0);
        let when = match (self.has_ended(now_ms), days_left) {
            (true, _) => format!("ended on {}", self.ends),
            (false, 0) => format!("ends today, on {}", self.ends),
            (false, 1) => format!("ends in 1 day, on {}", self.ends),
            (false, days) => format!("ends in {days} days, on {}", self.ends),
        };
        let mut text = format!("tool {tool} is deprecated and {when}; {}", self.advice());
        if let Some(note) = &self.note {
            // The text goes into a header: what would end a line there is a space.
            let note: String = note.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            text.push_str(&format!(" ({note})"));
        }
        Some(Notice {
            days_left,
            text,
            deprecation_header: format!("@{}", self.since.begins_seconds()),
            sunset_header: self.ends.last_second(),
        })
    }

    pub(crate) fn advice(&self) -> String {
        match &self.replacement {
            Some(replacement) => format!("use {replacement} instead"),
            None => "ask its owner what to use instead".to_owned(),
        }
    }
}
