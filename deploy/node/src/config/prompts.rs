//! The settings of the prompt service, and of the secrets that prompts name.

use std::path::PathBuf;

use headwater_actors::prompts::PromptSettings;
use headwater_secrets::SecretGrants;
use headwater_secrets_local::{EnvironmentSettings, FileSettings};
use headwater_secrets_vault::VaultSettings;
use serde::Deserialize;

use super::{Nonsense, Settings};

/// A file of rules for the secret scan, in gitleaks' shape.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    pub path: PathBuf,
    /// Hex SHA-256 of the file; another file is not used.
    pub sha256: String,
}

/// A version that is served while the store says nothing of its prompt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FallbackFile {
    pub team: String,
    pub prompt: String,
    /// JSON, as `document` of a commit.
    pub path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptsSection {
    /// From so long without a word from the store on, answers say that they are the last good
    /// ones, in ms.
    pub stale_ms: u64,
    /// Rules of the secret scan beside the built-in ones.
    pub scan_rules: Vec<RuleFile>,
    pub fallbacks: Vec<FallbackFile>,
}

impl Default for PromptsSection {
    fn default() -> Self {
        let stale_ms = PromptSettings::default().stale_ms;
        PromptsSection { stale_ms, scan_rules: Vec::new(), fallbacks: Vec::new() }
    }
}

/// How long a value is taken as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretCacheSection {
    pub ttl_ms: u64,
    /// For so long after that when the source does not answer, in ms.
    pub stale_ms: u64,
    pub entries_max: usize,
}

impl Default for SecretCacheSection {
    fn default() -> Self {
        let headwater_secrets::CacheSettings { ttl_ms, stale_ms, entries_max } =
            headwater_secrets::CacheSettings::default();
        SecretCacheSection { ttl_ms, stale_ms, entries_max }
    }
}

/// Where secrets come from, at most one of three, and which team may read which.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsSection {
    /// By team, names of secrets, or `*` alone for all of the team's; none without it.
    pub grants: SecretGrants,
    pub cache: SecretCacheSection,
    pub environment: Option<EnvironmentSettings>,
    pub file: Option<FileSettings>,
    pub vault: Option<VaultSettings>,
}

impl Settings {
    /// Checks what types cannot say of prompts and their secrets.
    pub(super) fn check_prompts(&self) -> Result<(), Nonsense> {
        let fail = |key: &[&str], problem: &str| {
            let key = key.iter().map(ToString::to_string).collect();
            Err(Nonsense { key, problem: problem.to_owned() })
        };
        for (place, file) in self.prompts.scan_rules.iter().enumerate() {
            let is_hex = file.sha256.chars().all(|one| one.is_ascii_hexdigit());
            if file.sha256.len() != 64 || !is_hex {
                let problem = "must be the 64 hex digits that `sha256sum` says of the file";
                return fail(&["prompts", "scan_rules", &place.to_string(), "sha256"], problem);
            }
        }
        let SecretsSection { environment, file, vault, .. } = &self.secrets;
        let sources = [environment.is_some(), file.is_some(), vault.is_some()];
        if sources.into_iter().filter(|is_set| *is_set).count() > 1 {
            let problem = "has more than one of environment, file and vault; leave one of them";
            return fail(&["secrets"], problem);
        }
        Ok(())
    }
}
