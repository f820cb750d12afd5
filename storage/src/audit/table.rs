//! The answer to a question: named columns, and rows of plain cells.

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub columns: Vec<String>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// Whether there were more rows than the limits let through.
    pub is_truncated: bool,
}

impl Table {
    /// As CSV (RFC 4180), the columns' names first.
    pub fn csv(&self) -> String {
        let mut text = String::new();
        let line = |cells: &mut dyn Iterator<Item = String>, text: &mut String| {
            text.push_str(&cells.collect::<Vec<_>>().join(","));
            text.push_str("\r\n");
        };
        line(&mut self.columns.iter().map(|name| quoted(name)), &mut text);
        for row in &self.rows {
            line(&mut row.iter().map(Cell::csv), &mut text);
        }
        text
    }
}

impl Cell {
    fn csv(&self) -> String {
        match self {
            Cell::Null => String::new(),
            Cell::Bool(value) => value.to_string(),
            Cell::Int(value) => value.to_string(),
            Cell::Float(value) => value.to_string(),
            Cell::Text(text) => quoted(text),
        }
    }
}

fn quoted(text: &str) -> String {
    // An empty text is told from none.
    let is_plain = !text.is_empty() && !text.contains([',', '"', '\r', '\n']);
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}
