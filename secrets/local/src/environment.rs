//! Secrets as environment variables, one for each team and name.

use std::env;
use std::ffi::OsString;

use async_trait::async_trait;
use headwater_secrets::{SecretError, SecretName, SecretSource, SecretValue};
use serde::Deserialize;

const TEAM: &str = "{TEAM}";
const NAME: &str = "{NAME}";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnvironmentSettings {
    /// The variable's name: a beginning of its own, `{TEAM}`, underscores, `{NAME}`.
    pub variable: String,
}

impl Default for EnvironmentSettings {
    fn default() -> Self {
        EnvironmentSettings { variable: "HEADWATER_SECRET_{TEAM}_{NAME}".to_owned() }
    }
}

/// Reads the variable at each question.
pub struct EnvironmentSource {
    beginning: String,
    between: String,
    look_up: fn(&str) -> Option<OsString>,
}

impl EnvironmentSource {
    /// # Errors
    /// [`SecretError::Misconfigured`] when the pattern could give two secrets one variable, or
    /// reach variables that are no secrets.
    pub fn new(settings: &EnvironmentSettings) -> Result<EnvironmentSource, SecretError> {
        EnvironmentSource::with_look_up(settings, |variable| env::var_os(variable))
    }

    fn with_look_up(
        settings: &EnvironmentSettings,
        look_up: fn(&str) -> Option<OsString>,
    ) -> Result<EnvironmentSource, SecretError> {
        let wrong = || {
            SecretError::Misconfigured(
                "`variable` is no pattern of an environment variable; give a beginning of A to Z, \
                 0 to 9 and _ that ends with _, then {TEAM}, then _, then {NAME}, as in \
                 HEADWATER_SECRET_{TEAM}_{NAME}"
                    .to_owned(),
            )
        };
        let (beginning, rest) = settings.variable.split_once(TEAM).ok_or_else(wrong)?;
        let between = rest.strip_suffix(NAME).ok_or_else(wrong)?;
        let is_plain = |letter: char| matches!(letter, 'A'..='Z' | '0'..='9' | '_');
        let is_beginning = beginning.starts_with(|letter: char| letter.is_ascii_uppercase())
            && beginning.ends_with('_')
            && beginning.chars().all(is_plain);
        if !is_beginning || between.is_empty() || between.chars().any(|letter| letter != '_') {
            return Err(wrong());
        }
        let (beginning, between) = (beginning.to_owned(), between.to_owned());
        Ok(EnvironmentSource { beginning, between, look_up })
    }

    /// The variable of a team's secret, so that an operator can be told it.
    pub fn variable(&self, team: &str, name: &SecretName) -> String {
        let EnvironmentSource { beginning, between, .. } = self;
        format!("{beginning}{}{between}{name}", encoded(team))
    }
}

/// The team in letters that a variable may have, no two teams alike.
///
/// What is no small letter or digit becomes `_` and its byte in three decimal digits: `-` is
/// `_045`, `_` is `_095`. A name begins with a letter, so the first `_` that a digit does not
/// follow ends the team, and team `a` with `B_C` is never team `a_b` with `C`.
fn encoded(team: &str) -> String {
    let mut text = String::with_capacity(team.len());
    for byte in team.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => text.push(char::from(byte.to_ascii_uppercase())),
            _ => text.push_str(&format!("_{byte:03}")),
        }
    }
    text
}

#[async_trait]
impl SecretSource for EnvironmentSource {
    async fn get(&self, team: &str, name: &SecretName) -> Result<SecretValue, SecretError> {
        let variable = self.variable(team, name);
        let found = if team.is_empty() { None } else { (self.look_up)(&variable) };
        let Some(found) = found else {
            return Err(SecretError::unknown(team, name));
        };
        let Some(value) = SecretValue::from_bytes(found.into_encoded_bytes()) else {
            let why = format!("the variable {variable} holds no UTF-8; write its value as text");
            return Err(SecretError::Misconfigured(why));
        };
        if value.expose().is_empty() {
            let why = format!("the variable {variable} is empty; give it a value, or unset it");
            return Err(SecretError::Misconfigured(why));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
