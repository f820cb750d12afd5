//! `/v1/prompts`: prompts as software, for whoever writes, promotes and uses them.

mod error;
pub(crate) mod evals;
pub(crate) mod experiments;
pub(crate) mod feedback;
pub(crate) mod judging;
mod manage;
pub(crate) mod page;
mod promotions;
pub(crate) mod proposals;
mod resolve;
mod told;
mod versions;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::Uri;
use headwater_actors::prompts::{
    Action, Actor, NAME_RULE, PromptKey, PromptsHandle, is_prompt_name,
};

pub(crate) use manage::{access, get, history, list, roll_back, set, set_access};
pub(crate) use promotions::{act, begin, promotion, promotions};
pub(crate) use resolve::{render, resolve};
pub(crate) use versions::{check, commit, diff, fork, preview, version, versions};

use crate::error::ApiError;
use crate::identity::Grant;
use crate::query::Query;
use crate::router::Edge;

/// A prompt of the address, and who asks for it.
struct Asked<'a> {
    prompts: &'a PromptsHandle,
    actor: Actor,
    prompt: PromptKey,
    query: Query,
}

/// Who acts, as records have it.
pub(crate) fn actor(grant: &Grant) -> Actor {
    let name = match (&grant.user, &grant.key_id) {
        (Some(user), _) => user.clone(),
        (None, Some(key)) => format!("{} (key {key})", grant.tenant),
        (None, None) => grant.tenant.clone(),
    };
    let (team, user) = (grant.tenant.clone(), grant.user.clone());
    let is_whole_team = grant.project.is_none() && grant.user.is_none();
    Actor { team, user, is_whole_team, is_operator: grant.is_operator(), name }
}

/// The prompt that the address names, if the caller may do this with it. Operators may name
/// another team's by `?team=`.
fn asked<'a>(
    edge: &'a Edge,
    grant: &Grant,
    uri: &Uri,
    path: Name,
    action: Action,
) -> Result<Asked<'a>, ApiError> {
    let Ok(Path(name)) = path else {
        let message = "the prompt's name in the path is not percent-encoded UTF-8".to_owned();
        return Err(ApiError::invalid("name", "invalid_path", message));
    };
    check_name("name", &name)?;
    let (query, actor) = (Query::of(uri)?, actor(grant));
    let team = query.text("team").unwrap_or(&grant.tenant);
    let prompt = PromptKey::new(team, &name);
    edge.prompts.allow(&actor, &prompt, action).map_err(ApiError::from_prompt)?;
    Ok(Asked { prompts: &edge.prompts, actor, prompt, query })
}

/// A name that no prompt can have is told so, before anybody looks for it.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    if is_prompt_name(name) {
        return Ok(());
    }
    let message = format!("{field}: must be {NAME_RULE}");
    Err(ApiError::invalid(field, "invalid_prompt", message))
}

/// A path of a name.
type Name = Result<Path<String>, PathRejection>;
/// A path of a name and something of it.
type Pair = Result<Path<(String, String)>, PathRejection>;

/// Splits it.
fn pair(path: Pair) -> (Name, String) {
    match path {
        Ok(Path((name, of))) => (Ok(Path(name)), of),
        Err(rejection) => (Err(rejection), String::new()),
    }
}

fn number(what: &'static str, text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        let message = format!("{what}: must be a number, as the list has it");
        ApiError::invalid(what, "invalid_field", message)
    })
}
