//! `headwater prompts eval` and `evals`: what a version is worth over a golden set.

use clap::Args;
use serde_json::{Value, json};

use super::ShowFlags;
use super::node::{Node, checked_name, list};
use super::output::{Output, cell, moment};
use super::promotion::look_again;
use crate::config::Settings;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct EvalFlags {
    name: String,
    #[arg(long, value_name = "N")]
    version: u64,
    /// The golden set's name.
    #[arg(long, value_name = "NAME")]
    golden_set: String,
    /// What pairwise judges compare with; the version in production without it.
    #[arg(long, value_name = "VERSION")]
    baseline: Option<u64>,
    /// Ask no more than its first cases.
    #[arg(long, value_name = "CASES")]
    limit: Option<u64>,
    /// Stop before it costs more, in millionths of a dollar.
    #[arg(long, value_name = "MICRO_USD")]
    budget_micro_usd: Option<u64>,
    /// Say what it would cost; asks no model.
    #[arg(long)]
    dry_run: bool,
    /// Print the cases when all are judged; fails when it is stopped before.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    show: ShowFlags,
}

pub(super) fn run(
    flags: &EvalFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let node = Node::new(&flags.show.node, settings)?;
    let name = checked_name(&flags.name)?;
    let mut body = json!({"version": flags.version, "golden_set": flags.golden_set});
    for (field, value) in [
        ("baseline", flags.baseline),
        ("limit", flags.limit),
        ("budget_micro_usd", flags.budget_micro_usd),
    ] {
        if let Some(value) = value {
            body[field] = value.into();
        }
    }
    if flags.dry_run {
        body["dry_run"] = true.into();
    }
    let path = format!("/v1/prompts/{name}/evals");
    let mut told = node.post(&path, &body)?;
    if flags.dry_run {
        let estimate = &told["estimate"];
        return match flags.show.json {
            true => out.json(&told),
            false => out.line(format_args!(
                "{} cases, about {} tokens and {}",
                estimate["cases"],
                estimate["tokens"],
                dollars(&estimate["micro_usd"])
            )),
        };
    }
    let path = format!("{path}/{}", told["id"]);
    while flags.wait && told["state"] == "running" {
        told = look_again(&node, &path)?;
    }
    match flags.show.json {
        true => out.json(&told)?,
        false => print(&told, out)?,
    }
    if told["state"] == "stopped" {
        let (id, finished, cases) = (&told["id"], &told["finished"], &told["cases"]);
        return Err(Failure::broken(format!(
            "eval {id} of {name} was stopped after {finished} of {cases} cases; give it a larger \
             budget, or look at the node's log"
        )));
    }
    if told["state"] == "running" && !flags.show.json {
        out.line(format_args!("see `headwater prompts evals {name} {}`", told["id"]))?;
    }
    Ok(())
}

pub(super) fn look(
    name: &str,
    id: Option<u64>,
    show: &ShowFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let (node, name) = (Node::new(&show.node, settings)?, checked_name(name)?);
    let path = format!("/v1/prompts/{name}/evals");
    let told = match id {
        Some(id) => node.get(&format!("{path}/{id}"))?,
        None => node.get(&path)?,
    };
    match (show.json, id) {
        (true, _) => out.json(&told),
        (false, Some(_)) => print(&told, out),
        (false, None) => table(&told, out),
    }
}

fn table(told: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    let row = |eval: &Value| {
        vec![
            cell(&eval["id"]),
            cell(&eval["version"]),
            set(eval),
            cell(&eval["state"]),
            score(&eval["score"]),
            format!("{} of {}", eval["finished"], eval["cases"]),
            dollars(&eval["cost_micro_usd"]),
            moment(&eval["created_ms"]),
            cell(&eval["by"]),
        ]
    };
    let rows: Vec<Vec<String>> = list(&told["data"]).iter().map(row).collect();
    let head = ["id", "version", "golden set", "state", "score", "cases", "cost", "made", "by"];
    out.table(&head, &rows)
}

fn print(eval: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    out.line(format_args!(
        "eval {} of version {} over {}: {}, {} of {} cases, score {}, {}",
        eval["id"],
        eval["version"],
        set(eval),
        cell(&eval["state"]),
        eval["finished"],
        eval["cases"],
        score(&eval["score"]),
        dollars(&eval["cost_micro_usd"]),
    ))?;
    let pairs = &eval["pairwise"];
    if !pairs.is_null() {
        let rate = &pairs["win_rate"];
        out.line(format_args!(
            "against version {}: {} won, {} tied, {} lost; win rate {} ({} to {}); the orders \
             disagreed on {}",
            pairs["baseline"],
            pairs["wins"],
            pairs["ties"],
            pairs["losses"],
            score(&rate["estimate"]),
            score(&rate["lower"]),
            score(&rate["upper"]),
            pairs["orders_disagreed"],
        ))?;
    }
    let row = |result: &Value| {
        vec![
            cell(&result["case"]),
            score(&result["score"]),
            cell(&result["passed"]),
            format!("{} ms", result["latency_ms"]),
            dollars(&result["cost_micro_usd"]),
            cell(&result["reason"]),
        ]
    };
    let rows: Vec<Vec<String>> = list(&eval["results"]).iter().map(row).collect();
    match rows.is_empty() {
        true => Ok(()),
        false => out.table(&["case", "score", "passed", "latency", "cost", "reason"], &rows),
    }
}

fn set(eval: &Value) -> String {
    format!("{} (version {})", cell(&eval["golden_set"]), eval["golden_version"])
}

fn score(score: &Value) -> String {
    score.as_f64().map_or("-".to_owned(), |score| format!("{score:.3}"))
}

fn dollars(micro_usd: &Value) -> String {
    let micro_usd = micro_usd.as_f64().unwrap_or_default();
    format!("{:.6} dollars", micro_usd / 1_000_000.0)
}
