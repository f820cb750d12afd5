//! What a call asks: one statement that reads, and its values.

use headwater_backends::BackendError;
use serde_json::{Value, json};

/// Longest statement, in bytes.
const SQL_BYTES_MAX: usize = 65_536;
/// Most values of one statement.
const PARAMETERS_MAX: usize = 1_000;
/// Words that statements begin with which give rows. The server has the last word: what follows
/// may write (`WITH ... INSERT`, `EXPLAIN ANALYZE DELETE`), and is refused there.
const READS: [&str; 6] = ["SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN"];

/// A call's arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) sql: &'a str,
    pub(crate) parameters: &'a [Value],
}

impl<'a> Ask<'a> {
    pub(crate) fn read(arguments: &'a Value) -> Result<Ask<'a>, BackendError> {
        let fields = arguments.as_object().ok_or_else(|| wrong("they must be an object"))?;
        if let Some(unknown) = fields.keys().find(|name| *name != "sql" && *name != "parameters") {
            return Err(wrong(format!("`{unknown}` is not known; give sql and parameters")));
        }
        let sql = fields.get("sql").and_then(Value::as_str);
        let sql = sql.filter(|sql| !sql.trim().is_empty() && sql.len() <= SQL_BYTES_MAX);
        let sql = sql.ok_or_else(|| {
            wrong(format!("`sql` must be one statement of at most {SQL_BYTES_MAX} bytes"))
        })?;
        let parameters = match fields.get("parameters") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(values)) if values.len() <= PARAMETERS_MAX => values.as_slice(),
            Some(_) => {
                let why = format!("`parameters` must be a list of at most {PARAMETERS_MAX} values");
                return Err(wrong(why));
            }
        };
        check(sql)?;
        Ok(Ask { sql, parameters })
    }

    /// JSON Schema of the arguments.
    pub(crate) fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "sql": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": SQL_BYTES_MAX,
                    "description": "One statement of PostgreSQL that reads. Values stand in it as \
                                    $1, $2 and are given in parameters.",
                },
                "parameters": {
                    "type": "array",
                    "maxItems": PARAMETERS_MAX,
                    "description": "The values of $1, $2 and so on; times and large numbers as \
                                    text.",
                },
            },
            "required": ["sql"],
            "additionalProperties": false,
        })
    }
}

fn check(sql: &str) -> Result<(), BackendError> {
    let word = first_word(sql).to_ascii_uppercase();
    match READS.contains(&word.as_str()) {
        true => Ok(()),
        false => Err(wrong(format!(
            "this tool only reads, and a statement that begins with `{}` is not sent; begin with \
             one of {}",
            word.chars().take(32).collect::<String>(),
            READS.join(", ")
        ))),
    }
}

/// The first word after blanks, comments and opening parentheses; empty where there is none.
fn first_word(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|one: char| one.is_whitespace() || one == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]);
        } else if rest.starts_with("/*") {
            rest = after_comment(rest);
        } else {
            let end = rest.find(|one: char| !one.is_alphanumeric() && one != '_');
            return &rest[..end.unwrap_or(rest.len())];
        }
    }
}

/// What follows a comment, which may hold others, as in PostgreSQL.
fn after_comment(text: &str) -> &str {
    let (mut rest, mut depth) = (text, 0_usize);
    loop {
        if let Some(inner) = rest.strip_prefix("/*") {
            (rest, depth) = (inner, depth + 1);
        } else if let Some(outer) = rest.strip_prefix("*/") {
            (rest, depth) = (outer, depth - 1);
            if depth == 0 {
                return rest;
            }
        } else {
            let mut letters = rest.chars();
            if letters.next().is_none() {
                return "";
            }
            rest = letters.as_str();
        }
    }
}

fn wrong(why: impl Into<String>) -> BackendError {
    BackendError::Arguments { why: why.into() }
}

#[cfg(test)]
mod tests;
