//! `headwater prompts promote`, `approve`, `override`, `withdraw` and `rollback`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::ShowFlags;
use super::node::{Node, checked_name, list};
use super::output::{Output, cell};
use crate::config::Settings;
use crate::failure::Failure;

/// Between two looks at a promotion or an eval.
pub(super) const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 1_000 });
/// Looks in a row that may fail before --wait gives up: a node may restart meanwhile.
const PATIENCE: u32 = 30;

#[derive(Debug, Args)]
pub(crate) struct PromoteFlags {
    name: String,
    /// A promotion that is ready: puts its version into production.
    #[arg(conflicts_with_all = ["version", "reason", "canary", "auto"])]
    id: Option<u64>,
    /// The version that begins its way to production.
    #[arg(long, value_name = "N", required_unless_present = "id")]
    version: Option<u64>,
    /// Why; stands in the prompt's history.
    #[arg(long, value_name = "WHY", required_unless_present = "id")]
    reason: Option<String>,
    /// Try it on this share of the requests, in place of beside production.
    #[arg(long, value_name = "PER_MILLE", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    canary: Option<u32>,
    /// Put it into production as soon as all gates are passed.
    #[arg(long)]
    auto: bool,
    /// Tell each gate as it is passed; fails when the promotion does.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    show: ShowFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RollBackFlags {
    name: String,
    /// A version that was in production; the one before without it.
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Why; stands in the prompt's history.
    #[arg(long, value_name = "WHY")]
    reason: String,
    #[command(flatten)]
    show: ShowFlags,
}

#[derive(Debug, Args)]
pub(crate) struct PromotionFlags {
    name: String,
    /// The promotion's number, as `show` tells it.
    id: u64,
    #[command(flatten)]
    show: ShowFlags,
}

#[derive(Debug, Args)]
pub(crate) struct OverrideFlags {
    #[command(flatten)]
    promotion: PromotionFlags,
    /// Why its gates should not count.
    #[arg(long, value_name = "WHY")]
    reason: String,
}

pub(super) fn promote(
    flags: &PromoteFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let node = Node::new(&flags.show.node, settings)?;
    let name = checked_name(&flags.name)?;
    let promotions = format!("/v1/prompts/{name}/promotions");
    let begun = match flags.id {
        Some(id) => node.post(&format!("{promotions}/{id}/promote"), &json!({}))?,
        None => {
            let mut body =
                json!({"version": flags.version, "reason": flags.reason, "auto": flags.auto});
            if let Some(per_mille) = flags.canary {
                body["canary_per_mille"] = per_mille.into();
            }
            node.post(&promotions, &body)?
        }
    };
    if flags.wait {
        return wait(&node, name, begun, flags.show.json, out);
    }
    print(&begun, &flags.show, out)
}

pub(super) fn roll_back(
    flags: &RollBackFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let node = Node::new(&flags.show.node, settings)?;
    let name = checked_name(&flags.name)?;
    let mut body = json!({ "reason": flags.reason });
    if let Some(version) = flags.to {
        body["to_version"] = version.into();
    }
    let head = node.post(&format!("/v1/prompts/{name}/rollback"), &body)?;
    match flags.show.json {
        true => out.json(&head),
        false => out.line(format_args!("{name}: version {} serves again", head["production"])),
    }
}

pub(super) fn approve(
    flags: &PromotionFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    act(flags, "approve", &json!({}), settings, out)
}

pub(super) fn withdraw(
    flags: &PromotionFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    act(flags, "withdraw", &json!({}), settings, out)
}

pub(super) fn override_gates(
    flags: &OverrideFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    act(&flags.promotion, "override", &json!({"reason": flags.reason}), settings, out)
}

fn act(
    flags: &PromotionFlags,
    what: &str,
    body: &Value,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let node = Node::new(&flags.show.node, settings)?;
    let (name, id) = (checked_name(&flags.name)?, flags.id);
    let path = format!("/v1/prompts/{name}/promotions/{id}/{what}");
    print(&node.post(&path, body)?, &flags.show, out)
}

fn print(promotion: &Value, show: &ShowFlags, out: &mut Output<'_>) -> Result<(), Failure> {
    match show.json {
        true => out.json(promotion),
        false => tell(promotion, out),
    }
}

/// A promotion with all of its gates.
pub(super) fn tell(promotion: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    head(promotion, out)?;
    list(&promotion["gates"]).iter().try_for_each(|one| gate(one, out))?;
    let asked = &promotion["override"];
    if asked.is_object() {
        let approved = asked["approved_by"].as_str().map_or_else(
            || "; it takes a second person: `headwater prompts approve`".to_owned(),
            |by| format!(", approved by {by}"),
        );
        let (by, reason) = (cell(&asked["by"]), cell(&asked["reason"]));
        out.line(format_args!("  override asked for by {by} ({reason}){approved}"))?;
    }
    waiting(promotion, out)
}

fn head(promotion: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    out.line(format_args!(
        "promotion {} of version {} (from {}) by {}: {}",
        promotion["id"],
        promotion["version"],
        cell(&promotion["from"]),
        cell(&promotion["by"]),
        cell(&promotion["reason"]),
    ))
}

fn gate(gate: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    let (state, name) = (cell(&gate["state"]), cell(&gate["gate"]));
    let line = format!("  {state:<8} {name:<11} {}", cell(&gate["detail"]));
    out.line(line.trim_end())
}

fn waiting(promotion: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    let stage = cell(&promotion["stage"]);
    match promotion["waiting_for"].as_str() {
        Some(text) if !text.is_empty() => {
            out.line(format_args!("{stage}: waits for {}", cell(&promotion["waiting_for"])))
        }
        _ => out.line(stage),
    }
}

/// Looks until the promotion ends, or waits for somebody.
fn wait(
    node: &Node<'_>,
    name: &str,
    mut promotion: Value,
    is_json: bool,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let path = format!("/v1/prompts/{name}/promotions/{}", promotion["id"]);
    let (mut told, mut stage) = (BTreeSet::new(), Value::Null);
    if !is_json {
        head(&promotion, out)?;
    }
    loop {
        if !is_json {
            for one in list(&promotion["gates"]) {
                let is_over =
                    ["passed", "failed", "skipped"].iter().any(|end| one["state"] == *end);
                if is_over && told.insert(cell(&one["gate"])) {
                    gate(one, out)?;
                }
            }
            if promotion["stage"] != stage {
                stage = promotion["stage"].clone();
                waiting(&promotion, out)?;
            }
        }
        if let Some(end) = end_of(name, &promotion) {
            if is_json {
                out.json(&promotion)?;
            }
            return end;
        }
        promotion = look_again(node, &path)?;
    }
}

/// How it ended; None while it goes on.
fn end_of(name: &str, promotion: &Value) -> Option<Result<(), Failure>> {
    let id = &promotion["id"];
    let failed = |text: String| Some(Err(Failure::broken(text)));
    match promotion["stage"].as_str().unwrap_or_default() {
        "done" => Some(Ok(())),
        "ready" if promotion["auto"] == true => None,
        "ready" => {
            eprintln!("`headwater prompts promote {name} {id}` puts it into production");
            Some(Ok(()))
        }
        "fast_eval" | "regression" | "shadow" | "canary" | "guard" => None,
        stage => failed(format!(
            "promotion {id} of {name} was {}: {}",
            stage.replace('_', " "),
            why_it_ended(promotion)
        )),
    }
}

/// The gate that it did not pass, or else what happened last.
fn why_it_ended(promotion: &Value) -> String {
    let gates = list(&promotion["gates"]);
    match gates.iter().find(|gate| gate["state"] == "failed") {
        Some(gate) => format!("{} failed, {}", cell(&gate["gate"]), cell(&gate["detail"])),
        None => {
            let last = list(&promotion["steps"]).last();
            last.map(|step| cell(&step["what"])).unwrap_or_default()
        }
    }
}

/// The next look at what goes on at the node.
pub(super) fn look_again(node: &Node<'_>, path: &str) -> Result<Value, Failure> {
    let mut tries = 0;
    loop {
        std::thread::sleep(PAUSE);
        match node.get(path) {
            Err(refusal) if refusal.is_passing() && tries < PATIENCE => tries += 1,
            answer => return Ok(answer?),
        }
    }
}
