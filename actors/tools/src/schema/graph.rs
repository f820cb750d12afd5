//! What applies where in a value: the schema as a graph of its subschemas. It is built by us, so
//! that secrets can be found and hostile schemas be refused before anything compiles them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::problem::{Problem, short};

const NODES: usize = 8_192;
const PATTERNS: usize = 64;
const PATTERN_CHARACTERS: usize = 1_024;
const DRAFTS: [&str; 3] = [
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
];
/// They lead to a schema by a name that depends on the way to it, or change what a reference means.
const REFUSED: [&str; 8] = [
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
    "$vocabulary",
    "$id",
    "$schema",
];

/// A subschema, with the places of those that it leads to.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) is_secret: bool,
    /// They apply to the same value.
    pub(super) in_place: Vec<usize>,
    pub(super) properties: BTreeMap<String, usize>,
    /// They may apply to any property: which ones is not told here.
    pub(super) any_property: Vec<usize>,
    /// They apply to properties that are not in `properties`.
    pub(super) other_properties: Vec<usize>,
    /// They apply to the names of properties.
    pub(super) names: Vec<usize>,
    pub(super) entries: Vec<usize>,
    /// They apply to entries after those in `entries`.
    pub(super) other_entries: Vec<usize>,
    /// They apply to every entry.
    pub(super) any_entry: Vec<usize>,
}

impl Node {
    /// All places that it leads to.
    pub(super) fn edges(&self) -> impl Iterator<Item = usize> {
        self.in_place.iter().copied().chain(self.deeper())
    }

    fn deeper(&self) -> impl Iterator<Item = usize> {
        let lists = [
            &self.any_property,
            &self.other_properties,
            &self.names,
            &self.entries,
            &self.other_entries,
            &self.any_entry,
        ];
        self.properties.values().copied().chain(lists.into_iter().flatten().copied())
    }
}

/// The graph; the root is the first node.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// Of each node: whether it, or any that it leads to, is secret.
    leads_to_secret: Vec<bool>,
}

struct Builder<'v> {
    field: &'v str,
    source: &'v Value,
    places: BTreeMap<String, usize>,
    pointers: Vec<String>,
    patterns: usize,
}

impl Graph {
    pub(super) fn of(field: &str, source: &Value) -> Result<Graph, Problem> {
        let (places, pointers) = (BTreeMap::new(), Vec::new());
        let mut builder = Builder { field, source, places, pointers, patterns: 0 };
        builder.place("")?;
        let mut nodes = Vec::new();
        // The list grows while it is walked.
        while let Some(pointer) = builder.pointers.get(nodes.len()).cloned() {
            nodes.push(builder.node(&pointer)?);
        }
        let mut leads_to_secret: Vec<bool> = nodes.iter().map(|node| node.is_secret).collect();
        let mut above = vec![Vec::new(); nodes.len()];
        for (place, node) in nodes.iter().enumerate() {
            node.edges().for_each(|below: usize| above[below].push(place));
        }
        let mut left: Vec<usize> =
            (0..nodes.len()).filter(|place| leads_to_secret[*place]).collect();
        while let Some(place) = left.pop() {
            for upper in std::mem::take(&mut above[place]) {
                if !std::mem::replace(&mut leads_to_secret[upper], true) {
                    left.push(upper);
                }
            }
        }
        Ok(Graph { nodes, leads_to_secret })
    }

    /// The nodes that apply to the root of a value.
    pub(super) fn start(&self) -> Vec<usize> {
        self.closed(vec![0])
    }

    /// The nodes that apply to a property, from those that apply to its object.
    pub(super) fn property(&self, at: &[usize], name: &str) -> Vec<usize> {
        let mut below = Vec::new();
        for node in at.iter().map(|place| &self.nodes[*place]) {
            match node.properties.get(name) {
                Some(named) => below.push(*named),
                None => below.extend(&node.other_properties),
            }
            below.extend(&node.any_property);
        }
        self.closed(below)
    }

    /// The nodes that apply to an entry, from those that apply to its list.
    pub(super) fn entry(&self, at: &[usize], place: usize) -> Vec<usize> {
        let mut below = Vec::new();
        for node in at.iter().map(|at| &self.nodes[*at]) {
            match node.entries.get(place) {
                Some(entry) => below.push(*entry),
                None => below.extend(&node.other_entries),
            }
            below.extend(&node.any_entry);
        }
        self.closed(below)
    }

    fn closed(&self, mut left: Vec<usize>) -> Vec<usize> {
        let mut found = BTreeSet::new();
        while let Some(place) = left.pop() {
            if found.insert(place) {
                left.extend(&self.nodes[place].in_place);
            }
        }
        found.into_iter().collect()
    }

    pub(super) fn is_secret(&self, at: &[usize]) -> bool {
        at.iter().any(|place| self.nodes[*place].is_secret)
    }

    pub(super) fn leads_to_secret(&self, at: &[usize]) -> bool {
        at.iter().any(|place| self.leads_to_secret[*place])
    }

    /// The properties that the nodes name, sorted.
    pub(super) fn named(&self, at: &[usize]) -> BTreeSet<&str> {
        let nodes = at.iter().map(|place| &self.nodes[*place]);
        nodes.flat_map(|node| node.properties.keys().map(String::as_str)).collect()
    }

    pub(super) fn property_names(&self) -> Vec<&str> {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.named(&all).into_iter().collect()
    }
}

impl Builder<'_> {
    /// The place of a subschema, by its pointer; it is walked later, once.
    fn place(&mut self, pointer: &str) -> Result<usize, Problem> {
        if let Some(place) = self.places.get(pointer) {
            return Ok(*place);
        }
        let place = self.pointers.len();
        if place == NODES {
            let problem = format!("has more than {NODES} subschemas; make several tools of it");
            return Err(Problem::new(self.field, problem));
        }
        self.places.insert(pointer.to_owned(), place);
        self.pointers.push(pointer.to_owned());
        Ok(place)
    }

    fn problem(&self, pointer: &str, problem: impl Into<String>) -> Problem {
        Problem::new(format!("{}{}", self.field, short(pointer)), problem)
    }

    fn node(&mut self, pointer: &str) -> Result<Node, Problem> {
        let schema = match self.source.pointer(pointer) {
            Some(Value::Object(schema)) => schema,
            Some(Value::Bool(_)) => return Ok(Node::default()),
            _ => return Err(self.problem(pointer, "is no schema; write an object, true or false")),
        };
        self.check_words(pointer, schema)?;
        let is_true = |name: &str| schema.get(name) == Some(&Value::Bool(true));
        let mut node =
            Node { is_secret: is_true("writeOnly") || is_true("x-secret"), ..Node::default() };
        for (word, value) in schema {
            let below = format!("{pointer}/{}", escaped(word));
            match word.as_str() {
                "$ref" => node.in_place.push(self.reference(&below, value)?),
                "not" | "if" | "then" | "else" => node.in_place.push(self.place(&below)?),
                "allOf" | "anyOf" | "oneOf" => node.in_place.extend(self.list(&below, value)?),
                "dependentSchemas" => node.in_place.extend(self.map(&below, value)?.into_values()),
                // In draft 7 a list of names stands beside schemas here.
                "dependencies" => {
                    let schemas = self.map_of(&below, value, |value| !value.is_array())?;
                    node.in_place.extend(schemas.into_values());
                }
                "properties" => node.properties = self.map(&below, value)?,
                "patternProperties" => {
                    let map = self.map(&below, value)?;
                    for pattern in map.keys() {
                        self.pattern(&below, pattern)?;
                    }
                    node.any_property.extend(map.into_values());
                }
                "additionalProperties" | "unevaluatedProperties" => {
                    node.other_properties.push(self.place(&below)?);
                }
                "propertyNames" => node.names.push(self.place(&below)?),
                "items" if value.is_array() => node.entries = self.list(&below, value)?,
                "prefixItems" => node.entries = self.list(&below, value)?,
                "items" | "additionalItems" | "unevaluatedItems" => {
                    node.other_entries.push(self.place(&below)?);
                }
                "contains" => node.any_entry.push(self.place(&below)?),
                "pattern" => self.pattern(&below, value.as_str().unwrap_or_default())?,
                "$defs" | "definitions" => drop(self.map(&below, value)?),
                _ => {}
            }
        }
        Ok(node)
    }

    fn check_words(&self, pointer: &str, schema: &Map<String, Value>) -> Result<(), Problem> {
        let is_root = pointer.is_empty();
        let allowed = |word: &str| is_root && (word == "$id" || word == "$schema");
        if let Some(word) =
            REFUSED.iter().find(|word| schema.contains_key(**word) && !allowed(word))
        {
            let problem = format!("holds {word}; use $ref with a pointer into the same schema");
            return Err(self.problem(pointer, problem));
        }
        match schema.get("$schema") {
            None => Ok(()),
            Some(Value::String(draft)) if DRAFTS.contains(&draft.trim_end_matches('#')) => Ok(()),
            Some(_) => {
                let problem = format!("must be one of {}", DRAFTS.join(", "));
                Err(self.problem("/$schema", problem))
            }
        }
    }

    fn reference(&mut self, below: &str, value: &Value) -> Result<usize, Problem> {
        let pointer = value.as_str().and_then(|text| text.strip_prefix('#'));
        let pointer = pointer.filter(|pointer| {
            (pointer.is_empty() || pointer.starts_with('/')) && !pointer.contains('%')
        });
        let rule = "must be a pointer into the same schema, as in #/$defs/address; nothing is \
                    fetched from elsewhere";
        let pointer = pointer.ok_or_else(|| self.problem(below, rule))?;
        match self.source.pointer(pointer) {
            Some(_) => self.place(pointer),
            None => {
                let problem = format!("points to #{}, which is not there", short(pointer));
                Err(self.problem(below, problem))
            }
        }
    }

    fn pattern(&mut self, below: &str, pattern: &str) -> Result<(), Problem> {
        self.patterns += 1;
        if self.patterns > PATTERNS {
            let problem = format!("is one pattern too many; at most {PATTERNS} are allowed");
            return Err(self.problem(below, problem));
        }
        if pattern.chars().count() > PATTERN_CHARACTERS {
            let problem = format!("has a pattern of more than {PATTERN_CHARACTERS} characters");
            return Err(self.problem(below, problem));
        }
        Ok(())
    }

    fn list(&mut self, below: &str, value: &Value) -> Result<Vec<usize>, Problem> {
        let count = value.as_array().map(Vec::len);
        let count = count.ok_or_else(|| self.problem(below, "must be a list of schemas"))?;
        (0..count).map(|index| self.place(&format!("{below}/{index}"))).collect()
    }

    fn map(&mut self, below: &str, value: &Value) -> Result<BTreeMap<String, usize>, Problem> {
        self.map_of(below, value, |_| true)
    }

    fn map_of(
        &mut self,
        below: &str,
        value: &Value,
        keeps: impl Fn(&Value) -> bool,
    ) -> Result<BTreeMap<String, usize>, Problem> {
        let map = value.as_object();
        let map = map.ok_or_else(|| self.problem(below, "must be an object of schemas"))?;
        let kept = map.iter().filter(|(_, value)| keeps(value));
        kept.map(|(name, _)| Ok((name.clone(), self.place(&format!("{below}/{}", escaped(name)))?)))
            .collect()
    }
}

/// A name as a part of a JSON pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
