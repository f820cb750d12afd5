//! The resolved dependency graph, as small nouns read from `cargo metadata`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[cfg(test)]
mod tests;

/// Packages by cargo's package id, so that two versions of one crate stay apart.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub packages: BTreeMap<String, Package>,
}

/// One package of the graph.
#[derive(Clone, Debug, Default)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// The licence field of its manifest, an SPDX expression.
    pub license: Option<String>,
    /// Where it came from as cargo writes it; `None` for a path in this workspace.
    pub source: Option<String>,
    /// A member of this workspace.
    pub ours: bool,
    pub imports: Vec<Import>,
}

/// An edge from one package to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The imported package's id.
    pub package: String,
    pub kind: ImportKind,
}

/// Which table of the manifest the edge stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImportKind {
    Normal,
    Build,
    Development,
}

/// Why the graph could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error("cargo could not be started: {0}; is it on the PATH?")]
    Start(#[from] std::io::Error),
    #[error("cargo metadata failed, so no graph can be checked: {0}")]
    Cargo(String),
    #[error("cargo metadata wrote something other than JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("cargo metadata carries no `{0}`; its format version 1 is expected")]
    Missing(&'static str),
}

impl Graph {
    /// Reads the graph of the workspace at `root` with every feature on, for one target.
    ///
    /// The lock file is never changed. The network is asked only when the local registry cache
    /// lacks a package.
    pub fn read(root: &Path, target: &str) -> Result<Graph, GraphError> {
        let offline = metadata(root, target, &["--locked", "--offline"]);
        let text = match offline {
            Err(GraphError::Cargo(_)) => metadata(root, target, &["--locked"])?,
            other => other?,
        };
        Graph::parse(&text)
    }

    /// Reads the output of `cargo metadata --format-version 1`.
    pub fn parse(metadata: &str) -> Result<Graph, GraphError> {
        let metadata: Value = serde_json::from_str(metadata)?;
        let members = strings(list(&metadata, "workspace_members")?);
        let mut packages = BTreeMap::new();
        for described in list(&metadata, "packages")? {
            let id = text(described, "id").ok_or(GraphError::Missing("packages.id"))?;
            let package = Package {
                name: text(described, "name").unwrap_or_default(),
                version: text(described, "version").unwrap_or_default(),
                license: text(described, "license"),
                source: text(described, "source"),
                ours: members.contains(&id),
                imports: Vec::new(),
            };
            packages.insert(id, package);
        }
        let resolve = metadata.get("resolve").ok_or(GraphError::Missing("resolve"))?;
        let nodes = list(resolve, "nodes")?;
        // With a target given, packages of other targets are listed but have no node.
        let resolved = nodes.iter().filter_map(|node| text(node, "id")).collect::<Vec<_>>();
        packages.retain(|id, _| resolved.contains(id));
        for node in nodes {
            let id = text(node, "id").ok_or(GraphError::Missing("resolve.nodes.id"))?;
            let package = packages.get_mut(&id).ok_or(GraphError::Missing("resolve.nodes.id"))?;
            package.imports = imports(node)?;
        }
        Ok(Graph { packages })
    }

    /// The members of the workspace with their ids.
    pub fn ours(&self) -> impl Iterator<Item = (&String, &Package)> {
        self.packages.iter().filter(|(_, package)| package.ours)
    }

    /// The packages that `package` imports, with the kind of each edge.
    pub fn imported<'graph>(
        &'graph self,
        package: &'graph Package,
    ) -> impl Iterator<Item = (&'graph Package, ImportKind)> {
        let edges = package.imports.iter();
        edges.filter_map(|import| Some((self.packages.get(&import.package)?, import.kind)))
    }

    /// For every package reachable from `start` by normal and build edges, the package before it
    /// on one shortest path.
    pub fn reachable(&self, start: &str) -> BTreeMap<&str, &str> {
        let mut before = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(id) = queue.pop_front() {
            let Some((id, package)) = self.packages.get_key_value(id) else { continue };
            for import in &package.imports {
                let next = import.package.as_str();
                if import.kind == ImportKind::Development || next == start {
                    continue;
                }
                before.entry(next).or_insert_with(|| {
                    queue.push_back(next);
                    id.as_str()
                });
            }
        }
        before
    }
}

fn metadata(root: &Path, target: &str, modes: &[&str]) -> Result<String, GraphError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["metadata", "--format-version", "1", "--all-features"])
        .args(["--filter-platform", target])
        .args(modes)
        .output()?;
    if !output.status.success() {
        return Err(GraphError::Cargo(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn imports(node: &Value) -> Result<Vec<Import>, GraphError> {
    let mut imports = Vec::new();
    for edge in list(node, "deps")? {
        let package = text(edge, "pkg").ok_or(GraphError::Missing("deps.pkg"))?;
        for described in list(edge, "dep_kinds")? {
            let kind = match described.get("kind").and_then(Value::as_str) {
                None => ImportKind::Normal,
                Some("build") => ImportKind::Build,
                Some(_) => ImportKind::Development,
            };
            let import = Import { package: package.clone(), kind };
            if !imports.contains(&import) {
                imports.push(import);
            }
        }
    }
    Ok(imports)
}

fn list<'value>(value: &'value Value, field: &'static str) -> Result<&'value [Value], GraphError> {
    let found = value.get(field).and_then(Value::as_array);
    found.map(Vec::as_slice).ok_or(GraphError::Missing(field))
}

fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned)
}

fn strings(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}
