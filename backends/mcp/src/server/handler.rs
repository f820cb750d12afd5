//! The protocol's questions, passed on to what is served.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::request::Parts;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorData, Implementation, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ProtocolVersion,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{Peer, RoleServer, ServerHandler};
use serde_json::Value;
use tokio::time::timeout;

use super::served::{Caller, Failure, Progress, Served, ToolCall};
use super::{ServerSettings, approval, render};
use crate::{CALL_KEY, DRY_RUN_KEY};

/// Longest span, so that no sum with the clock overflows.
const TIMEOUT_MS_MAX: u64 = 86_400_000;

pub(super) struct Handler<S> {
    served: Arc<S>,
    settings: Arc<ServerSettings>,
}

impl<S: Served> Handler<S> {
    pub(super) fn new(served: Arc<S>, settings: Arc<ServerSettings>) -> Handler<S> {
        Handler { served, settings }
    }

    /// The answer, within the time for it and for as long as the client waits.
    async fn within<T>(
        &self,
        context: &RequestContext<RoleServer>,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let after_ms = self.settings.timeout_ms.min(TIMEOUT_MS_MAX);
        let internal = |why: String| Failure::Internal { why };
        tokio::select! {
            answer = timeout(Duration::from_millis(after_ms), answer) => {
                answer.map_err(|_| internal(format!("no answer within {after_ms} ms")))?
            }
            () = context.ct.cancelled() => Err(internal("the client has cancelled it".to_owned())),
        }
    }
}

fn caller(context: &RequestContext<RoleServer>) -> Caller {
    let parts = context.extensions.get::<Parts>();
    let client = context.client_info();
    let revision = context.protocol_version().unwrap_or(ProtocolVersion::V_2025_03_26);
    Caller {
        extensions: parts.map(|parts| parts.extensions.clone()).unwrap_or_default(),
        headers: parts.map(|parts| parts.headers.clone()).unwrap_or_default(),
        // The SDK fills in its own name where a client of an older revision has told none.
        client: client
            .filter(|client| *client != Implementation::default())
            .map(|client| format!("{} {}", client.name, client.version)),
        revision: revision.as_str().to_owned(),
    }
}

fn tool_call(params: CallToolRequestParams, context: &RequestContext<RoleServer>) -> ToolCall {
    let meta = &context.meta;
    let confirmation = approval::answered(&params);
    ToolCall {
        name: params.name.into_owned(),
        arguments: params.arguments.unwrap_or_default(),
        call: meta.get(CALL_KEY).and_then(Value::as_str).map(str::to_owned),
        dry_run: meta.get(DRY_RUN_KEY) == Some(&Value::Bool(true)),
        confirmation,
    }
}

impl<S: Served> ServerHandler for Handler<S> {
    fn get_info(&self) -> ServerConfig {
        let settings = &self.settings;
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(&settings.name, &settings.version));
        info.instructions = settings.instructions.clone();
        info
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let caller = caller(&context);
        let cursor = request.and_then(|request| request.cursor);
        let page = self.within(&context, self.served.list(&caller, cursor.as_deref())).await;
        page.map(render::page).map_err(|failure| render::error(&failure))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = caller(&context);
        let call = tool_call(request, &context);
        let progress =
            Reporter { peer: context.peer.clone(), token: context.meta.get_progress_token() };
        match self.within(&context, self.served.call(&caller, call, &progress)).await {
            Ok(answered) => Ok(render::answered(answered).into()),
            Err(Failure::NeedsApproval { approval, question }) if approval::can_ask(&context) => {
                Ok(approval::ask(approval, question).into())
            }
            Err(
                failure @ (Failure::Refused { .. }
                | Failure::Busy { .. }
                | Failure::NeedsApproval { .. }),
            ) => Ok(render::failed(&failure).into()),
            Err(failure) => Err(render::error(&failure)),
        }
    }

    async fn on_initialized(&self, _: NotificationContext<RoleServer>) {}
}

/// Sends progress to the client that has asked for it.
struct Reporter {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
}

#[async_trait]
impl Progress for Reporter {
    async fn report(&self, done: f64, total: Option<f64>, message: Option<&str>) {
        let Some(token) = &self.token else { return };
        let mut told = ProgressNotificationParam::new(token.clone(), done);
        told.total = total;
        told.message = message.map(str::to_owned);
        // A client that has gone is noticed by the call itself.
        let _ = self.peer.notify_progress(told).await;
    }
}
