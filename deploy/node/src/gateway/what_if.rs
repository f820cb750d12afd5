//! `headwater gateway what-if`: past requests under other prices and weights.

use std::path::PathBuf;

use clap::Args;
use headwater_actors::gateway::{Alias, ConfigDocument, Price, Target, what_if};
use serde_json::{Value, json};

use super::command::document;
use crate::config::Settings;
use crate::failure::Failure;
use crate::operator::{OperatorFlags, ask};

#[derive(Debug, Args)]
pub(crate) struct WhatIfFlags {
    /// What would be served: JSON as `show` prints it, or TOML as `[[gateway.models]]`.
    file: PathBuf,
    /// First day, such as 2026-12-01.
    #[arg(long, value_name = "DAY")]
    from: String,
    /// Last day, within; the same day without it.
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    #[command(flatten)]
    operator: OperatorFlags,
}

/// What one name was used for.
struct Used {
    model: String,
    requests: u64,
    micro_usd: u64,
}

pub(super) fn run(flags: &WhatIfFlags, settings: &Settings) -> Result<(), Failure> {
    let file = flags.file.display();
    let wrong = |problem: String| Failure::settings(format!("{file}: {problem}"));
    let read: ConfigDocument =
        serde_json::from_value(document(&flags.file)?).map_err(|error| wrong(error.to_string()))?;
    let config = read.config().map_err(|problem| wrong(problem.to_string()))?;
    let past = past(flags, settings)?;
    if past.is_empty() {
        println!("no request of a model is in the audit of these days");
        return Ok(());
    }
    println!(
        "{:<24} {:>10} {:>14} {:>14} {:>8}",
        "model", "requests", "was USD", "would be USD", "change"
    );
    let (mut was, mut would) = (0, 0);
    for used in &past {
        let Some(alias) = config.alias(&used.model) else {
            println!(
                "{:<24} {:>10} {:>14} {:>14}",
                used.model,
                used.requests,
                usd(used.micro_usd),
                "not served"
            );
            continue;
        };
        let costs = costs(alias, flags, settings)?;
        let cost = |target: &Target| {
            let place = alias.targets.iter().position(|one| one == target);
            place.and_then(|place| costs.get(place)).copied().unwrap_or(0)
        };
        let portions = what_if(alias, cost);
        let cost: u64 = portions.iter().map(|one| one.micro_usd).sum();
        line(&used.model, used.requests, used.micro_usd, cost);
        for one in &portions {
            let name = format!("{}/{}", one.target.backend, one.target.model);
            println!(
                "  {:<22} {:>9.1}% {:>14} {:>14}",
                name,
                one.share * 100.0,
                "",
                usd(one.micro_usd)
            );
        }
        (was, would) = (was + used.micro_usd, would + cost);
    }
    line("all that is served", past.iter().map(|used| used.requests).sum(), was, would);
    Ok(())
}

fn line(name: &str, requests: u64, was: u64, would: u64) {
    let change = match was {
        0 => "-".to_owned(),
        was => format!("{:+.1}%", (would as f64 / was as f64 - 1.0) * 100.0),
    };
    println!("{name:<24} {requests:>10} {:>14} {:>14} {change:>8}", usd(was), usd(would));
}

fn usd(micro_usd: u64) -> String {
    format!("{:.6}", micro_usd as f64 / 1e6)
}

/// Which records count: answers given again cost nothing then or now.
fn span(flags: &WhatIfFlags) -> Result<String, Failure> {
    let (from, to) = (day(&flags.from)?, day(flags.to.as_ref().unwrap_or(&flags.from))?);
    Ok(format!("day >= date '{from}' and day <= date '{to}' and not cache_hit and tokens_in > 0"))
}

/// What was used, by the name that was asked for.
fn past(flags: &WhatIfFlags, settings: &Settings) -> Result<Vec<Used>, Failure> {
    let sql = format!(
        "select model_asked, count(*), sum(cost_micro_usd) from audit where {} group by \
         model_asked order by 1",
        span(flags)?
    );
    let told = rows(sql, flags, settings)?;
    let number = |row: &Value, place: usize| row[place].as_u64().unwrap_or(0);
    let used = |row: &Value| Used {
        model: row[0].as_str().unwrap_or("-").to_owned(),
        requests: number(row, 1),
        micro_usd: number(row, 2),
    };
    Ok(told.as_array().into_iter().flatten().map(used).collect())
}

/// What all requests for a name would have cost at each of its targets. The audit reckons: a charge
/// is rounded up, and for short chats that is no small part of it.
fn costs(alias: &Alias, flags: &WhatIfFlags, settings: &Settings) -> Result<Vec<u64>, Failure> {
    let name = alias.name.replace('\'', "''");
    let sums: Vec<String> = alias.targets.iter().map(|target| sum_of(&target.price)).collect();
    let (sums, span) = (sums.join(", "), span(flags)?);
    let sql = format!("select {sums} from audit where {span} and model_asked = '{name}'");
    let told = rows(sql, flags, settings)?;
    let cells = told[0].as_array().into_iter().flatten();
    Ok(cells.map(|cell| cell.as_u64().unwrap_or(0)).collect())
}

/// [`Price::cost`] of each request, in SQL.
fn sum_of(price: &Price) -> String {
    let Price { input, output, input_cached, input_written } = price;
    format!(
        "sum((greatest(tokens_in - tokens_cached - tokens_cache_written, 0) * {input} + \
         tokens_cached * {input_cached} + tokens_cache_written * {input_written} + \
         tokens_out * {output} + 999999) / 1000000)"
    )
}

fn rows(sql: String, flags: &WhatIfFlags, settings: &Settings) -> Result<Value, Failure> {
    let body = json!({ "sql": sql });
    let told = ask(&flags.operator, settings, "POST", "/v1/audit/query", Some(&body))?;
    Ok(told["rows"].clone())
}

/// A day as SQL takes it.
fn day(text: &str) -> Result<&str, Failure> {
    let is_day = text.len() == 10
        && text.char_indices().all(|(place, letter)| match place {
            4 | 7 => letter == '-',
            _ => letter.is_ascii_digit(),
        });
    is_day
        .then_some(text)
        .ok_or_else(|| Failure::settings(format!("'{text}' is no day; write it as 2026-12-01")))
}
