//! All tools at one moment: which versions there are, and which one a reference means.

mod near;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::date::Date;
use crate::definition::{Definition, Kind};
use crate::deprecation::Notice;
use crate::name::{DefinitionHash, HashPin, ToolName, ToolReference, ToolVersion};

/// Most tools on one page of a list.
const PAGE: usize = 200;

/// Whether a version serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Published,
    /// Refused from now on, with the reason.
    Withdrawn {
        reason: String,
    },
}

/// A version of a tool. The definition of a published version does not change, but for its
/// description and its deprecation.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    pub definition: Arc<Definition>,
    pub version: ToolVersion,
    /// [`Definition::hash`].
    pub hash: DefinitionHash,
    pub state: State,
    /// Milliseconds since 1970.
    pub published_ms: u64,
}

impl Tool {
    pub fn new(definition: Definition, version: ToolVersion, published_ms: u64) -> Tool {
        let hash = definition.hash();
        let definition = Arc::new(definition);
        Tool { definition, version, hash, state: State::Published, published_ms }
    }

    pub fn name(&self) -> &ToolName {
        &self.definition.name
    }

    /// The reference that names this very version, with its whole hash.
    pub fn reference(&self) -> ToolReference {
        ToolReference {
            name: self.name().clone(),
            version: Some(self.version),
            pin: HashPin::new(self.hash.as_str()).ok(),
        }
    }

    pub fn function_name(&self) -> String {
        self.definition.function_name(self.version)
    }

    /// What callers are told when the version is going away.
    pub fn notice(&self, now_ms: u64) -> Option<Notice> {
        let deprecation = self.definition.deprecation.as_ref()?;
        deprecation.notice(&ToolReference::to(self.name().clone(), self.version), now_ms)
    }

    fn serves(&self, now_ms: u64) -> bool {
        let deprecation = self.definition.deprecation.as_ref();
        self.state == State::Published
            && !deprecation.is_some_and(|deprecation| deprecation.has_ended(now_ms))
    }

    fn is_deprecated(&self, now_ms: u64) -> bool {
        let deprecation = self.definition.deprecation.as_ref();
        deprecation.is_some_and(|deprecation| deprecation.has_begun(now_ms))
    }
}

/// Why a reference means no version that serves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("there is no tool {name}{}", near_text(near))]
    UnknownTool { name: ToolName, near: Vec<ToolName> },
    #[error("tool {name} has no version {version}; its newest is {newest}")]
    UnknownVersion { name: ToolName, version: ToolVersion, newest: ToolVersion },
    #[error("tool {tool} ended on {ended}; {advice}")]
    Ended { tool: ToolReference, ended: Date, advice: String },
    #[error("tool {tool} was withdrawn: {reason}; use another version")]
    Withdrawn { tool: ToolReference, reason: String },
    #[error("tool {name} has no version that serves; ask team {owner}, which owns it")]
    NoneServes { name: ToolName, owner: String },
    /// What the caller has read is not what would be called.
    #[error(
        "tool {tool} is not what was pinned: its definition now has the hash {present}; read it \
         again and pin that one"
    )]
    OtherHash { tool: ToolReference, present: DefinitionHash },
}

/// Which tools a list holds; what is not set is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub owner: Option<String>,
    pub kind: Option<Kind>,
    /// Stands in the name or the description, in capitals or not.
    pub text: Option<String>,
}

/// A part of a list, in the order of names.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<'r> {
    /// The default version of each tool.
    pub tools: Vec<&'r Tool>,
    /// Ask for what comes after this name; none where the list is over.
    pub next: Option<ToolName>,
}

/// An immutable snapshot of all tools.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registry {
    tools: BTreeMap<ToolName, BTreeMap<ToolVersion, Tool>>,
    pointers: BTreeMap<ToolName, ToolVersion>,
}

impl Registry {
    /// Of rows in any order; of two rows with the same name and version the later one counts. A
    /// pointer says which version is a tool's default, as long as that one serves.
    pub fn new(
        rows: impl IntoIterator<Item = Tool>,
        pointers: impl IntoIterator<Item = (ToolName, ToolVersion)>,
    ) -> Registry {
        let mut tools: BTreeMap<ToolName, BTreeMap<ToolVersion, Tool>> = BTreeMap::new();
        for tool in rows {
            tools.entry(tool.name().clone()).or_default().insert(tool.version, tool);
        }
        Registry { tools, pointers: pointers.into_iter().collect() }
    }

    /// The version that a reference means. Without a version: the tool's pointer, or else the newest
    /// that is not deprecated, or else the newest that still serves.
    ///
    /// # Errors
    /// When there is none, or when it is none that serves.
    pub fn resolve(&self, wanted: &ToolReference, now_ms: u64) -> Result<&Tool, ResolveError> {
        let versions = self.tools.get(&wanted.name).ok_or_else(|| ResolveError::UnknownTool {
            name: wanted.name.clone(),
            near: near::names(&wanted.name, self.tools.keys()),
        })?;
        let Some(version) = wanted.version else {
            return self.default_of(&wanted.name, now_ms).ok_or_else(|| {
                let newest = versions.values().next_back();
                let owner = newest.map(|newest| newest.definition.owner.clone());
                let owner = owner.unwrap_or_default();
                ResolveError::NoneServes { name: wanted.name.clone(), owner }
            });
        };
        let tool = versions.get(&version).ok_or_else(|| ResolveError::UnknownVersion {
            name: wanted.name.clone(),
            version,
            newest: versions.keys().next_back().copied().unwrap_or(version),
        })?;
        let named = || ToolReference::to(wanted.name.clone(), version);
        if let State::Withdrawn { reason } = &tool.state {
            return Err(ResolveError::Withdrawn { tool: named(), reason: reason.clone() });
        }
        let deprecation = tool.definition.deprecation.as_ref();
        if let Some(over) = deprecation.filter(|over| over.has_ended(now_ms)) {
            let advice = over.advice();
            return Err(ResolveError::Ended { tool: named(), ended: over.ends, advice });
        }
        match &wanted.pin {
            Some(pin) if !pin.fits(&tool.hash) => {
                Err(ResolveError::OtherHash { tool: named(), present: tool.hash.clone() })
            }
            _ => Ok(tool),
        }
    }

    fn default_of(&self, name: &ToolName, now_ms: u64) -> Option<&Tool> {
        let versions = self.tools.get(name)?;
        let pointed = self.pointers.get(name).and_then(|version| versions.get(version));
        if let Some(pointed) = pointed.filter(|pointed| pointed.serves(now_ms)) {
            return Some(pointed);
        }
        let serving = || versions.values().rev().filter(|tool| tool.serves(now_ms));
        serving().find(|tool| !tool.is_deprecated(now_ms)).or_else(|| serving().next())
    }

    /// All versions of a tool, the oldest first; also those that no longer serve.
    pub fn versions(&self, name: &str) -> impl DoubleEndedIterator<Item = &Tool> {
        self.tools.get(name).into_iter().flat_map(BTreeMap::values)
    }

    /// The version whatever its state.
    pub fn get(&self, name: &str, version: ToolVersion) -> Option<&Tool> {
        self.tools.get(name)?.get(&version)
    }

    /// The newest version of a tool, whatever its state.
    pub fn newest(&self, name: &str) -> Option<&Tool> {
        self.tools.get(name)?.values().next_back()
    }

    /// The number of the version that would be published next; none after the last number.
    pub fn next_version(&self, name: &str) -> Option<ToolVersion> {
        match self.newest(name) {
            None => Some(ToolVersion::FIRST),
            Some(newest) => newest.version.next(),
        }
    }

    /// The default versions of all tools that have one, in the order of names.
    pub fn defaults(&self, now_ms: u64) -> impl Iterator<Item = &Tool> {
        self.tools.keys().filter_map(move |name| self.default_of(name, now_ms))
    }

    /// Default versions that pass the filter and that `is_visible` lets through, such as those that
    /// the caller's team has a grant for: at most `limit` (1 to 200) after the name `after`.
    pub fn list(
        &self,
        filter: &Filter,
        after: Option<&ToolName>,
        limit: usize,
        now_ms: u64,
        is_visible: impl Fn(&Tool) -> bool,
    ) -> Page<'_> {
        let limit = limit.clamp(1, PAGE);
        let text = filter.text.as_ref().map(|text| text.to_lowercase());
        let passes = |tool: &&Tool| {
            let Definition { name, description, owner, kind, .. } = &*tool.definition;
            filter.owner.as_ref().is_none_or(|wanted| wanted == owner)
                && filter.kind.is_none_or(|wanted| wanted == *kind)
                && text.as_ref().is_none_or(|text| {
                    name.as_str().contains(text) || description.to_lowercase().contains(text)
                })
                && is_visible(tool)
        };
        let found =
            self.defaults(now_ms).filter(|tool| after.is_none_or(|last| last < tool.name()));
        let mut tools: Vec<&Tool> = found.filter(passes).take(limit + 1).collect();
        let has_more = tools.len() > limit;
        tools.truncate(limit);
        let next = tools.last().filter(|_| has_more).map(|last| last.name().clone());
        Page { tools, next }
    }
}

fn near_text(near: &[ToolName]) -> String {
    let names: Vec<&str> = near.iter().map(ToolName::as_str).collect();
    match names.is_empty() {
        true => "; list or search the tools to find its name".to_owned(),
        false => format!("; near it are {}", names.join(", ")),
    }
}
