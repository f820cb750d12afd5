//! The tools of this node, as clients of the Model Context Protocol see them.

use std::sync::Arc;

use async_trait::async_trait;
use axum::response::IntoResponse;
use headwater_actors::tools::{
    Called, Content, Filter, Listed, Mode, Refusal, Tool, ToolAsk, ToolCaller, ToolName,
    ToolsHandle, mcp_tool, tool_called,
};
use headwater_backends::Hints;
use headwater_backends_mcp::{
    Answered, Caller, Confirmation, Failure, McpService, Page, Progress, Served, ServerSettings,
    ToolCall,
};
use headwater_edge::McpAnswers;
use serde_json::Value;
use uuid::Uuid;

/// Tools of one page.
const PAGE: usize = 100;
/// A client may keep a page for so long, in ms.
const FRESH_MS: u64 = 60_000;
/// Longer than any call that is waited for, in ms.
const TIMEOUT_MS: u64 = 60_000;
/// The header that names the agent's session whose budget pays for the calls.
const SESSION: &str = "x-headwater-session";

/// What answers `/mcp`.
pub(crate) fn answers(tools: &ToolsHandle, body_bytes_max: usize) -> McpAnswers {
    let settings = ServerSettings {
        name: "headwater".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instructions: None,
        body_bytes_max,
        // The edge has checked who asks; a page of another origin has no key.
        hosts: Vec::new(),
        timeout_ms: TIMEOUT_MS,
    };
    let service = McpService::new(Arc::new(Offered { tools: tools.clone() }), settings);
    Arc::new(move |request| {
        let service = service.clone();
        Box::pin(async move { service.handle(request).await.into_response() })
    })
}

/// See the module.
struct Offered {
    tools: ToolsHandle,
}

impl Offered {
    /// The id of the call that this approval was asked for, which goes on under the same id.
    async fn confirmed(
        &self,
        caller: &ToolCaller,
        confirmation: Confirmation,
    ) -> Result<String, Failure> {
        let Confirmation { approval, approved } = confirmation;
        if !approved {
            let why = format!("the call was not confirmed; approval `{approval}` stays open");
            return Err(Failure::Refused { why });
        }
        let approvals = self.tools.approvals(caller).await;
        let approvals = approvals.map_err(|error| Failure::Internal { why: error.to_string() })?;
        let own = approvals
            .into_iter()
            .find(|one| one.id == approval && one.asked.subject == caller.subject);
        own.map(|one| one.asked.call).ok_or_else(|| {
            let why = format!("there is no approval `{approval}` of yours; call the tool anew");
            Failure::Refused { why }
        })
    }
}

fn known(caller: &Caller) -> Result<ToolCaller, Failure> {
    caller
        .extensions
        .get::<ToolCaller>()
        .cloned()
        .ok_or_else(|| Failure::Internal { why: "the request came without its caller".to_owned() })
}

fn listed(tool: &Tool, now_ms: u64) -> Listed {
    let rendered = mcp_tool(tool, now_ms);
    let hint = |name: &str| rendered["annotations"][name].as_bool();
    let definition = &tool.definition;
    Listed {
        name: tool.function_name(),
        title: None,
        description: definition.description.clone(),
        input_schema: definition.input.source().clone(),
        output_schema: rendered.get("outputSchema").cloned(),
        hints: Hints {
            read_only: hint("readOnlyHint"),
            destructive: hint("destructiveHint"),
            idempotent: hint("idempotentHint"),
            open_world: hint("openWorldHint"),
        },
        digest: tool.hash.to_string(),
    }
}

#[async_trait]
impl Served for Offered {
    async fn list(&self, caller: &Caller, cursor: Option<&str>) -> Result<Page, Failure> {
        let caller = known(caller)?;
        let after = cursor.map(|name| ToolName::new(name).map_err(|_| Failure::Cursor));
        let after = after.transpose()?;
        let (tools, next) = self.tools.list(&caller, &Filter::default(), after.as_ref(), PAGE);
        let now_ms = self.tools.now_ms();
        Ok(Page {
            tools: tools.iter().map(|tool| listed(tool, now_ms)).collect(),
            next_cursor: next.map(|name| name.to_string()),
            fresh_ms: FRESH_MS,
        })
    }

    async fn call(
        &self,
        caller: &Caller,
        call: ToolCall,
        _: &dyn Progress,
    ) -> Result<Answered, Failure> {
        let session = caller.headers.get(SESSION).and_then(|value| value.to_str().ok());
        let session = session.map(str::to_owned);
        let caller = known(caller)?;
        let ToolCall { name, arguments, call, dry_run, confirmation } = call;
        let Ok(tool) = tool_called(&name) else { return Err(Failure::UnknownTool { name }) };
        let id = match confirmation {
            Some(confirmation) => Some(self.confirmed(&caller, confirmation).await?),
            None => call,
        };
        let ask = ToolAsk {
            id,
            tool,
            arguments: Value::Object(arguments),
            session,
            mode: Mode::Sync,
            is_dry_run: dry_run,
            timeout_ms: None,
            tells: false,
            request: Uuid::now_v7().to_string(),
            route: "/mcp",
            trace_parent: None,
        };
        answered(name, self.tools.call(caller, ask).await)
    }
}

fn answered(name: String, called: Called) -> Result<Answered, Failure> {
    match called.ending {
        Ok(result) => {
            let content = match result.content {
                Value::String(text) => Content::text(&text),
                other => Content::Json(other),
            };
            Ok(Answered { content, is_error: result.is_error })
        }
        Err(Refusal::UnknownTool { .. }) => Err(Failure::UnknownTool { name }),
        Err(Refusal::ApprovalNeeded { tool, approval, .. }) => {
            let question = format!(
                "{tool} asks somebody else of the team first: they allow the call with POST \
                 /v1/approvals/{approval}/approve. Go on when they have?"
            );
            Err(Failure::NeedsApproval { approval, question })
        }
        Err(refusal) => {
            let why = refusal.to_string();
            Err(match refusal.retry_after_ms() {
                Some(retry_after_ms) => Failure::Busy { why, retry_after_ms },
                None => Failure::Refused { why },
            })
        }
    }
}
