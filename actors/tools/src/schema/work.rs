//! Refuses schemas whose check could take time without a useful bound.
//!
//! A subschema may be applied to one value more than once: by several references, and again at each
//! level of a value that nests. Where these multiply, a small schema and a small value together
//! make work without end. How often is counted here over all values at once: how many times at most
//! one subschema meets one part of a value, level by level.

use std::collections::BTreeMap;

use super::VALUE_DEPTH;
use super::graph::Graph;
use crate::problem::Problem;

/// Subschemas that may apply to one part of a value, by way of one of its schemas.
const IN_PLACE: f64 = 512.0;
/// Times that one subschema may meet one part of a value.
const REPEATS: f64 = 64.0;

/// # Errors
/// When a reference leads back to itself without going deeper into the value, or work multiplies.
pub(super) fn check(field: &str, graph: &Graph) -> Result<(), Problem> {
    let order = upper_first(graph).ok_or_else(|| {
        let problem = "has a $ref that leads back to itself at the same value; let it go through a \
                       property or an item";
        Problem::new(field, problem)
    })?;
    let mut sizes = vec![1.0_f64; graph.nodes.len()];
    for place in order.iter().rev() {
        let below: f64 = graph.nodes[*place].in_place.iter().map(|below| sizes[*below]).sum();
        sizes[*place] += below;
    }
    if sizes.iter().any(|size| *size > IN_PLACE) {
        let problem = format!(
            "applies more than {IN_PLACE} subschemas to one value; make fewer alternatives, or \
             several tools"
        );
        return Err(Problem::new(field, problem));
    }
    let mut counts = vec![0.0; graph.nodes.len()];
    counts[0] = 1.0;
    for _ in 0..=VALUE_DEPTH {
        for place in &order {
            let count = counts[*place];
            graph.nodes[*place].in_place.iter().for_each(|below| counts[*below] += count);
        }
        if counts.iter().any(|count| *count > REPEATS) {
            let problem = format!(
                "could check one value more than {REPEATS} times; let fewer references lead to the \
                 same subschema"
            );
            return Err(Problem::new(field, problem));
        }
        let deeper = deeper(graph, &counts);
        if deeper == counts || deeper.iter().all(|count| *count == 0.0) {
            break;
        }
        counts = deeper;
    }
    Ok(())
}

/// The order in which each node comes before those that apply to the same value; none in a circle.
fn upper_first(graph: &Graph) -> Option<Vec<usize>> {
    let mut waits = vec![0_usize; graph.nodes.len()];
    for below in graph.nodes.iter().flat_map(|node| &node.in_place) {
        waits[*below] += 1;
    }
    let mut order: Vec<usize> = (0..waits.len()).filter(|place| waits[*place] == 0).collect();
    let mut done = 0;
    while let Some(place) = order.get(done).copied() {
        done += 1;
        for below in &graph.nodes[place].in_place {
            waits[*below] -= 1;
            if waits[*below] == 0 {
                order.push(*below);
            }
        }
    }
    (order.len() == waits.len()).then_some(order)
}

/// How often each node meets a part one level deeper: the most over all names of properties, and
/// over entries, for a part has one name.
fn deeper(graph: &Graph, counts: &[f64]) -> Vec<f64> {
    let mut always = vec![0.0; counts.len()];
    let mut others = vec![0.0; counts.len()];
    let mut entries = vec![0.0; counts.len()];
    let mut names = vec![0.0; counts.len()];
    // By child and name: what the named ones add to what applies to all.
    let mut named: BTreeMap<(usize, &str), f64> = BTreeMap::new();
    for (node, count) in graph.nodes.iter().zip(counts).filter(|(_, count)| **count > 0.0) {
        node.any_property.iter().for_each(|child| always[*child] += count);
        node.other_properties.iter().for_each(|child| others[*child] += count);
        node.names.iter().for_each(|child| names[*child] += count);
        for list in [&node.entries, &node.other_entries, &node.any_entry] {
            list.iter().for_each(|child| entries[*child] += count);
        }
        for (name, child) in &node.properties {
            *named.entry((*child, name)).or_default() += count;
            for other in &node.other_properties {
                *named.entry((*other, name)).or_default() -= count;
            }
        }
    }
    let mut most = named.into_iter().fold(vec![0.0_f64; counts.len()], |mut most, entry| {
        let ((child, _), count) = entry;
        most[child] = most[child].max(count);
        most
    });
    for place in 0..most.len() {
        let properties = always[place] + others[place] + most[place];
        most[place] = properties.max(entries[place]).max(names[place]);
    }
    most
}
