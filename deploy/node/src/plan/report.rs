//! The plan as text for people and as JSON for programs.

use std::fmt::Write;

use headwater_embedding::plan::{Demand, HOURS_A_MONTH, Plan, Supply};
use serde_json::{Value, json};

/// A plan with what it was made from.
pub(super) struct Told<'a> {
    pub(super) model: &'a str,
    pub(super) demand: &'a Demand,
    pub(super) supply: &'a Supply,
    pub(super) plan: &'a Plan,
}

impl Told<'_> {
    pub(super) fn text(&self, source: &str) -> String {
        let Told { model, demand, supply, plan } = self;
        let mut text = String::new();
        let mut line = |label: &str, says: String| {
            let _ = writeln!(text, "{label:<12} {says}");
        };
        line("model", format!("{model}, {} dimensions", demand.dimensions));
        let (qps, tokens) = (grouped(demand.queries_per_s), grouped(demand.query_tokens));
        let load = grouped(plan.load_tokens_per_s);
        line("load", format!("{qps} queries/s × {tokens} tokens = {load} tokens/s"));
        let rate = grouped(supply.tokens_per_s);
        line("throughput", format!("{rate} tokens/s a replica ({source})"));
        let percent = grouped(supply.headroom * 100.0);
        line(
            "replicas",
            format!("{} bare, {} with {percent} % headroom", plan.replicas_bare, plan.replicas),
        );
        let bulk = &plan.bulk;
        let (vectors, tokens) = (grouped(bulk.vectors), grouped(bulk.tokens));
        line("documents", format!("{vectors} chunks, {tokens} tokens"));
        line(
            "bulk",
            format!(
                "{} replica hours ({} on one replica)",
                grouped(bulk.replica_hours),
                duration(bulk.replica_hours)
            ),
        );
        if let Some(hours) = bulk.spare_hours {
            line("", format!("{} on what the fleet has left beside its queries", duration(hours)));
        }
        if let (Some(days), Some(replicas)) = (supply.bulk_days, bulk.deadline_replicas) {
            line("", format!("{replicas} more replicas to be done in {} days", grouped(days)));
        }
        text.push_str(&self.storage_text());
        text.push_str(&self.cost_text());
        text
    }

    fn storage_text(&self) -> String {
        let Told { demand, supply, plan, .. } = self;
        let mut text = String::new();
        for (place, storage) in plan.storage.iter().enumerate() {
            let label = if place == 0 { "storage" } else { "" };
            let _ = writeln!(
                text,
                "{label:<12} {:<7} {:>8} vectors, {:>8} with index",
                storage.format.name(),
                bytes(storage.vectors_bytes),
                bytes(storage.indexed_bytes),
            );
        }
        let graph = supply.graph.bytes_per_vector();
        let _ = writeln!(
            text,
            "{:<12} index: {graph:.0} bytes a vector (HNSW, M = {}, with key), {} {}; {} bytes a \
             fp32 vector",
            "",
            supply.graph.neighbours,
            supply.copies,
            if supply.copies == 1 { "copy" } else { "copies" },
            demand.dimensions * 4,
        );
        text
    }

    fn cost_text(&self) -> String {
        let (plan, mut text) = (self.plan, String::new());
        if let (Some(month), Some(price)) = (plan.cost_per_month, self.supply.price_per_hour) {
            let _ = writeln!(
                text,
                "{:<12} {} a month for {} replicas at {price} an hour, {HOURS_A_MONTH} hours",
                "cost",
                grouped(month),
                plan.replicas,
            );
        }
        if let Some(bulk) = plan.bulk.cost {
            let _ = writeln!(text, "{:<12} {} once for the documents", "", grouped(bulk));
        }
        text
    }

    pub(super) fn json(&self, source: &str) -> Value {
        let Told { model, demand, supply, plan } = self;
        let storage: Vec<Value> = plan
            .storage
            .iter()
            .map(|storage| {
                json!({
                    "format": storage.format.name(),
                    "vectors_bytes": storage.vectors_bytes,
                    "indexed_bytes": storage.indexed_bytes,
                })
            })
            .collect();
        json!({
            "model": model,
            "dimensions": demand.dimensions,
            "tokens_per_s_per_replica": supply.tokens_per_s,
            "throughput_source": source,
            "load_tokens_per_s": plan.load_tokens_per_s,
            "replicas_bare": plan.replicas_bare,
            "headroom": supply.headroom,
            "replicas": plan.replicas,
            "bulk": {
                "vectors": plan.bulk.vectors,
                "tokens": plan.bulk.tokens,
                "replica_hours": plan.bulk.replica_hours,
                "spare_hours": plan.bulk.spare_hours,
                "deadline_days": supply.bulk_days,
                "deadline_replicas": plan.bulk.deadline_replicas,
                "cost": plan.bulk.cost,
            },
            "storage": storage,
            "copies": supply.copies,
            "index_bytes_per_vector": supply.graph.bytes_per_vector(),
            "cost_per_month": plan.cost_per_month,
        })
    }
}

/// With thousands set apart; up to two decimals where the number is small.
pub(super) fn grouped(value: f64) -> String {
    let text = if value.abs() < 1000.0 {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.0}")
    };
    let (whole, rest) = text.split_once('.').map_or((&*text, None), |(a, b)| (a, Some(b)));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(rest) = rest {
        let _ = write!(grouped, ".{rest}");
    }
    grouped
}

/// In powers of 1,000, as disks are sold, with three significant digits.
pub(super) fn bytes(value: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (value, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    let number = format!("{value:.decimals$}");
    format!("{number} {}", units[unit])
}

fn duration(hours: f64) -> String {
    if hours < 48.0 {
        format!("{} hours", grouped(hours))
    } else {
        format!("{} days", grouped(hours / 24.0))
    }
}
