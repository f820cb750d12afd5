//! Refuses schemas whose check could take time without a useful bound.
//!
//! A subschema may be applied to one value more than once: by several references, and again at each
//! level of a value that nests. Where these multiply, a small schema and a small value together
//! make work without end. How often is counted here over all values at once: how many times at most
//! one subschema meets one part of a value, level by level.

use std::collections::BTreeMap;

use super::VALUE_DEPTH;
use super::graph::{Graph, Node};
use crate::problem::Problem;

/// Subschemas that may apply to one part of a value, by way of one of its schemas.
const IN_PLACE: f64 = 512.0;
/// Times that one subschema may meet one part of a value.
const REPEATS: f64 = 64.0;
/// Steps that the counting itself may take.
const STEPS: usize = 4_000_000;

/// # Errors
/// When a reference leads back to itself without going deeper into the value, or work multiplies.
pub(super) fn check(field: &str, graph: &Graph) -> Result<(), Problem> {
    let problem = |problem: String| Problem::new(field, problem);
    let large = || problem("has too many subschemas that lead to each other; split it".to_owned());
    let order = upper_first(graph).ok_or_else(|| {
        let text = "has a $ref that leads back to itself at the same value; let it go through a \
                    property or an item";
        problem(text.to_owned())
    })?;
    let mut sizes = vec![1.0_f64; graph.nodes.len()];
    for place in order.iter().rev() {
        let below: f64 = graph.nodes[*place].in_place.iter().map(|below| sizes[*below]).sum();
        sizes[*place] += below;
    }
    if sizes.iter().any(|size| *size > IN_PLACE) {
        let text = "applies more than 512 subschemas to one value; make fewer alternatives, or \
                    several tools";
        return Err(problem(text.to_owned()));
    }
    let mut work = Work::of(graph, &order).ok_or_else(large)?;
    let mut counts = vec![0.0; graph.nodes.len()];
    work.add(0, 1.0, &mut counts);
    for _ in 0..=VALUE_DEPTH {
        if counts.iter().any(|count| *count > REPEATS) {
            let text = "could check one value more than 64 times; let fewer references lead to the \
                        same subschema";
            return Err(problem(text.to_owned()));
        }
        let deeper = work.deeper(&counts);
        if work.steps > STEPS {
            return Err(large());
        }
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

/// Where a part lies in its value; a part has one such key, and those of other keys do not add up.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'g> {
    Name(&'g str),
    Place(usize),
}

struct Work<'g> {
    graph: &'g Graph,
    /// Of each node: the nodes that apply to the same value by way of it, and how often; it is one.
    closures: Vec<Vec<(usize, f64)>>,
    steps: usize,
}

impl<'g> Work<'g> {
    fn of(graph: &'g Graph, order: &[usize]) -> Option<Work<'g>> {
        let closures = vec![Vec::new(); graph.nodes.len()];
        let mut work = Work { graph, closures, steps: 0 };
        for place in order.iter().rev() {
            let mut closure = BTreeMap::from([(*place, 1.0)]);
            for below in &graph.nodes[*place].in_place {
                for (node, count) in &work.closures[*below] {
                    *closure.entry(*node).or_default() += count;
                    work.steps += 1;
                }
            }
            work.closures[*place] = closure.into_iter().collect();
            if work.steps > STEPS {
                return None;
            }
        }
        Some(work)
    }

    fn add(&mut self, node: usize, count: f64, to: &mut [f64]) {
        let closure = &self.closures[node];
        self.steps += closure.len();
        closure.iter().for_each(|(below, times)| to[*below] += count * times);
    }

    /// How often each node meets a part one level deeper, at most: over the names of properties,
    /// and over the places of entries.
    fn deeper(&mut self, counts: &[f64]) -> Vec<f64> {
        let mut most = vec![0.0; counts.len()];
        let named = |node: &'g Node| -> Vec<(Key<'g>, usize)> {
            node.properties.iter().map(|(name, child)| (Key::Name(name), *child)).collect()
        };
        let placed = |node: &'g Node| -> Vec<(Key<'g>, usize)> {
            let entries = node.entries.iter().enumerate();
            entries.map(|(place, child)| (Key::Place(place), *child)).collect()
        };
        self.parts(
            counts,
            named,
            |node| &node.other_properties,
            |node| &node.any_property,
            &mut most,
        );
        self.parts(counts, placed, |node| &node.other_entries, |node| &node.any_entry, &mut most);
        self.parts(counts, |_| Vec::new(), |node| &node.names, |_| &[], &mut most);
        most
    }

    fn parts(
        &mut self,
        counts: &[f64],
        keyed: impl Fn(&'g Node) -> Vec<(Key<'g>, usize)>,
        others: impl Fn(&'g Node) -> &'g [usize],
        always: impl Fn(&'g Node) -> &'g [usize],
        most: &mut [f64],
    ) {
        let graph = self.graph;
        // What meets a part that no node has a key for.
        let mut base = vec![0.0; counts.len()];
        let mut groups: BTreeMap<Key<'g>, Vec<(usize, usize)>> = BTreeMap::new();
        for (place, node) in graph.nodes.iter().enumerate().filter(|(at, _)| counts[*at] > 0.0) {
            for child in others(node).iter().chain(always(node)) {
                self.add(*child, counts[place], &mut base);
            }
            for (key, child) in keyed(node) {
                groups.entry(key).or_default().push((place, child));
                self.steps += 1;
            }
        }
        most.iter_mut().zip(&base).for_each(|(most, base)| *most = most.max(*base));
        let mut extra = vec![0.0; counts.len()];
        for group in groups.into_values() {
            if self.steps > STEPS {
                // The caller refuses the schema.
                return;
            }
            let mut touched = Vec::new();
            for (place, child) in group {
                let count = counts[place];
                self.add(child, count, &mut extra);
                touched.push(child);
                for other in others(&graph.nodes[place]) {
                    self.add(*other, -count, &mut extra);
                    touched.push(*other);
                }
            }
            let reached = touched.iter().flat_map(|node| &self.closures[*node]);
            for (node, _) in reached {
                most[*node] = most[*node].max(base[*node] + extra[*node]);
            }
            for node in touched {
                self.closures[node].iter().for_each(|(below, _)| extra[*below] = 0.0);
            }
        }
    }
}
