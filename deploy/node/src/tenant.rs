//! `headwater tenant`: limits and usage of teams, projects and users, at a running node.

use clap::Subcommand;
use headwater_actors::tenancy::Subject;
use headwater_edge::Grant;
use serde_json::{Value, json};

use crate::config::Settings;
use crate::failure::Failure;
use crate::operator::{OperatorFlags, ask};

#[derive(Debug, Subcommand)]
pub(crate) enum TenantAction {
    /// Show limits, or replace them.
    Limits {
        /// A team `acme`, its project `acme/search`, or its user `acme//alice`.
        tenant: String,
        /// A limit as UNIT/WINDOW=AMOUNT or UNIT/WINDOW/MODEL=AMOUNT, for example
        /// tokens/minute=1000; may be repeated. Units: requests, tokens, micro_usd. Windows:
        /// minute, day, month.
        #[arg(long = "limit", value_name = "LIMIT", conflicts_with = "none")]
        limits: Vec<String>,
        /// Remove every limit.
        #[arg(long)]
        none: bool,
        #[command(flatten)]
        operator: OperatorFlags,
    },
    /// Show what was used, by day and model; of projects and users, while they had limits.
    Usage {
        /// A team `acme`, its project `acme/search`, or its user `acme//alice`.
        tenant: String,
        #[command(flatten)]
        operator: OperatorFlags,
    },
}

pub(crate) fn run(action: TenantAction, settings: &Settings) -> Result<(), Failure> {
    match action {
        TenantAction::Limits { tenant, limits, none, operator } => {
            let path = path(&tenant, "limits")?;
            if !limits.is_empty() || none {
                let limits: Vec<Value> =
                    limits.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
                let body = json!({ "limits": limits });
                ask(&operator, settings, "PUT", &path, Some(&body))?;
            }
            let answer = ask(&operator, settings, "GET", &path, None)?;
            println!(
                "{:<10} {:<8} {:<24} {:>14} {:>14}",
                "unit", "window", "model", "amount", "taken"
            );
            for limit in answer["limits"].as_array().into_iter().flatten() {
                println!(
                    "{:<10} {:<8} {:<24} {:>14} {:>14}",
                    limit["unit"].as_str().unwrap_or("-"),
                    limit["window"].as_str().unwrap_or("-"),
                    limit["model"].as_str().unwrap_or("all"),
                    limit["amount"],
                    limit["taken"],
                );
            }
            Ok(())
        }
        TenantAction::Usage { tenant, operator } => {
            let path = path(&tenant, "usage")?;
            let answer = ask(&operator, settings, "GET", &path, None)?;
            println!(
                "{:<10} {:>10} {:>12} {:>12}  model",
                "day", "requests", "tokens", "micro_usd"
            );
            for row in answer["usage"].as_array().into_iter().flatten() {
                let model = row["model"].as_str().unwrap_or("-");
                println!(
                    "{:<10} {:>10} {:>12} {:>12}  {model}",
                    row["day"].as_str().unwrap_or("-"),
                    row["requests"],
                    row["tokens"],
                    row["micro_usd"]
                );
            }
            Ok(())
        }
    }
}

/// What is asked for. A name that no token can carry would ask for something else.
fn path(tenant: &str, what: &str) -> Result<String, Failure> {
    let subject = Subject::named(tenant);
    let mut grant = Grant::new(subject.team(), "standard", &["*"]);
    match subject {
        Subject::Team(_) => {}
        Subject::Project { project, .. } => grant.project = Some(project.to_owned()),
        Subject::User { user, .. } => grant.user = Some(user.to_owned()),
    }
    grant.check().map_err(|problem| {
        Failure::settings(format!("'{tenant}': {problem}; write TEAM, TEAM/PROJECT or TEAM//USER"))
    })?;
    Ok(format!("/v1/tenants/{}/{what}", percent_encoded(tenant)))
}

/// As one segment of a path.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// `tokens/minute=1000` as the edge takes it; the edge checks the names.
fn parse(text: &str) -> Result<Value, Failure> {
    let wrong = || {
        Failure::settings(format!(
            "--limit {text}: write UNIT/WINDOW=AMOUNT or UNIT/WINDOW/MODEL=AMOUNT, for example \
             tokens/minute=1000"
        ))
    };
    let (path, amount) = text.rsplit_once('=').ok_or_else(wrong)?;
    let amount: u64 = amount.trim().parse().map_err(|_| wrong())?;
    let mut parts = path.splitn(3, '/');
    let (unit, window) = (parts.next().ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
    Ok(json!({"unit": unit, "window": window, "model": parts.next(), "amount": amount}))
}
