//! Licences, bans and sources of the resolved graph, by the rules of `deny.toml`.

mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use semver::Version;
use spdx::{Expression, Licensee, ParseMode};

use crate::graph::{Graph, Package};

pub use settings::{Ban, Bans, DenySettings, Exception, Licenses, SettingsError, Sources, Targets};

/// One crate of the graph that `deny.toml` refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its name and version.
    pub package: String,
    pub reason: String,
}

/// Every refusal, crate by crate in the order of the packages' ids.
///
/// # Errors
/// A licence or a version in the settings that cannot be read.
pub fn check(graph: &Graph, settings: &DenySettings) -> Result<Vec<Refusal>, SettingsError> {
    let licenses = AllowedLicenses::of(&settings.licenses)?;
    let mut refusals = Vec::new();
    for package in graph.packages.values() {
        let reasons = [
            licenses.refuse(package),
            refuse_source(package, &settings.sources),
            refuse_ban(package, &settings.bans)?,
        ];
        let named = |reason| Refusal { package: title(package), reason };
        refusals.extend(reasons.into_iter().flatten().map(named));
    }
    refusals.extend(settings.bans.deny.iter().filter_map(|ban| refuse_versions(graph, ban)));
    Ok(refusals)
}

/// The licences of the settings, read once.
struct AllowedLicenses {
    all: Vec<Licensee>,
    /// Licences allowed for one crate beside those allowed for all.
    for_one: Vec<(String, Vec<Licensee>)>,
}

impl AllowedLicenses {
    fn of(settings: &Licenses) -> Result<AllowedLicenses, SettingsError> {
        let read = |names: &[String]| -> Result<Vec<Licensee>, SettingsError> {
            let licensee = |name: &String| {
                Licensee::parse(name).map_err(|_| SettingsError::License(name.clone()))
            };
            names.iter().map(licensee).collect()
        };
        let exception = |exception: &Exception| {
            Ok::<_, SettingsError>((exception.name.clone(), read(&exception.allow)?))
        };
        let for_one = settings.exceptions.iter().map(exception).collect::<Result<_, _>>()?;
        Ok(AllowedLicenses { all: read(&settings.allow)?, for_one })
    }

    fn refuse(&self, package: &Package) -> Option<String> {
        let Some(written) = &package.license else {
            return Some("its manifest names no licence".to_owned());
        };
        let expression = match Expression::parse_mode(written, ParseMode::LAX) {
            Ok(expression) => expression,
            Err(error) => return Some(format!("its licence `{written}` cannot be read: {error}")),
        };
        let exceptions = self.for_one.iter().filter(|(name, _)| *name == package.name);
        let exceptions = exceptions.flat_map(|(_, allowed)| allowed);
        let allowed: Vec<&Licensee> = self.all.iter().chain(exceptions).collect();
        let fits = expression.evaluate(|asked| allowed.iter().any(|given| given.satisfies(asked)));
        (!fits).then(|| format!("licence `{written}` is not allowed; see [licenses] in deny.toml"))
    }
}

fn refuse_source(package: &Package, sources: &Sources) -> Option<String> {
    let Some(source) = &package.source else {
        let message = "a path outside the workspace; make it a member or publish it";
        return (!package.ours).then(|| message.to_owned());
    };
    let registry = source.strip_prefix("registry+").or(source.strip_prefix("sparse+"));
    let fits =
        registry.is_some_and(|registry| sources.allow_registry.iter().any(|a| a == registry));
    (!fits).then(|| format!("source `{source}` is not allowed; see [sources] in deny.toml"))
}

fn refuse_ban(package: &Package, bans: &Bans) -> Result<Option<String>, SettingsError> {
    for ban in bans.deny.iter().filter(|ban| !ban.deny_multiple_versions) {
        let (name, versions) = ban.parsed()?;
        let hit = Version::parse(&package.version).is_ok_and(|version| versions.matches(&version));
        if name == package.name && hit {
            return Ok(Some(format!("banned: {}", ban.reason)));
        }
    }
    Ok(None)
}

fn refuse_versions(graph: &Graph, ban: &Ban) -> Option<Refusal> {
    let same = graph.packages.values().filter(|package| package.name == ban.name);
    let versions: BTreeSet<&str> = same.map(|package| package.version.as_str()).collect();
    if !ban.deny_multiple_versions || versions.len() < 2 {
        return None;
    }
    let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
    let reason = format!("stands in versions {versions}, one allowed: {}", ban.reason);
    Some(Refusal { package: ban.name.clone(), reason })
}

fn title(package: &Package) -> String {
    format!("{} {}", package.name, package.version)
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.package, self.reason)
    }
}
