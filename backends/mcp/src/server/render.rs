//! Answers and failures in the protocol's words.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headwater_backends::{Content, Hints, Listed, Part};
use rmcp::model::{
    CacheScope, CallToolResult, ContentBlock, ErrorCode, ErrorData, ListToolsResult, MetaObject,
    Resource, ResourceContents, Tool, ToolAnnotations,
};
use serde_json::{Map, Value, json};

use super::served::{Answered, Failure, Page};
use crate::{APPROVAL_KEY, DIGEST_KEY};

/// Of JSON-RPC's range for servers: try again later.
const BUSY: ErrorCode = ErrorCode(-32_000);

pub(super) fn page(page: Page) -> ListToolsResult {
    let tools = page.tools.into_iter().map(tool).collect();
    let mut result = ListToolsResult::with_all_items(tools);
    result.next_cursor = page.next_cursor;
    result.ttl_ms = Some(page.fresh_ms);
    // Each caller sees its own tools.
    result.cache_scope = Some(CacheScope::Private);
    result
}

fn tool(listed: Listed) -> Tool {
    let mut tool = Tool::new(listed.name, listed.description, object(listed.input_schema));
    tool.title = listed.title;
    tool.output_schema = match listed.output_schema {
        // Revisions before 2026-07-28 know schemas of objects only.
        Some(Value::Object(schema)) if schema.get("type") == Some(&json!("object")) => {
            Some(Arc::new(schema))
        }
        _ => None,
    };
    tool.annotations = (listed.hints != Hints::default()).then(|| {
        let Hints { read_only, destructive, idempotent, open_world } = listed.hints;
        ToolAnnotations::from_raw(None, read_only, destructive, idempotent, open_world)
    });
    tool.meta = Some(meta(DIGEST_KEY, Value::String(listed.digest)));
    tool
}

/// Clients refuse a whole list for one schema that is no object.
fn object(schema: Value) -> Arc<Map<String, Value>> {
    let mut schema = match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    schema.entry("type").or_insert_with(|| json!("object"));
    Arc::new(schema)
}

fn meta(key: &str, value: Value) -> MetaObject {
    let mut meta = MetaObject::new();
    meta.0.insert(key.to_owned(), value);
    meta
}

pub(super) fn answered(answered: Answered) -> CallToolResult {
    let mut result = CallToolResult::success(blocks(&answered.content));
    result.is_error = Some(answered.is_error);
    // Clients hold structured content against the tool's schema, which is not that of its errors.
    if let (Content::Json(value), false) = (answered.content, answered.is_error)
        && !value.is_null()
    {
        result.structured_content = Some(value);
    }
    result
}

/// A failure that the model shall read.
pub(super) fn failed(failure: &Failure) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(failure.to_string())]);
    if let Failure::NeedsApproval { approval, .. } = failure {
        result.meta = Some(meta(APPROVAL_KEY, Value::String(approval.clone())));
    }
    result
}

/// A failure that the client shall handle.
pub(super) fn error(failure: &Failure) -> ErrorData {
    let message = failure.to_string();
    match failure {
        Failure::UnknownTool { .. } | Failure::Cursor => ErrorData::invalid_params(message, None),
        Failure::Refused { .. } | Failure::NeedsApproval { .. } => {
            ErrorData::invalid_request(message, None)
        }
        Failure::Busy { retry_after_ms, .. } => {
            ErrorData::new(BUSY, message, Some(json!({"retry_after_ms": retry_after_ms})))
        }
        Failure::Internal { .. } => ErrorData::internal_error(message, None),
    }
}

fn blocks(content: &Content) -> Vec<ContentBlock> {
    match content {
        Content::Json(value) => vec![ContentBlock::text(value.to_string())],
        Content::Text { text, .. } => vec![ContentBlock::text(text.clone())],
        Content::Bytes { media_type, bytes } => vec![bytes_block(media_type, bytes)],
        Content::Parts(parts) => parts.iter().map(block).collect(),
    }
}

fn block(part: &Part) -> ContentBlock {
    match part {
        Part::Text { text, .. } => ContentBlock::text(text.clone()),
        Part::Bytes { media_type, bytes } => bytes_block(media_type, bytes),
        Part::Link { uri, name, media_type } => {
            let mut resource = Resource::new(uri.clone(), name.clone());
            resource.mime_type = media_type.clone();
            ContentBlock::ResourceLink(resource)
        }
    }
}

fn bytes_block(media_type: &str, bytes: &[u8]) -> ContentBlock {
    let data = STANDARD.encode(bytes);
    if media_type.starts_with("image/") {
        ContentBlock::image(data, media_type)
    } else if media_type.starts_with("audio/") {
        ContentBlock::audio(data, media_type)
    } else {
        let blob = ResourceContents::blob(data, "headwater:answer").with_mime_type(media_type);
        ContentBlock::resource(blob)
    }
}
