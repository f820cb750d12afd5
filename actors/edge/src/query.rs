//! The pairs behind the question mark of an address.

use std::collections::BTreeMap;

use axum::http::Uri;

use crate::error::ApiError;

/// Most rows of a list in one answer.
const PAGE: u64 = 1_000;

/// The pairs of an address. Names and values need no percent-encoding.
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Result<Query, ApiError> {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        if let Some((name, _)) = pairs.clone().find(|(_, value)| value.contains('%')) {
            let message = format!("{name} is percent-encoded; send it as it is, or as JSON");
            return Err(ApiError::invalid(name, "invalid_query", message));
        }
        Ok(Query(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    /// # Errors
    /// 400 when there is any other name.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().find(|name| !names.contains(&name.as_str())) {
            Some(_) => {
                let message = format!("the address takes {}", names.join(", "));
                Err(ApiError::invalid("query", "invalid_query", message))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn number(
        &self,
        name: &str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, ApiError> {
        let Some(given) = self.0.get(name) else { return Ok(None) };
        let number = given.parse().ok().filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| {
            let message = match most {
                u64::MAX => format!("{name} must be a number of at least {least}"),
                most => format!("{name} must be a number, {least} to {most}"),
            };
            ApiError::invalid(name, "invalid_query", message)
        })
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => {
                let message = format!("{name} must be true or false");
                Err(ApiError::invalid(name, "invalid_query", message))
            }
        }
    }

    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        Ok(self.number("limit", 1, PAGE)?.unwrap_or(PAGE) as usize)
    }
}
