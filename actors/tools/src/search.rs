//! Finds tools by words, and by meaning where vectors are at hand, so that an agent need not load
//! hundreds of schemas.

mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::name::ToolName;
use crate::problem::Problem;
use crate::registry::Tool;
use words::words;

/// BM25: how soon more of the same word counts less, and how much long texts are held back.
const SATURATION: f64 = 1.2;
const LENGTH: f64 = 0.75;
/// What a word counts for in a tool's name, its description, and its properties' names.
const NAME: f64 = 3.0;
const DESCRIPTION: f64 = 1.0;
const PROPERTIES: f64 = 1.0;
/// Reciprocal rank fusion: how little the first ranks stand out (Cormack, Clarke, Buettcher 2009).
const RANK: f64 = 60.0;
/// Most different words of a query that count.
const QUERY_WORDS: usize = 64;
/// Most hits.
const HITS: usize = 200;

/// Vectors of length 1, made by one encoder.
#[derive(Debug, Clone, Copy)]
pub struct Vectors<'v> {
    /// Of tools; one without a vector is found by its words only.
    pub tools: &'v BTreeMap<ToolName, Vec<f32>>,
    pub query: &'v [f32],
}

/// Why a tool was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Why {
    /// Words of the query that the tool has, in the query's order, as they are compared.
    pub words: Vec<String>,
    /// The score of BM25, and the rank by it, from 1.
    pub lexical: Option<(f64, usize)>,
    /// The cosine, and the rank by it, from 1.
    pub vector: Option<(f64, usize)>,
}

/// A tool that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub name: ToolName,
    /// The score of BM25 alone, or of the fusion of both ranks; compare it within one answer only.
    pub score: f64,
    pub why: Why,
}

/// The words of tools. Make it again when the registry changes.
#[derive(Debug, Clone, Default)]
pub struct SearchIndex {
    tools: Vec<Entry>,
    /// By word: the place of each tool that has it, with its weight there.
    places: BTreeMap<String, Vec<(usize, f64)>>,
    length_mean: f64,
}

#[derive(Debug, Clone)]
struct Entry {
    name: ToolName,
    length: f64,
}

impl SearchIndex {
    /// Of one version of each tool, such as [`Registry::defaults`](crate::Registry::defaults).
    pub fn new<'t>(tools: impl IntoIterator<Item = &'t Tool>) -> SearchIndex {
        let mut index = SearchIndex::default();
        for tool in tools {
            let definition = &tool.definition;
            let mut weights: BTreeMap<String, f64> = BTreeMap::new();
            let properties = definition.input.property_names().join(" ");
            let texts = [
                (definition.name.as_str(), NAME),
                (definition.description.as_str(), DESCRIPTION),
                (properties.as_str(), PROPERTIES),
            ];
            for (text, weight) in texts {
                words(text).for_each(|word| *weights.entry(word).or_default() += weight);
            }
            let place = index.tools.len();
            let length = weights.values().sum();
            index.tools.push(Entry { name: definition.name.clone(), length });
            for (word, weight) in weights {
                index.places.entry(word).or_default().push((place, weight));
            }
        }
        let total: f64 = index.tools.iter().map(|entry| entry.length).sum();
        index.length_mean = total / (index.tools.len().max(1) as f64);
        index
    }

    /// The best `limit` (1 to 200) tools that `is_visible` lets through, the best first; of equal
    /// ones the first by name. With vectors, both ranks are blended.
    ///
    /// # Errors
    /// When a tool's vector has another length than the query's, or a vector is none.
    pub fn search(
        &self,
        query: &str,
        vectors: Option<Vectors<'_>>,
        limit: usize,
        is_visible: impl Fn(&ToolName) -> bool,
    ) -> Result<Vec<Hit>, Problem> {
        let mut found: BTreeMap<&ToolName, Why> = BTreeMap::new();
        let lexical = self.lexical(query, &mut found);
        found.retain(|name, _| is_visible(name));
        for (rank, (name, score)) in ranked(lexical, &is_visible) {
            found.entry(name).or_default().lexical = Some((score, rank));
        }
        if let Some(vectors) = &vectors {
            for (rank, (name, cosine)) in ranked(self.cosines(vectors)?, &is_visible) {
                found.entry(name).or_default().vector = Some((cosine, rank));
            }
        }
        let mut hits: Vec<Hit> = found
            .into_iter()
            .map(|(name, why)| {
                let score = match vectors {
                    None => why.lexical.map_or(0.0, |(score, _)| score),
                    Some(_) => [why.lexical, why.vector]
                        .into_iter()
                        .flatten()
                        .map(|(_, rank)| 1.0 / (RANK + rank as f64))
                        .sum(),
                };
                Hit { name: name.clone(), score, why }
            })
            .collect();
        hits.sort_by(|one, other| {
            other.score.total_cmp(&one.score).then(one.name.cmp(&other.name))
        });
        hits.truncate(limit.clamp(1, HITS));
        Ok(hits)
    }

    /// The tools that have a word of the query, with their scores; the words go into `found`.
    fn lexical<'i>(
        &'i self,
        query: &str,
        found: &mut BTreeMap<&'i ToolName, Why>,
    ) -> Vec<(&'i ToolName, f64)> {
        let mut asked: Vec<String> = Vec::new();
        for word in words(query) {
            if asked.len() < QUERY_WORDS && !asked.contains(&word) {
                asked.push(word);
            }
        }
        let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
        let count = self.tools.len() as f64;
        for word in &asked {
            let Some(places) = self.places.get(word) else { continue };
            let having = places.len() as f64;
            let rarity = (1.0 + (count - having + 0.5) / (having + 0.5)).ln();
            for (place, weight) in places {
                let length = self.tools[*place].length / self.length_mean;
                let held_back = SATURATION * (1.0 - LENGTH + LENGTH * length);
                let score = rarity * weight * (SATURATION + 1.0) / (weight + held_back);
                *scores.entry(*place).or_default() += score;
                found.entry(&self.tools[*place].name).or_default().words.push(word.clone());
            }
        }
        scores.into_iter().map(|(place, score)| (&self.tools[place].name, score)).collect()
    }

    /// The tools whose vectors point at least a little to where the query's does.
    fn cosines(&self, vectors: &Vectors<'_>) -> Result<Vec<(&ToolName, f64)>, Problem> {
        let dimensions = vectors.query.len();
        let wrong = |field: String, problem: String| Err(Problem::new(field, problem));
        if dimensions == 0 || !is_unit(vectors.query) {
            return wrong(
                "query".to_owned(),
                "is no vector of length 1; encode it again".to_owned(),
            );
        }
        let mut cosines = Vec::new();
        for entry in &self.tools {
            let Some(vector) = vectors.tools.get(&entry.name) else { continue };
            let field = || format!("tools.{}", entry.name);
            if vector.len() != dimensions {
                let problem = format!(
                    "has {} numbers and the query {dimensions}; encode both with one encoder",
                    vector.len()
                );
                return wrong(field(), problem);
            }
            if !is_unit(vector) {
                return wrong(field(), "is no vector of length 1; encode it again".to_owned());
            }
            let pairs = vector.iter().zip(vectors.query);
            let cosine: f64 = pairs.map(|(one, other)| f64::from(*one) * f64::from(*other)).sum();
            if cosine > 0.0 {
                cosines.push((&entry.name, cosine));
            }
        }
        Ok(cosines)
    }
}

fn is_unit(vector: &[f32]) -> bool {
    let square: f64 = vector.iter().map(|number| f64::from(*number).powi(2)).sum();
    // Not a comparison with bounds alone: what is no number fits none.
    (0.98..=1.02).contains(&square)
}

/// The visible ones with their ranks, from 1, the best first, of equal ones the first by name.
fn ranked(
    mut scores: Vec<(&ToolName, f64)>,
    is_visible: impl Fn(&ToolName) -> bool,
) -> impl Iterator<Item = (usize, (&ToolName, f64))> {
    scores.retain(|(name, _)| is_visible(name));
    scores.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(other.0)));
    scores.into_iter().enumerate().map(|(place, scored)| (place + 1, scored))
}
