//! The part of cargo-deny's format that the check honours; any other setting is an error.

use semver::VersionReq;
use serde::Deserialize;

/// `deny.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DenySettings {
    pub graph: Targets,
    pub licenses: Licenses,
    pub bans: Bans,
    pub sources: Sources,
}

/// `[graph]`: which packages are looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Targets {
    /// Target triples; each has its own graph.
    pub targets: Vec<String>,
    /// Must be true: an optional dependency ships too.
    pub all_features: bool,
}

/// `[licenses]`, as SPDX names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Licenses {
    pub allow: Vec<String>,
    #[serde(default)]
    pub exceptions: Vec<Exception>,
}

/// Licences that one crate alone may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exception {
    #[serde(rename = "crate")]
    pub name: String,
    pub allow: Vec<String>,
}

/// `[bans]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bans {
    pub multiple_versions: Allowed,
    pub deny: Vec<Ban>,
}

/// A crate that is refused, or refused in two versions at once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ban {
    /// `name`, or `name:requirement`.
    #[serde(rename = "crate")]
    pub name: String,
    #[serde(default)]
    pub deny_multiple_versions: bool,
    pub reason: String,
}

/// `[sources]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sources {
    pub unknown_registry: Denied,
    pub unknown_git: Denied,
    /// Registry addresses, as cargo writes them after `registry+`.
    pub allow_registry: Vec<String>,
}

/// A setting that the check honours only as "allow".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allowed {
    Allow,
}

/// A setting that the check honours only as "deny".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denied {
    Deny,
}

/// Why `deny.toml` cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("deny.toml cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error("deny.toml holds a setting that this check does not honour: {0}")]
    Toml(#[from] toml::de::Error),
    #[error("deny.toml: `graph.all-features` must be true, since optional crates ship too")]
    Features,
    #[error("deny.toml: `{0}` is no licence of the SPDX list")]
    License(String),
    #[error("deny.toml: `{0}` is neither `name` nor `name:version requirement`")]
    Ban(String),
}

impl DenySettings {
    /// Reads the text of `deny.toml`.
    pub fn parse(text: &str) -> Result<DenySettings, SettingsError> {
        let settings: DenySettings = toml::from_str(text)?;
        if !settings.graph.all_features {
            return Err(SettingsError::Features);
        }
        Ok(settings)
    }
}

impl Ban {
    /// The crate's name and the versions that are meant.
    pub(super) fn parsed(&self) -> Result<(&str, VersionReq), SettingsError> {
        let Some((name, requirement)) = self.name.split_once(':') else {
            return Ok((&self.name, VersionReq::STAR));
        };
        let unreadable = |_| SettingsError::Ban(self.name.clone());
        Ok((name, VersionReq::parse(requirement).map_err(unreadable)?))
    }
}
