//! The tools that there are, as their owner publishes them.

use serde_json::{Value, json};

/// The one team there is.
pub(super) const TEAM: &str = "acme";
/// Longest answer that is taken, in bytes.
pub(super) const OUTPUT_BYTES: u64 = 1_000;
/// How long a call may take, in ms.
const TIMEOUT_MS: u64 = 5_000;

/// What a repetition does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// It changes nothing.
    Reads,
    /// It knows the ids of its calls, and does one once.
    KnowsIds,
    /// Twice is twice.
    Forgets,
}

/// A tool of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) nature: Nature,
    /// Somebody must have allowed each call.
    pub(super) asks: bool,
    /// Of a call, in millionths of a dollar.
    pub(super) price: u64,
}

pub(super) const CATALOG: [Entry; 4] = [
    Entry { name: "look", nature: Nature::Reads, asks: false, price: 3 },
    Entry { name: "reserve", nature: Nature::KnowsIds, asks: false, price: 50 },
    Entry { name: "send", nature: Nature::Forgets, asks: false, price: 700 },
    Entry { name: "pay", nature: Nature::Forgets, asks: true, price: 9_000 },
];

impl Entry {
    pub(super) fn named(name: &str) -> Option<Entry> {
        CATALOG.into_iter().find(|entry| entry.name == name)
    }

    pub(super) fn document(self) -> Value {
        let number = json!({"type": "object", "properties": {"n": {"type": "integer"}},
                            "required": ["n"]});
        json!({
            "name": self.name, "description": "A tool of the simulation.", "owner": TEAM,
            "kind": if self.nature == Nature::Reads { "read_only" } else { "stateful" },
            "input": number, "output": number,
            "cost_microdollars": self.price, "timeout_ms": TIMEOUT_MS,
            "asynchronous": self.nature != Nature::Reads,
            "idempotent": self.nature != Nature::Forgets,
            "confirmation": if self.asks { "always" } else { "never" },
            "output_bytes_max": OUTPUT_BYTES,
            "breaker": {"failures": 2, "open_ms": 3_000},
            "backend": {"http": {"url": "https://service.example.com/do"}},
        })
    }
}

/// Lets the team call all of them.
pub(super) fn grant() -> Value {
    json!({"id": "all", "team": TEAM, "tool": "*"})
}
