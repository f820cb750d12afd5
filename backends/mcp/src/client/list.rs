//! A server's tools: read page by page, hashed, and kept until the server tells of a change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use headwater_backends::{BackendError, Hints, Listed, SecretHeader};
use rmcp::model::{PaginatedRequestParams, Tool};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::connection::Connection;
use super::{ClientSettings, failure, span};

/// Most pages of one list.
const PAGES_MAX: usize = 1_000;
/// However short a server says that its list is fresh, it is not asked more often than so.
const FRESH_MS_MIN: u64 = 1_000;

/// A list that was read.
pub(super) struct Kept {
    pub(super) tools: Vec<Listed>,
    until: Instant,
    /// The connection's count of changes before the list was read.
    changes: u64,
    connection: u64,
}

impl Kept {
    pub(super) fn is_fresh(&self, connection: &Connection) -> bool {
        Instant::now() < self.until
            && self.changes == connection.changes()
            && self.connection == connection.number()
    }
}

pub(super) async fn read(
    connection: &Connection,
    settings: &ClientSettings,
    secrets: &[SecretHeader],
) -> Result<Kept, BackendError> {
    let changes = connection.changes();
    let (mut tools, mut names, mut cursors) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let (mut cursor, mut fresh_ms) = (None, settings.list_fresh_ms);
    for _ in 0..PAGES_MAX {
        let mut params = PaginatedRequestParams::default();
        params.cursor = cursor;
        let page = connection.peer().list_tools(Some(params)).await;
        let page = page.map_err(|error| failure::of_service(error, secrets))?;
        if let Some(ms) = page.ttl_ms {
            fresh_ms = fresh_ms.min(ms.max(FRESH_MS_MIN));
        }
        for tool in page.tools {
            // A name that comes twice would leave open which tool is called.
            if !names.insert(tool.name.to_string()) {
                return Err(refused(&format!("the server lists `{}` twice", tool.name)));
            }
            tools.push(listed(tool));
        }
        if tools.len() > settings.tools_max {
            return Err(refused(&format!(
                "the server lists more than {} tools",
                settings.tools_max
            )));
        }
        cursor = page.next_cursor;
        match &cursor {
            None => {
                tools.sort_by(|one: &Listed, other| one.name.cmp(&other.name));
                let until = Instant::now() + span(fresh_ms).max(Duration::from_millis(1));
                let connection = connection.number();
                return Ok(Kept { tools, until, changes, connection });
            }
            Some(next) if !cursors.insert(next.clone()) => {
                return Err(refused("the server's list has no end"));
            }
            Some(_) => {}
        }
    }
    Err(refused("the server's list has too many pages"))
}

fn refused(why: &str) -> BackendError {
    BackendError::Refused { why: why.to_owned() }
}

fn listed(tool: Tool) -> Listed {
    let hints = tool.annotations.as_ref().map_or_else(Hints::default, |told| Hints {
        read_only: told.read_only_hint,
        destructive: told.destructive_hint,
        idempotent: told.idempotent_hint,
        open_world: told.open_world_hint,
    });
    let title = tool.title.or_else(|| tool.annotations.and_then(|told| told.title));
    let object = |schema: Arc<Map<String, Value>>| Value::Object((*schema).clone());
    let mut listed = Listed {
        name: tool.name.into_owned(),
        title,
        description: tool.description.map(String::from).unwrap_or_default(),
        input_schema: object(tool.input_schema),
        output_schema: tool.output_schema.map(object),
        hints,
        digest: String::new(),
    };
    listed.digest = digest(&listed);
    listed
}

/// SHA-256 over what is told of the tool, in hexadecimal.
pub(super) fn digest(listed: &Listed) -> String {
    let Hints { read_only, destructive, idempotent, open_world } = listed.hints;
    let told = json!([
        listed.name,
        listed.title,
        listed.description,
        sorted(&listed.input_schema),
        listed.output_schema.as_ref().map(sorted),
        [read_only, destructive, idempotent, open_world],
    ]);
    let digest = Sha256::digest(told.to_string().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names in one order, whatever order the server tells them in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut names: Vec<&String> = map.keys().collect();
            names.sort();
            names.into_iter().map(|name| json!([name, sorted(&map[name])])).collect()
        }
        Value::Array(values) => json!({"list": values.iter().map(sorted).collect::<Vec<_>>()}),
        other => other.clone(),
    }
}
