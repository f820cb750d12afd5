//! `headwater audit`: questions to the audit of a running node.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use headwater_actors::gateway::{AuditCell, AuditTable};
use serde_json::{Value, json};

use crate::config::Settings;
use crate::failure::Failure;
use crate::operator::{OperatorFlags, ask_within};

#[cfg(test)]
mod tests;

/// What a question gets beside the node's own limit.
const MORE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Csv,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// Ask in SQL, for example "select team, model_served, sum(cost_usd) from audit group by 1, 2".
    Query {
        /// One select from the view `audit`.
        sql: String,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
        #[command(flatten)]
        operator: OperatorFlags,
    },
    /// Tell what was spent, day by day.
    Cost {
        /// First day, for example 2026-12-01; 29 days before the last without it.
        #[arg(long)]
        from: Option<String>,
        /// Last day; today without it.
        #[arg(long)]
        to: Option<String>,
        /// Some of team, project, user, key, model, backend, model_served, route.
        #[arg(long, default_value = "team,project,model")]
        by: String,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
        #[command(flatten)]
        operator: OperatorFlags,
    },
}

pub(crate) fn run(action: AuditAction, settings: &Settings) -> Result<(), Failure> {
    let patience = Duration::from_millis(settings.audit.query_time_ms) + MORE;
    let (answer, format) = match action {
        AuditAction::Query { sql, format, operator } => {
            let body = json!({ "sql": sql });
            let path = "/v1/audit/query";
            (ask_within(patience, &operator, settings, "POST", path, Some(&body))?, format)
        }
        AuditAction::Cost { from, to, by, format, operator } => {
            let mut path = format!("/v1/audit/cost?by={}", plain(&by)?);
            for (name, value) in [("from", &from), ("to", &to)] {
                if let Some(value) = value {
                    path.push_str(&format!("&{name}={}", plain(value)?));
                }
            }
            (ask_within(patience, &operator, settings, "GET", &path, None)?, format)
        }
    };
    if answer["truncated"] == true {
        let rows = answer["rows"].as_array().map_or(0, Vec::len);
        eprintln!("headwater: only the first {rows} rows; ask for fewer, or add a limit");
    }
    match format {
        Format::Json => println!("{answer:#}"),
        Format::Csv => print!("{}", table(&answer).csv()),
        Format::Table => print!("{}", drawn(&table(&answer))),
    }
    Ok(())
}

/// A value that means the same in an address.
fn plain(value: &str) -> Result<&str, Failure> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_,".contains(letter);
    match value.chars().all(is_plain) {
        true => Ok(value),
        false => Err(Failure::settings(format!("'{value}' is no day and no list of columns"))),
    }
}

fn table(answer: &Value) -> AuditTable {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let cell = |value: &Value| match value {
        Value::Null => AuditCell::Null,
        Value::Bool(value) => AuditCell::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(value) => AuditCell::Int(value),
            None => AuditCell::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => AuditCell::Text(text.clone()),
        other => AuditCell::Text(other.to_string()),
    };
    let name = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    AuditTable {
        columns: list(&answer["columns"]).iter().map(name).collect(),
        rows: list(&answer["rows"])
            .iter()
            .map(|row| list(row).iter().map(cell).collect())
            .collect(),
        is_truncated: answer["truncated"] == true,
    }
}

/// Columns side by side, numbers to the right.
fn drawn(table: &AuditTable) -> String {
    let text = |cell: &AuditCell| match cell {
        AuditCell::Null => "-".to_owned(),
        AuditCell::Bool(value) => value.to_string(),
        AuditCell::Int(value) => value.to_string(),
        // Money in full, and no digits that are not meant.
        AuditCell::Float(value) => {
            let text = format!("{value:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        AuditCell::Text(text) => text.replace(['\n', '\r', '\t'], " "),
    };
    let rows: Vec<Vec<String>> =
        table.rows.iter().map(|row| row.iter().map(text).collect()).collect();
    let width = |place: usize, name: &String| {
        let cells = rows.iter().filter_map(|row| row.get(place));
        cells.chain([name]).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> =
        table.columns.iter().enumerate().map(|(place, name)| width(place, name)).collect();
    let is_number = |place: usize| {
        let number = |row: &Vec<AuditCell>| {
            let cell = row.get(place);
            matches!(cell, Some(AuditCell::Int(_) | AuditCell::Float(_) | AuditCell::Null))
        };
        !table.rows.is_empty() && table.rows.iter().all(number)
    };
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(place, (cell, width))| {
            match is_number(place) {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            }
        });
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&table.columns);
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}
