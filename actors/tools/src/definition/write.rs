//! Writes a definition as JSON; what is at its default is left out.

use serde_json::{Map, Value, json};

use super::read::OUTPUT_BYTES;
use super::{Breaker, Confirmation, Definition, Kind, Quotas, Sla};

impl Definition {
    /// What [`Definition::read`] reads; equal definitions are written equally.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut set = |name: &str, value: Value| {
            map.insert(name.to_owned(), value);
        };
        set("name", self.name.as_str().into());
        set("description", self.description.clone().into());
        set("input", self.input.source().clone());
        set("owner", self.owner.clone().into());
        set("kind", self.kind.word().into());
        set("timeout_ms", self.timeout_ms.into());
        set("backend", self.backend.to_json());
        for (name, truth, default) in [
            ("premium", self.premium, false),
            ("asynchronous", self.asynchronous, false),
            ("idempotent", self.idempotent, self.kind == Kind::ReadOnly),
            ("dry_run", self.dry_run, false),
            ("redact", self.redact, false),
        ] {
            if truth != default {
                set(name, truth.into());
            }
        }
        if self.cost_microdollars != 0 {
            set("cost_microdollars", self.cost_microdollars.into());
        }
        if self.output_bytes_max != OUTPUT_BYTES {
            set("output_bytes_max", self.output_bytes_max.into());
        }
        if !self.egress.is_empty() {
            set("egress", self.egress.iter().map(|egress| egress.to_json()).collect());
        }
        if !self.secrets.is_empty() {
            set("secrets", json!(self.secrets));
        }
        self.set_optional(&mut set);
        Value::Object(map)
    }

    fn set_optional(&self, set: &mut impl FnMut(&str, Value)) {
        if let Some(output) = &self.output {
            set("output", output.source().clone());
        }
        if self.sla != Sla::default() {
            set(
                "sla",
                some([
                    ("p95_ms", self.sla.p95_ms.map(Value::from)),
                    ("note", self.sla.note.clone().map(Value::from)),
                ]),
            );
        }
        if let Some(cache) = &self.cache {
            set("cache", json!({"ttl_seconds": cache.ttl_seconds}));
        }
        match &self.confirmation {
            Confirmation::Never => {}
            Confirmation::Always => set("confirmation", "always".into()),
            Confirmation::When(schema) => set("confirmation", json!({"when": schema.source()})),
        }
        if let Some(room) = &self.room {
            set("isolation", room.isolation.word().into());
            set("limits", room.tier.word().into());
        }
        if let Some(fallback) = &self.fallback {
            set("fallback", json!({"cached_for_seconds": fallback.cached_for_seconds}));
        }
        if self.breaker != Breaker::default() {
            let Breaker { failures, open_ms } = self.breaker;
            set("breaker", json!({"failures": failures, "open_ms": open_ms}));
        }
        if self.quotas != Quotas::default() {
            set(
                "quotas",
                some([
                    ("calls_per_minute", self.quotas.calls_per_minute.map(Value::from)),
                    ("microdollars_per_day", self.quotas.microdollars_per_day.map(Value::from)),
                ]),
            );
        }
        if let Some(deprecation) = &self.deprecation {
            set("deprecation", deprecation.to_json());
        }
    }
}

/// An object of those fields that are there.
fn some<const COUNT: usize>(fields: [(&str, Option<Value>); COUNT]) -> Value {
    let fields = fields.into_iter();
    fields.filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect()
}
