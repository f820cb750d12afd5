//! Fields of a client's body, read one by one: every problem names its place and what is allowed,
//! and repeats nothing of what was sent.

use serde_json::{Map, Value};

use crate::error::ApiError;

/// An object of the body and where it stands, such as `messages[2]`; the place of the body
/// itself is empty.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: String,
}

/// What is wrong at a place, told by what is allowed there.
pub(super) fn refused(place: &str, allowed: &str) -> ApiError {
    ApiError::invalid(place, "invalid_field", format!("{place} must be {allowed}"))
}

impl<'a> Fields<'a> {
    pub(super) fn root(map: &'a Map<String, Value>) -> Fields<'a> {
        Fields { map, place: String::new() }
    }

    /// # Errors
    /// 400 when the value is no object.
    pub(super) fn of(value: &'a Value, place: String) -> Result<Fields<'a>, ApiError> {
        match value.as_object() {
            Some(map) => Ok(Fields { map, place }),
            None => Err(refused(&place, "an object")),
        }
    }

    /// Where a field of this object stands.
    pub(super) fn place(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// The value as it was sent; null counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A refusal of this field.
    pub(super) fn refuse(&self, name: &str, allowed: &str) -> ApiError {
        refused(&self.place(name), allowed)
    }

    pub(super) fn required(&self, name: &str, allowed: &str) -> Result<&'a Value, ApiError> {
        self.get(name).ok_or_else(|| self.missing(name, allowed))
    }

    pub(super) fn missing(&self, name: &str, allowed: &str) -> ApiError {
        let place = self.place(name);
        let message = format!("{place} is missing; send {allowed}");
        ApiError::invalid(&place, "missing_field", message)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, ApiError> {
        let read = |value: &'a Value| value.as_str().ok_or_else(|| self.refuse(name, "a string"));
        self.get(name).map(read).transpose()
    }

    pub(super) fn required_text(&self, name: &str) -> Result<&'a str, ApiError> {
        self.text(name)?.ok_or_else(|| self.missing(name, "a string"))
    }

    /// A text that is not empty.
    pub(super) fn name(&self, name: &str) -> Result<&'a str, ApiError> {
        let text = self.required_text(name)?;
        if text.is_empty() {
            Err(self.refuse(name, "a string that is not empty"))
        } else {
            Ok(text)
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let read =
            |value: &Value| value.as_bool().ok_or_else(|| self.refuse(name, "true or false"));
        self.get(name).map(read).transpose()
    }

    pub(super) fn number(&self, name: &str, low: f64, high: f64) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|number| (low..=high).contains(number));
        let allowed = || format!("a number, {low} to {high}");
        number.map(Some).ok_or_else(|| self.refuse(name, &allowed()))
    }

    pub(super) fn whole(&self, name: &str, low: u64, high: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_u64().filter(|number| (low..=high).contains(number));
        let allowed = || match high {
            u64::MAX => format!("a whole number of at least {low}"),
            high => format!("a whole number, {low} to {high}"),
        };
        number.map(Some).ok_or_else(|| self.refuse(name, &allowed()))
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Fields<'a>>, ApiError> {
        self.get(name).map(|value| Fields::of(value, self.place(name))).transpose()
    }

    pub(super) fn required_object(&self, name: &str) -> Result<Fields<'a>, ApiError> {
        self.object(name)?.ok_or_else(|| self.missing(name, "an object"))
    }

    /// The objects of a list; none for a missing list.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Fields<'a>>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| self.refuse(name, "a list of objects"))?;
        let place = self.place(name);
        let read = |(index, value)| Fields::of(value, format!("{place}[{index}]"));
        list.iter().enumerate().map(read).collect()
    }

    /// A list of at most `most` texts, none of them empty.
    pub(super) fn texts(&self, name: &str, most: usize) -> Result<Vec<String>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let allowed = format!("a list of at most {most} strings");
        let list = value.as_array().filter(|list| list.len() <= most);
        let list = list.ok_or_else(|| self.refuse(name, &allowed))?;
        let read = |(index, value): (usize, &Value)| {
            let text = value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            let place = || format!("{}[{index}]", self.place(name));
            text.ok_or_else(|| refused(&place(), "a string that is not empty"))
        };
        list.iter().enumerate().map(read).collect()
    }

    /// A text that is one of these.
    pub(super) fn one_of(
        &self,
        name: &str,
        allowed: &[&'static str],
    ) -> Result<&'static str, ApiError> {
        let told = || format!("one of {}", allowed.join(", "));
        let value = self.required(name, &told())?;
        let found = allowed.iter().find(|allowed| value.as_str() == Some(allowed));
        found.copied().ok_or_else(|| self.refuse(name, &told()))
    }
}
