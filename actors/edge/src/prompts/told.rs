//! Prompts as answers tell them.

use headwater_actors::prompts::{
    Actor, Gates, Head, Move, Outcome, Promotion, PromptInfo, Ready, Rendered, Stage, Standing,
    VersionInfo, show_markers,
};
use serde_json::{Value, json};

pub(super) fn head(info: &PromptInfo, actor: &Actor, standing: Option<Standing>) -> Value {
    let PromptInfo { team, name, head } = info;
    json!({
        "object": "prompt",
        "name": name,
        "team": team,
        "newest": head.newest,
        "production": head.production,
        "staging": head.staging,
        "canary": head.canary,
        "protected": head.is_protected,
        "shared": head.is_shared,
        "forked_from": head.forked_from,
        "gates": gates(&head.gates),
        "previous": head.step_back(None).ok(),
        "promotion": head.promotion,
        "role": standing.map(Standing::name),
        "you": actor.name,
        "updated_ms": head.updated_ms,
    })
}

fn gates(gates: &Gates) -> Value {
    serde_json::to_value(gates).unwrap_or_default()
}

pub(super) fn version(head: &Head, info: &VersionInfo) -> Value {
    json!({
        "version": info.number,
        "state": head.state(info.number).name(),
        "author": info.author,
        "message": info.message,
        "tags": info.tags,
        "parent": info.parent,
        "sha256": info.sha256,
        "created_ms": info.created_ms,
        "overrides": info.overrides,
    })
}

pub(super) fn whole_version(head: &Head, info: &VersionInfo, ready: &Ready) -> Value {
    let mut told = version(head, info);
    told["document"] = serde_json::to_value(&ready.document).unwrap_or_default();
    told["variables"] = serde_json::to_value(ready.compiled.variables()).unwrap_or_default();
    told["secrets"] = ready.compiled.secrets().iter().cloned().collect();
    told
}

pub(super) fn moved(one: &Move) -> Value {
    serde_json::to_value(one).unwrap_or_default()
}

/// Markers of secrets are told as the template wrote them.
pub(super) fn rendered(rendered: &Rendered) -> Value {
    match rendered {
        Rendered::Text(text) => json!({"text": show_markers(text)}),
        Rendered::Chat(messages) => {
            let told = messages.iter().map(|message| {
                json!({"role": message.role.name(), "content": show_markers(&message.content)})
            });
            json!({"messages": told.collect::<Vec<Value>>()})
        }
    }
}

/// Gates in the order in which they are passed.
const GATES: &[Stage] =
    &[Stage::FastEval, Stage::Regression, Stage::Shadow, Stage::Canary, Stage::Guard];

pub(super) fn promotion(promotion: &Promotion) -> Value {
    let gate = |stage: &Stage| {
        let result = promotion.results.get(stage);
        let state = match result {
            Some((Outcome::Passed, _)) => "passed",
            Some((Outcome::Failed, _)) => "failed",
            Some((Outcome::Skipped, _)) => "skipped",
            None if promotion.stage == *stage => "running",
            None => "waiting",
        };
        let detail = result.map(|(_, detail)| detail.as_str()).unwrap_or_default();
        json!({"gate": stage.name(), "state": state, "detail": detail})
    };
    json!({
        "id": promotion.id,
        "version": promotion.version,
        "from": promotion.from,
        "by": promotion.by,
        "reason": promotion.reason,
        "created_ms": promotion.created_ms,
        "auto": promotion.is_auto,
        "canary_per_mille": promotion.canary_per_mille,
        "stage": promotion.stage.name(),
        "waiting_for": waiting_for(promotion),
        "override": promotion.overridden,
        "gates": GATES.iter().map(gate).collect::<Vec<Value>>(),
        "steps": promotion.steps,
    })
}

fn waiting_for(promotion: &Promotion) -> String {
    match promotion.stage {
        Stage::FastEval => format!("up to {} golden cases", promotion.gates.fast_cases),
        Stage::Regression => "all golden cases".to_owned(),
        Stage::Shadow => {
            let samples = promotion.gates.shadow.clone().unwrap_or_default().samples;
            format!("{samples} requests that it is asked beside production")
        }
        Stage::Canary => "its share of the requests, compared with production".to_owned(),
        Stage::Ready => "somebody who promotes it".to_owned(),
        Stage::Guard => {
            format!("the end of its watch, {} s long", promotion.gates.guard_ms / 1_000)
        }
        Stage::Done | Stage::RolledBack | Stage::Stopped | Stage::Withdrawn => String::new(),
    }
}
