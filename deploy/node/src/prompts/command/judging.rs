//! `headwater prompts golden check` and `accept`, `label` and `proposals`: judges held against
//! those before them and against people, and flagged answers.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::ShowFlags;
use super::node::{Node, checked_name, list};
use super::output::{Output, cell, moment};
use crate::config::Settings;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct LabelFlags {
    name: String,
    /// The eval's number.
    eval: u64,
    /// The case's id.
    case: String,
    verdict: Verdict,
    #[arg(long, default_value = "")]
    note: String,
    #[command(flatten)]
    show: ShowFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Verdict {
    Pass,
    Fail,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProposalAction {
    /// List flagged answers that wait.
    List {
        name: String,
        #[command(flatten)]
        show: ShowFlags,
    },
    /// Take one into the golden set.
    Accept {
        name: String,
        id: String,
        /// The new case's id.
        #[arg(long)]
        case: Option<String>,
        /// In the place of what was flagged.
        #[arg(long)]
        expected: Option<String>,
        /// The case's judge as JSON, such as '{"type": "contains"}'.
        #[arg(long, value_name = "JSON")]
        judge: Option<String>,
        #[command(flatten)]
        show: ShowFlags,
    },
    /// Drop one.
    Drop {
        name: String,
        id: String,
        #[command(flatten)]
        show: ShowFlags,
    },
}

pub(super) fn check(
    node: &Node<'_>,
    set: &str,
    (prompt, budget_micro_usd): (&str, Option<u64>),
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut body = json!({"prompt": checked_name(prompt)?});
    if let Some(budget) = budget_micro_usd {
        body["budget_micro_usd"] = budget.into();
    }
    let told = node.post(&format!("/v1/golden/{set}/judge-checks"), &body)?;
    let drift = &told["drift"];
    let number = |value: &Value| value.as_f64().map_or("-".to_owned(), |one| format!("{one:.3}"));
    let kappa = &drift["agreement"]["kappa"];
    out.line(format_args!(
        "check {} of {set}: {} answers, mean {} against {}, {} flipped, kappa {} ({} to {})",
        told["id"],
        cell(&drift["compared"]),
        number(&drift["new_mean"]),
        number(&drift["old_mean"]),
        cell(&drift["flips"]),
        number(&kappa["estimate"]),
        number(&kappa["lower"]),
        number(&kappa["upper"]),
    ))?;
    match list(&told["problems"]) {
        [] => out.line(format_args!("the judges of version {} decide", told["golden_version"])),
        problems => {
            let problems: Vec<String> = problems.iter().map(cell).collect();
            Err(Failure::broken(format!(
                "the judges of {set} are not taken: {}; put those of version {} back, or have \
                 somebody else run `headwater prompts golden accept --golden-set {set} {}`",
                problems.join("; "),
                told["judges_of"],
                told["id"]
            )))
        }
    }
}

pub(super) fn accept(
    node: &Node<'_>,
    set: &str,
    (id, reason): (u64, &str),
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let body = json!({"reason": reason});
    let told = node.post(&format!("/v1/golden/{set}/judge-checks/{id}/accept"), &body)?;
    out.line(format_args!("the judges of {set} version {} decide", told["golden_version"]))
}

pub(super) fn label(
    flags: &LabelFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let node = Node::new(&flags.show.node, settings)?;
    let (name, eval) = (checked_name(&flags.name)?, flags.eval);
    let verdict = match flags.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
    };
    let body = json!({"case": flags.case, "verdict": verdict, "note": flags.note});
    let told = node.post(&format!("/v1/prompts/{name}/evals/{eval}/labels"), &body)?;
    match flags.show.json {
        true => out.json(&told),
        false => out.line(format_args!(
            "{}: {verdict}, where {} said {}",
            flags.case,
            cell(&told["judge"]),
            told["score"]
        )),
    }
}

pub(super) fn proposals(
    action: &ProposalAction,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let (ProposalAction::List { name, show }
    | ProposalAction::Accept { name, show, .. }
    | ProposalAction::Drop { name, show, .. }) = action;
    let (node, name) = (Node::new(&show.node, settings)?, checked_name(name)?);
    let path = format!("/v1/prompts/{name}/proposals");
    let (told, done) = match action {
        ProposalAction::List { .. } => {
            let told = node.get(&path)?;
            return if show.json { out.json(&told) } else { table(&told, out) };
        }
        ProposalAction::Accept { id, case, expected, judge, .. } => {
            let mut body = json!({});
            for (field, value) in [("case", case), ("expected", expected)] {
                if let Some(value) = value {
                    body[field] = value.as_str().into();
                }
            }
            if let Some(judge) = judge {
                body["judge"] = serde_json::from_str(judge)
                    .map_err(|error| Failure::settings(format!("--judge: is no JSON: {error}")))?;
            }
            let told = node.post(&format!("{path}/{}/accept", checked_id(id)?), &body)?;
            let done = format!(
                "{}: version {} with {} cases",
                cell(&told["golden_set"]),
                told["version"],
                told["cases"]
            );
            (told, done)
        }
        ProposalAction::Drop { id, .. } => {
            let told = node.post(&format!("{path}/{}/drop", checked_id(id)?), &json!({}))?;
            (told, format!("{id}: dropped"))
        }
    };
    if show.json { out.json(&told) } else { out.line(done) }
}

/// What would ask for another path is no id.
fn checked_id(id: &str) -> Result<&str, Failure> {
    match !id.is_empty() && id.bytes().all(|one| one.is_ascii_alphanumeric()) {
        true => Ok(id),
        false => Err(Failure::settings(format!(
            "'{id}' is no proposal's id; give one that `headwater prompts proposals list` prints"
        ))),
    }
}

fn table(told: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    let row = |one: &Value| {
        let flag = &one["flag"];
        vec![
            cell(&one["id"]),
            cell(&one["golden_set"]),
            cell(&one["times"]),
            moment(&one["created_ms"]),
            cell(&flag["answer"]),
            cell(&flag["expected"]),
        ]
    };
    let rows: Vec<Vec<String>> = list(&told["data"]).iter().map(row).collect();
    out.table(&["id", "golden set", "times", "made", "answer", "expected"], &rows)
}
