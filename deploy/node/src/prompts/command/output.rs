//! What commands print: lines, and tables of columns side by side.

use std::fmt::Display;
use std::io::Write;

use headwater_actors::gateway::Moment;
use serde_json::Value;

use crate::failure::Failure;

/// Where a command's answer goes.
pub(super) struct Output<'a>(&'a mut dyn Write);

impl<'a> Output<'a> {
    pub(super) fn new(to: &'a mut dyn Write) -> Output<'a> {
        Output(to)
    }

    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.0, "{text}").map_err(Failure::broken)
    }

    /// As it stands; ends with a new line in any case.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        write!(self.0, "{text}{end}").map_err(Failure::broken)
    }

    pub(super) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(format_args!("{value:#}"))
    }

    /// # Errors
    /// When it cannot be written.
    pub(super) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let width = |place: usize, name: &&str| {
            let cells = rows.iter().filter_map(|row| row.get(place));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(name.len())
        };
        let widths: Vec<usize> =
            head.iter().enumerate().map(|(place, name)| width(place, name)).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let head: Vec<String> = head.iter().map(ToString::to_string).collect();
        self.line(line(&head))?;
        rows.iter().try_for_each(|row| self.line(line(row)))
    }
}

/// A value in a table: on one line, and with nothing in it that moves a terminal's cursor.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => one_line(text),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

pub(super) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A time since 1970.
pub(super) fn moment(ms: &Value) -> String {
    ms.as_u64().map_or("-".to_owned(), |ms| Moment { ms }.text())
}
