//! The settings of notices: whom to tell when a limit is being used up.

use std::collections::BTreeSet;
use std::path::PathBuf;

use headwater_actors::identity::is_name;
use headwater_actors::tenancy::Thresholds;
use serde::Deserialize;

use super::{Nonsense, Settings};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoticesSection {
    /// At which percentages of a limit of a day or a month its notices are sent.
    pub thresholds_percent: Vec<u8>,
    /// Where they go; nobody is told without any.
    pub webhooks: Vec<WebhookSection>,
}

impl Default for NoticesSection {
    fn default() -> Self {
        NoticesSection { thresholds_percent: vec![50, 80, 100], webhooks: Vec::new() }
    }
}

impl NoticesSection {
    /// Thresholds that owners write down: none when nobody is there to be told.
    pub(crate) fn told(&self) -> Thresholds {
        let percents = self.thresholds_percent.iter().copied();
        let some = (!self.webhooks.is_empty()).then(|| Thresholds::new(percents)).flatten();
        some.unwrap_or(Thresholds::NONE)
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSection {
    /// Takes a POST with JSON.
    pub url: String,
    /// File with the secret that its requests are signed with; unsigned without it.
    pub secret_file: Option<PathBuf>,
    /// Gets the notices of this team, its projects and users; of all without it.
    pub team: Option<String>,
}

impl WebhookSection {
    /// What makes no sense, and in which field. The address is not repeated: to know it is enough
    /// to write to some of them.
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let wrong = "must be an address that begins with https:// or http:// and names a host";
        let url = reqwest::Url::parse(&self.url).map_err(|_| ("url", wrong))?;
        if !["https", "http"].contains(&url.scheme()) || url.host_str().is_none() {
            return Err(("url", wrong));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let problem = "must not hold a name or a password; secret_file signs what is sent";
            return Err(("url", problem));
        }
        if self.team.as_deref().is_some_and(|team| !is_name(team)) {
            return Err(("team", "must be 1 to 64 of the characters A-Z a-z 0-9 . _ -"));
        }
        Ok(())
    }
}

impl Settings {
    /// Checks what types cannot say of notices.
    pub(super) fn check_notices(&self) -> Result<(), Nonsense> {
        let section = &self.notices;
        let fail = |key: &str, problem: &str| {
            let key = key.split('.').map(str::to_owned);
            let key = std::iter::once("notices".to_owned()).chain(key).collect();
            Err(Nonsense { key, problem: problem.to_owned() })
        };
        let percents = &section.thresholds_percent;
        if percents.is_empty() || Thresholds::new(percents.iter().copied()).is_none() {
            return fail(
                "thresholds_percent",
                "must be some of 1 to 100, for example [50, 80, 100]",
            );
        }
        let mut seen = BTreeSet::new();
        for (place, webhook) in section.webhooks.iter().enumerate() {
            if let Err((field, problem)) = webhook.check() {
                return fail(&format!("webhooks.{place}.{field}"), problem);
            }
            if !seen.insert((&webhook.url, &webhook.team)) {
                let problem = "is there twice for the same team; give each address once";
                return fail(&format!("webhooks.{place}.url"), problem);
            }
        }
        Ok(())
    }
}
