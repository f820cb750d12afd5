//! Who may import whom: the layout's rules over the dependency graph.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use crate::graph::{Graph, ImportKind, Package};

pub use rules::RULES;

/// The place of one of our crates in the layout, which decides what it may import of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Nouns, one trait and an in-memory double.
    Port,
    /// Decisions without clock, randomness, threads or I/O.
    Pure,
    /// One outside system behind one port.
    Adapter,
    /// The actor shells, the HTTP edge and the simulation.
    Shell,
    /// The node and these tests.
    Top,
}

/// What one of our crates may import of ours.
#[derive(Clone, Copy, Debug)]
pub struct CrateRule {
    pub name: &'static str,
    pub layer: Layer,
    /// The crates of ours that it may import; ignored for [`Layer::Top`], which may import all.
    pub imports: &'static [&'static str],
}

/// A crate from outside that stands in few manifests.
#[derive(Clone, Copy, Debug)]
pub struct HeavyRule {
    /// A crate's name, or the start of one before a `*`.
    pub pattern: &'static str,
    /// The crates of ours whose manifests may name it. One, or the reason says why more.
    pub manifests: &'static [&'static str],
    pub reason: &'static str,
}

/// All rules that [`check`] applies.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub crates: &'static [CrateRule],
    pub heavy: &'static [HeavyRule],
    /// Crates of ours that stay free of [`Rules::runtime`], beside those of [`Layer::Pure`].
    pub also_pure: &'static [&'static str],
    /// Crates from outside that no pure crate may reach by normal or build edges.
    pub runtime: &'static [&'static str],
    /// Crates from outside that may reach it: they draw the seeds of their own hash tables.
    pub seeded: &'static [&'static str],
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A crate of ours without a rule.
    Unnamed { name: String },
    /// A rule for a crate that the workspace does not have.
    Stale { name: String },
    /// An edge between two of our crates that the layout forbids.
    Import { from: String, to: String, kind: ImportKind },
    /// A pure crate reaches a runtime; `path` runs from the crate to it.
    Impure { path: Vec<String> },
    /// A heavy crate stands in a manifest that may not name it.
    Heavy { manifest: String, heavy: String, allowed: Vec<String> },
}

/// Every violation of `rules` in `graph`, in the order of the packages' ids.
///
/// A development edge may name the crate itself, what the crate may import anyway, and the ports
/// that its normal edges reach: a test needs their doubles, never a second adapter.
pub fn check(graph: &Graph, rules: &Rules) -> Vec<Violation> {
    let mut violations = stale(graph, rules);
    for (id, package) in graph.ours() {
        let Some(rule) = rules.of(&package.name) else {
            violations.push(Violation::Unnamed { name: package.name.clone() });
            continue;
        };
        violations.extend(wrong_imports(graph, rules, id, package, rule));
        violations.extend(wrong_heavy(graph, rules, package));
        if rule.layer == Layer::Pure || rules.also_pure.contains(&rule.name) {
            violations.extend(impure(graph, rules, id));
        }
    }
    violations
}

impl Rules {
    fn of(&self, name: &str) -> Option<&CrateRule> {
        self.crates.iter().find(|rule| rule.name == name)
    }

    fn is_port(&self, name: &str) -> bool {
        self.of(name).is_some_and(|rule| rule.layer == Layer::Port)
    }
}

impl HeavyRule {
    fn covers(&self, name: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == self.pattern,
        }
    }
}

fn stale(graph: &Graph, rules: &Rules) -> Vec<Violation> {
    let members: BTreeSet<&str> = graph.ours().map(|(_, package)| package.name.as_str()).collect();
    let heavy = rules.heavy.iter().flat_map(|rule| rule.manifests).copied();
    let named = rules.crates.iter().map(|rule| rule.name).chain(heavy).collect::<BTreeSet<_>>();
    let gone = named.into_iter().filter(|name| !members.contains(name));
    gone.map(|name| Violation::Stale { name: name.to_owned() }).collect()
}

fn wrong_imports(
    graph: &Graph,
    rules: &Rules,
    id: &str,
    package: &Package,
    rule: &CrateRule,
) -> Vec<Violation> {
    if rule.layer == Layer::Top {
        return Vec::new();
    }
    let reached = graph.reachable(id);
    let is_reached_port = |name: &str| {
        let mut ids = reached.keys().filter_map(|id| graph.packages.get(*id));
        rules.is_port(name) && ids.any(|package| package.name == name)
    };
    let allowed = |name: &str, kind: ImportKind| {
        let own = kind == ImportKind::Development && (name == rule.name || is_reached_port(name));
        own || rule.imports.contains(&name)
    };
    let ours = graph.imported(package).filter(|(to, _)| to.ours);
    let wrong = ours.filter(|(to, kind)| !allowed(&to.name, *kind));
    wrong
        .map(|(to, kind)| {
            let (from, to) = (package.name.clone(), to.name.clone());
            Violation::Import { from, to, kind }
        })
        .collect()
}

fn wrong_heavy(graph: &Graph, rules: &Rules, package: &Package) -> Vec<Violation> {
    let mut found = BTreeSet::new();
    for (imported, _) in graph.imported(package).filter(|(to, _)| !to.ours) {
        let rule = rules.heavy.iter().find(|rule| rule.covers(&imported.name));
        let Some(rule) = rule else { continue };
        if !rule.manifests.contains(&package.name.as_str()) {
            found.insert((imported.name.clone(), rule.manifests));
        }
    }
    let violation = |(heavy, manifests): (String, &[&str])| {
        let allowed = manifests.iter().map(|name| (*name).to_owned()).collect();
        Violation::Heavy { manifest: package.name.clone(), heavy, allowed }
    };
    found.into_iter().map(violation).collect()
}

fn impure(graph: &Graph, rules: &Rules, start: &str) -> Vec<Violation> {
    let before = graph.reachable(start);
    let name = |id: &str| graph.packages.get(id).map(|package| package.name.clone());
    let mut violations = Vec::new();
    for reached in before.keys() {
        let runtime = name(reached).is_some_and(|name| rules.runtime.contains(&name.as_str()));
        if !runtime {
            continue;
        }
        let back = std::iter::successors(Some(*reached), |id| before.get(*id).copied());
        let mut path: Vec<String> = back.filter_map(name).collect();
        path.reverse();
        if !path.iter().any(|name| rules.seeded.contains(&name.as_str())) {
            violations.push(Violation::Impure { path });
        }
    }
    violations
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Unnamed { name } => {
                write!(
                    out,
                    "{name}: no rule names this crate; add it to tests/src/layering/rules.rs"
                )
            }
            Violation::Stale { name } => {
                write!(out, "{name}: a rule names this crate, but the workspace has none; drop it")
            }
            Violation::Import { from, to, kind } => {
                let table = match kind {
                    ImportKind::Normal => "dependencies",
                    ImportKind::Build => "build-dependencies",
                    ImportKind::Development => "dev-dependencies",
                };
                write!(out, "{from}: may not import {to} ([{table}]); see its rule")
            }
            Violation::Impure { path } => {
                write!(out, "a pure crate reaches a runtime: {}", path.join(" -> "))
            }
            Violation::Heavy { manifest, heavy, allowed } => {
                write!(out, "{manifest}: may not name {heavy}; allowed in: {}", allowed.join(", "))
            }
        }
    }
}
