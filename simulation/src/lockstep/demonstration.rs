//! A small workload that proves the harness: greetings over `ractor_cluster`, envelopes and
//! streams over the transport, and a counter in the shared store.

mod greeter;
mod node;

use std::collections::BTreeMap;

use headwater_storage::Pair;
use serde::Deserialize;

use super::workload::{Clients, Workload, WorkloadKind};

/// The key of the counter.
const COUNTER: &[u8] = b"counter";
/// After the last fault, so long may it take until every request succeeds.
const RECOVERY_MS: u64 = 6_000;
/// A request that is not answered after so long is lost.
const PATIENCE_MS: u64 = 30_000;

pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "demonstration",
    clients: |parameters| {
        let parameters = Parameters::read(parameters)?;
        Ok(Box::new(Demonstration { parameters, ..Demonstration::default() }))
    },
    program: |parameters| {
        let Parameters { operation_rows, .. } = Parameters::read(parameters)?;
        Ok(Box::new(node::Demonstrator { operation_rows }))
    },
};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Parameters {
    /// Longest time between two requests.
    interval_ms: u64,
    /// Off: a planted bug, for the tests of the harness. An add is then tried again without
    /// looking whether it has happened.
    operation_rows: bool,
}

impl Parameters {
    fn read(table: &toml::Table) -> Result<Parameters, String> {
        table.clone().try_into().map_err(|error| error.to_string())
    }
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters { interval_ms: 60, operation_rows: true }
    }
}

/// The clients' side.
#[derive(Default)]
struct Demonstration {
    parameters: Parameters,
    next_ms: u64,
    asked: u64,
    waiting: BTreeMap<u64, Asked>,
    adds: u64,
    adds_done: u64,
}

struct Asked {
    at_ms: u64,
    node: usize,
    incarnation: u64,
    what: String,
    /// Late enough after the last fault that it must succeed.
    must_succeed: bool,
}

impl Workload for Demonstration {
    fn step(&mut self, clients: &mut Clients<'_>) {
        if clients.now_ms < self.next_ms {
            return;
        }
        self.next_ms = clients.now_ms + clients.chance.between(1, self.parameters.interval_ms);
        let node = clients.chance.place(clients.nodes);
        if !clients.is_running(node) {
            return;
        }
        self.asked += 1;
        let number = self.asked;
        let peer = (node + 1 + clients.chance.place(clients.nodes.max(2) - 1)) % clients.nodes;
        let what = match clients.chance.place(4) {
            0 => format!("add {number}"),
            1 => format!("greet {number} {peer}"),
            2 => format!("echo {number} {peer}"),
            _ => format!("stream {number} {peer} {}", clients.chance.between(1, 600_000)),
        };
        self.adds += u64::from(what.starts_with("add"));
        let must_succeed = clients.healed_since_ms().is_some_and(|ms| ms >= RECOVERY_MS);
        let (at_ms, incarnation) = (clients.now_ms, clients.incarnation(node));
        clients.send(node, what.clone().into_bytes());
        self.waiting.insert(number, Asked { at_ms, node, incarnation, what, must_succeed });
    }

    fn result(&mut self, clients: &mut Clients<'_>, node: usize, result: &[u8]) {
        let text = String::from_utf8_lossy(result).into_owned();
        let mut words = text.splitn(3, ' ');
        let (verb, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let rest = words.next().unwrap_or_default();
        let Some(asked) = number.parse().ok().and_then(|number| self.waiting.remove(&number))
        else {
            return clients.violated("every_answer_was_asked_for", text);
        };
        let done = rest.starts_with("ok");
        let took_ms = clients.now_ms - asked.at_ms;
        clients.note(format!("{} by n{}: {rest} after {took_ms} ms", asked.what, node + 1));
        clients.count(&format!("{verb} {}", if done { "done" } else { "failed" }));
        self.adds_done += u64::from(verb == "add" && done);
        if asked.must_succeed && !done {
            clients.violated("a_healed_cluster_serves", text);
        }
    }

    fn end(&mut self, clients: &mut Clients<'_>, reports: &[(usize, Vec<u8>)], store: &[Pair]) {
        for (node, report) in reports {
            clients.note(format!("n{} reports: {}", node + 1, String::from_utf8_lossy(report)));
        }
        let row = store.iter().find(|(key, _)| key == COUNTER);
        let row = row.and_then(|(_, value)| value.get(..8)?.try_into().ok());
        let counter = row.map_or(0, u64::from_le_bytes);
        clients.note(format!("{} of {} adds done, counter {counter}", self.adds_done, self.adds));
        if counter < self.adds_done || counter > self.adds {
            let seen = format!("{counter}, with {} of {} adds done", self.adds_done, self.adds);
            clients.violated("each_add_counts_once", seen);
        }
        for asked in self.waiting.values() {
            let lived = clients.incarnation(asked.node) == asked.incarnation
                && clients.is_running(asked.node);
            if lived && clients.now_ms - asked.at_ms > PATIENCE_MS {
                clients.violated("every_request_ends", format!("n{}: {}", asked.node, asked.what));
            }
        }
    }
}
