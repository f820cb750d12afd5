//! Tools in the words of those who call them: OpenAI, Anthropic, MCP.

mod strict;

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use crate::definition::Kind;
use crate::name::ToolReference;
use crate::problem::Problem;
use crate::registry::Tool;

/// An entry of `tools` of OpenAI's chat completions.
pub fn openai_chat_tool(tool: &Tool) -> Value {
    let definition = &tool.definition;
    json!({
        "type": "function",
        "function": {
            "name": tool.function_name(),
            "description": definition.description,
            "parameters": definition.input.source(),
            "strict": strict::allows(&definition.input),
        },
    })
}

/// An entry of `tools` of OpenAI's responses. There `strict` is on where it is not said.
pub fn openai_responses_tool(tool: &Tool) -> Value {
    let definition = &tool.definition;
    json!({
        "type": "function",
        "name": tool.function_name(),
        "description": definition.description,
        "parameters": definition.input.source(),
        "strict": strict::allows(&definition.input),
    })
}

/// An entry of `tools` of Anthropic's messages. It says nothing of `strict`, which only some of
/// their models take.
pub fn anthropic_tool(tool: &Tool) -> Value {
    let definition = &tool.definition;
    json!({
        "name": tool.function_name(),
        "description": definition.description,
        "input_schema": definition.input.source(),
    })
}

/// An entry of `tools` of MCP's `tools/list`. An output schema that is not of an object is left
/// out: the protocol has room for objects only.
pub fn mcp_tool(tool: &Tool, now_ms: u64) -> Value {
    let definition = &tool.definition;
    let is_read_only = definition.kind == Kind::ReadOnly;
    let mut rendered = json!({
        "name": tool.function_name(),
        "description": definition.description,
        "inputSchema": definition.input.source(),
        "annotations": {
            "readOnlyHint": is_read_only,
            "destructiveHint": definition.kind == Kind::Stateful,
            "idempotentHint": definition.idempotent,
            "openWorldHint": definition.backend.is_open_world() || !definition.egress.is_empty(),
        },
        "_meta": {
            "headwater/tool": definition.name.as_str(),
            "headwater/version": tool.version.get(),
            "headwater/hash": tool.hash.as_str(),
        },
    });
    if let Some(output) = definition.output.as_ref().filter(|output| output.is_of_object()) {
        rendered["outputSchema"] = output.source().clone();
    }
    if let Some(notice) = tool.notice(now_ms) {
        rendered["_meta"]["headwater/deprecation"] = notice.text.into();
    }
    rendered
}

/// Which tool a model or client calls by a function's name.
///
/// # Errors
/// When no tool could be called so.
pub fn tool_called(function: &str) -> Result<ToolReference, Problem> {
    ToolReference::of_wire(function)
}
