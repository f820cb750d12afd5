//! All routes as one table: what each needs of its caller, and whether it is counted. A route is
//! added here and nowhere else, so none can leave that unsaid.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::router::Edge;
use crate::{
    admin, audit, chat, cluster, collection, embedding, gateway, ingest, keys, prompts, search,
    status, tenancy, tools,
};

/// What a route needs of whoever calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing: probes and scrapers hold no token. What they see names models and routes, no
    /// tenant.
    Open,
    /// Any identity; the handler looks whether the thing asked for is the caller's own.
    Identity,
    /// An operator.
    Operator,
}

/// Whether a request uses up the tenant's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// No model works for it.
    No,
    /// Reserved before any model is asked, and settled with what it used.
    Yes,
    /// It puts work off, which is counted when it is done.
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Delete => MethodFilter::DELETE,
        }
    }
}

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) scope: Scope,
    #[cfg_attr(not(test), expect(dead_code, reason = "said for the policy test, which asks all"))]
    pub(crate) counted: Counted,
    pub(crate) handler: MethodRouter<Edge>,
}

fn route<H, T>(
    scope: Scope,
    counted: Counted,
    method: Method,
    path: &'static str,
    handler: H,
) -> Route
where
    H: Handler<T, Edge>,
    T: 'static,
{
    Route { method, path, scope, counted, handler: on(method.filter(), handler) }
}

/// Every route there is.
pub(crate) fn routes() -> Vec<Route> {
    let mut all = status_routes();
    all.extend(model_routes());
    all.extend(operator_routes());
    all.extend(collection_routes());
    all.extend(ingest_routes());
    all.extend(chat_routes());
    all.extend(gateway_routes());
    all.extend(audit_routes());
    all.extend(prompt_routes());
    all.extend(tool_routes());
    all.extend(agent_routes());
    all.extend(sandbox_routes());
    all
}

fn status_routes() -> Vec<Route> {
    use Counted::No;
    use Method::Get;
    use Scope::Open;
    vec![
        route(Open, No, Get, "/health", status::health),
        route(Open, No, Get, "/ready", status::ready),
        route(Open, No, Get, "/metrics", status::metrics),
        // A page without data: what it shows it asks for with the operator's token.
        route(Open, No, Get, "/admin", admin::page),
        route(Open, No, Get, "/admin/page.css", admin::style),
        route(Open, No, Get, "/admin/page.js", admin::script),
        route(Open, No, Get, "/prompts", prompts::page::page),
        route(Open, No, Get, "/prompts/{file}", prompts::page::part),
    ]
}

fn model_routes() -> Vec<Route> {
    use Counted::{No, Yes};
    use Method::{Get, Post};
    use Scope::Identity;
    vec![
        route(Identity, Yes, Post, "/v1/embeddings", embedding::openai::embeddings),
        route(Identity, No, Get, "/v1/models", embedding::openai::models),
        route(Identity, No, Get, "/v1/models/{*model}", embedding::openai::model),
        route(Identity, Yes, Post, "/embed", embedding::tei::embed),
        route(Identity, Yes, Post, "/embed_sparse", embedding::sparse::embed_sparse),
        route(Identity, Yes, Post, "/rerank", embedding::rerank::tei),
        route(Identity, Yes, Post, "/v1/rerank", embedding::rerank::rerank),
        route(Identity, No, Post, "/tokenize", embedding::tei::tokenize),
        route(Identity, Yes, Post, "/v1/search", search::search),
    ]
}

fn operator_routes() -> Vec<Route> {
    use Counted::No;
    use Method::{Delete, Get, Post, Put};
    use Scope::{Identity, Operator};
    use embedding::manage;
    vec![
        route(Operator, No, Post, "/v1/models", manage::load),
        route(Operator, No, Delete, "/v1/models/{*model}", manage::unload),
        route(Operator, No, Get, "/v1/aliases", manage::aliases),
        route(Operator, No, Put, "/v1/aliases/{*alias}", manage::set_alias),
        route(Operator, No, Delete, "/v1/aliases/{*alias}", manage::remove_alias),
        route(Operator, No, Get, "/v1/cluster", cluster::status),
        route(Identity, No, Get, "/v1/tenants/{tenant}/limits", tenancy::limits),
        route(Operator, No, Put, "/v1/tenants/{tenant}/limits", tenancy::set_limits),
        route(Identity, No, Get, "/v1/tenants/{tenant}/usage", tenancy::usage),
        route(Operator, No, Get, "/v1/keys", keys::list),
        route(Operator, No, Post, "/v1/keys", keys::create),
        route(Operator, No, Get, "/v1/keys/{id}", keys::get),
        route(Operator, No, Post, "/v1/keys/{id}/rotate", keys::rotate),
        route(Operator, No, Post, "/v1/keys/{id}/revoke", keys::revoke),
        route(Operator, No, Post, "/v1/tokens/revoke", keys::revoke_token),
    ]
}

fn collection_routes() -> Vec<Route> {
    use Counted::{Later, No};
    use Method::{Delete, Get, Post};
    use Scope::Identity;
    const COLLECTION: &str = "/v1/collections/{name}";
    const VERSIONS: &str = "/v1/collections/{name}/versions";
    const BUILD: &str = "/v1/collections/{name}/versions/{version}/{action}";
    const DOCUMENT: &str = "/v1/collections/{name}/documents/{*document}";
    vec![
        route(Identity, No, Get, "/v1/collections", collection::list),
        route(Identity, No, Post, "/v1/collections", collection::create),
        route(Identity, No, Get, COLLECTION, collection::get),
        route(Identity, No, Delete, COLLECTION, collection::delete),
        route(Identity, No, Get, VERSIONS, collection::versions),
        route(Identity, Later, Post, VERSIONS, collection::build),
        route(Identity, No, Post, BUILD, collection::change_build),
        route(Identity, No, Post, "/v1/collections/{name}/rollback", collection::roll_back),
        route(Identity, No, Post, "/v1/collections/{name}/retire", collection::retire),
        route(Identity, No, Get, DOCUMENT, collection::document),
        route(Identity, No, Delete, DOCUMENT, collection::delete_document),
    ]
}

fn ingest_routes() -> Vec<Route> {
    use Counted::{Later, No};
    use Method::{Get, Post};
    use Scope::Identity;
    vec![
        route(Identity, No, Get, "/v1/ingest/jobs", ingest::list),
        route(Identity, Later, Post, "/v1/ingest/jobs", ingest::create),
        route(Identity, No, Get, "/v1/ingest/jobs/{id}", ingest::get),
        route(Identity, Later, Post, "/v1/ingest/jobs/{id}/documents", ingest::documents),
        route(Identity, No, Get, "/v1/ingest/jobs/{id}/dead-letters", ingest::dead_letters),
        route(Identity, No, Post, "/v1/ingest/jobs/{id}/{action}", ingest::act),
    ]
}

fn chat_routes() -> Vec<Route> {
    use Counted::{No, Yes};
    use Method::Post;
    use Scope::Identity;
    use chat::{anthropic, openai, responses};
    vec![
        route(Identity, Yes, Post, "/v1/chat/completions", openai::completions),
        route(Identity, Yes, Post, "/v1/completions", openai::legacy::completions),
        route(Identity, Yes, Post, "/v1/responses", responses::responses),
        route(Identity, Yes, Post, "/v1/messages", anthropic::messages),
        route(Identity, No, Post, "/v1/messages/count_tokens", anthropic::count_tokens),
    ]
}

fn gateway_routes() -> Vec<Route> {
    use Counted::No;
    use Method::{Get, Post, Put};
    use Scope::Operator;
    const CONFIG: &str = "/v1/gateway/config";
    vec![
        route(Operator, No, Get, CONFIG, gateway::current),
        route(Operator, No, Put, CONFIG, gateway::put),
        route(Operator, No, Post, "/v1/gateway/config/check", gateway::check),
        route(Operator, No, Post, "/v1/gateway/config/rollback", gateway::roll_back),
        route(Operator, No, Get, "/v1/gateway/config/versions", gateway::list),
        route(Operator, No, Get, "/v1/gateway/config/versions/{version}", gateway::get),
    ]
}

fn audit_routes() -> Vec<Route> {
    use Counted::No;
    use Method::{Get, Post};
    use Scope::Identity;
    vec![
        route(Identity, No, Get, "/v1/audit/query", audit::query_by_address),
        route(Identity, No, Post, "/v1/audit/query", audit::query),
        route(Identity, No, Get, "/v1/audit/cost", audit::cost),
    ]
}

fn prompt_routes() -> Vec<Route> {
    use Counted::No;
    use Method::{Get, Post, Put};
    use Scope::Identity;
    const VERSIONS: &str = "/v1/prompts/{name}/versions";
    const PROMOTIONS: &str = "/v1/prompts/{name}/promotions";
    const EXPERIMENTS: &str = "/v1/prompts/{name}/experiments";
    const EXPERIMENT: &str = "/v1/prompts/{name}/experiments/{experiment}";
    const STOP: &str = "/v1/prompts/{name}/experiments/{experiment}/stop";
    const ACT: &str = "/v1/prompts/{name}/promotions/{id}/{action}";
    const CHECKS: &str = "/v1/golden/{name}/judge-checks";
    const ACCEPT: &str = "/v1/golden/{name}/judge-checks/{id}/accept";
    const LABELS: &str = "/v1/prompts/{name}/evals/{id}/labels";
    const PROPOSALS: &str = "/v1/prompts/{name}/proposals";
    const PROPOSAL: &str = "/v1/prompts/{name}/proposals/{id}/{action}";
    vec![
        route(Identity, No, Get, "/v1/prompts", prompts::list),
        route(Identity, No, Get, "/v1/prompts/{name}", prompts::get),
        route(Identity, No, Put, "/v1/prompts/{name}/settings", prompts::set),
        route(Identity, No, Get, VERSIONS, prompts::versions),
        route(Identity, No, Post, VERSIONS, prompts::commit),
        route(Identity, No, Get, "/v1/prompts/{name}/versions/{version}", prompts::version),
        route(Identity, No, Get, "/v1/prompts/{name}/diff", prompts::diff),
        route(Identity, No, Post, "/v1/prompts/{name}/check", prompts::check),
        route(Identity, No, Post, "/v1/prompts/{name}/preview", prompts::preview),
        route(Identity, No, Post, "/v1/prompts/{name}/fork", prompts::fork),
        route(Identity, No, Post, "/v1/prompts/{name}/resolve", prompts::resolve),
        route(Identity, No, Post, "/v1/prompts/{name}/render", prompts::render),
        route(Identity, No, Get, "/v1/prompts/{name}/history", prompts::history),
        route(Identity, No, Post, "/v1/prompts/{name}/rollback", prompts::roll_back),
        route(Identity, No, Get, PROMOTIONS, prompts::promotions),
        route(Identity, No, Post, PROMOTIONS, prompts::begin),
        route(Identity, No, Get, "/v1/prompts/{name}/promotions/{id}", prompts::promotion),
        route(Identity, No, Post, ACT, prompts::act),
        route(Identity, No, Get, EXPERIMENTS, prompts::experiments::list),
        route(Identity, No, Post, EXPERIMENTS, prompts::experiments::begin),
        route(Identity, No, Get, EXPERIMENT, prompts::experiments::get),
        route(Identity, No, Post, STOP, prompts::experiments::stop),
        route(Identity, No, Post, "/v1/feedback", prompts::feedback::feedback),
        route(Identity, No, Get, PROPOSALS, prompts::proposals::list),
        route(Identity, No, Post, PROPOSAL, prompts::proposals::act),
        route(Identity, No, Get, "/v1/golden", prompts::evals::sets),
        route(Identity, No, Get, "/v1/golden/{name}", prompts::evals::set),
        route(Identity, No, Put, "/v1/golden/{name}", prompts::evals::put_set),
        route(Identity, No, Get, CHECKS, prompts::judging::checks),
        route(Identity, No, Post, CHECKS, prompts::judging::check),
        route(Identity, No, Post, ACCEPT, prompts::judging::accept),
        route(Identity, No, Get, LABELS, prompts::judging::labels),
        route(Identity, No, Post, LABELS, prompts::judging::label),
        route(Identity, No, Get, "/v1/prompts/{name}/evals", prompts::evals::list),
        route(Identity, No, Post, "/v1/prompts/{name}/evals", prompts::evals::run),
        route(Identity, No, Get, "/v1/prompts/{name}/evals/{id}", prompts::evals::get),
        route(Identity, No, Get, "/v1/prompt-access", prompts::access),
        route(Identity, No, Put, "/v1/prompt-access", prompts::set_access),
    ]
}

fn tool_routes() -> Vec<Route> {
    use Counted::No;
    use Method::{Delete, Get, Post, Put};
    use Scope::{Identity, Operator};
    use tools::{approvals, calls, mcp, registry, sessions};
    const VERSION: &str = "/v1/tools/{name}/versions/{version}";
    const ACT: &str = "/v1/tools/{name}/versions/{version}/{action}";
    const GRANT: &str = "/v1/tool-grants/{id}";
    const SESSION: &str = "/v1/agent-sessions/{id}";
    const NOTE: &str = "/v1/agent-sessions/{id}/notes/{name}";
    // No model works for a tool; calls have limits of their own names, `tool:<name>`.
    vec![
        route(Identity, No, Post, "/mcp", mcp::answer),
        route(Identity, No, Get, "/v1/tools", registry::list),
        route(Identity, No, Post, "/v1/tools", registry::publish),
        route(Identity, No, Post, "/v1/tools/search", registry::search),
        route(Identity, No, Post, "/v1/tools/call", calls::call),
        route(Identity, No, Get, "/v1/tools/{name}", registry::versions),
        route(Identity, No, Put, "/v1/tools/{name}/default", registry::point),
        route(Identity, No, Put, VERSION, registry::amend),
        route(Identity, No, Post, ACT, registry::act),
        route(Identity, No, Get, "/v1/tool-calls/{id}", calls::get),
        route(Identity, No, Post, "/v1/tool-calls/{id}/{action}", calls::act),
        route(Identity, No, Get, "/v1/tool-grants", registry::grants),
        route(Operator, No, Put, GRANT, registry::put_grant),
        route(Operator, No, Delete, GRANT, registry::delete_grant),
        route(Identity, No, Get, "/v1/approvals", approvals::list),
        route(Identity, No, Post, "/v1/approvals/{id}/{action}", approvals::decide),
        route(Identity, No, Get, "/v1/agent-sessions", sessions::list),
        route(Identity, No, Post, "/v1/agent-sessions", sessions::begin),
        route(Identity, No, Get, SESSION, sessions::get),
        route(Identity, No, Get, "/v1/agent-sessions/{id}/steps", sessions::steps),
        route(Identity, No, Get, "/v1/agent-sessions/{id}/notes", sessions::notes),
        route(Identity, No, Put, NOTE, sessions::put_note),
        route(Identity, No, Delete, NOTE, sessions::delete_note),
        route(Identity, No, Post, "/v1/agent-sessions/{id}/{action}", sessions::act),
    ]
}

fn agent_routes() -> Vec<Route> {
    use Counted::{Later, No};
    use Method::{Get, Post};
    use Scope::Identity;
    use tools::agents;
    const RUN: &str = "/v1/agents/runs/{id}";
    // Each question of a run is counted when its model is asked.
    vec![
        route(Identity, Later, Post, "/v1/agents/run", agents::run),
        route(Identity, No, Get, "/v1/agents/runs", agents::list),
        route(Identity, No, Get, RUN, agents::get),
        route(Identity, No, Get, "/v1/agents/runs/{id}/events", agents::events),
        route(Identity, No, Post, "/v1/agents/runs/{id}/{action}", agents::act),
    ]
}

fn sandbox_routes() -> Vec<Route> {
    use Counted::No;
    use Method::{Get, Post};
    use Scope::Identity;
    use tools::sandbox;
    const FILES: &str = "/v1/sandbox/sessions/{id}/files";
    const FILE: &str = "/v1/sandbox/sessions/{id}/files/{*document}";
    vec![
        route(Identity, No, Get, "/v1/sandbox", sandbox::engines),
        route(Identity, No, Post, "/v1/sandbox/run", sandbox::run),
        route(Identity, No, Get, "/v1/sandbox/sessions", sandbox::sessions),
        route(Identity, No, Post, "/v1/sandbox/sessions", sandbox::open),
        route(Identity, No, Get, FILES, sandbox::files),
        route(Identity, No, Post, FILES, sandbox::put_file),
        route(Identity, No, Get, FILE, sandbox::file),
        route(Identity, No, Post, "/v1/sandbox/sessions/{id}/{action}", sandbox::act),
    ]
}
