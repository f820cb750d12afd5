//! One case of an eval: asked, judged, and kept by all that it hangs on.

use headwater_prompts::{Case, Problem, Role};
use headwater_storage::{ReadMode, StoreError};
use sha2::{Digest, Sha256};

use super::evals::CaseResult;
use super::handle::PromptsHandle;
use super::keys::{self, PromptKey};
use super::nouns::Ready;
use super::records;
use super::usage::{EVAL_ROUTE, apply_settings, messages_of, question_of};
use crate::gateway::{
    Caller, ChatRequest, GatewayError, GatewayHandle, Message, PromptUse, Role as Speaker,
};

/// Tries of a case whose answer or judge did not come.
pub(super) const TRIES: u32 = 3;
/// The pause before the next try, in ms.
pub(super) const AGAIN_MS: u64 = 500;
/// Bytes of an answer that are kept.
pub(super) const ANSWER_BYTES: usize = 2_000;

/// Why a case has no score yet.
enum Why {
    /// The version is at fault.
    Version(String),
    /// Another try, now or later, may bring one.
    World(String),
    /// The answer came, and its judge said nothing.
    Judge(String),
}

impl Why {
    fn of(error: GatewayError) -> Why {
        let told = error.to_string();
        match error {
            GatewayError::OverQuota { .. }
            | GatewayError::Limited { .. }
            | GatewayError::Unavailable { .. }
            | GatewayError::TimedOut { .. } => Why::World(told),
            _ => Why::Version(told),
        }
    }
}

impl PromptsHandle {
    /// One case: what it came to before, or what it comes to now.
    pub(super) async fn case(
        &self,
        gateway: &GatewayHandle,
        prompt: &PromptKey,
        ready: &Ready,
        (case, caller): (&Case, &Caller),
        night: Option<u64>,
    ) -> Result<CaseResult, String> {
        let request = match request_of(ready, case) {
            Ok(request) => request,
            // The version does not take the case's variables: it fails the case.
            Err(problem) => return Ok(failed(case, problem.to_string())),
        };
        let served = gateway.version();
        let named = fingerprint(ready, case, served);
        let key = match night {
            Some(day) => prompt.night_case(day, &named),
            None => keys::case_result(&prompt.team, &named),
        };
        if let Some(kept) = self.kept_case(&key).await.map_err(|error| error.to_string())? {
            return Ok(CaseResult {
                is_kept: true,
                case: case.id.clone(),
                weight: case.weight,
                ..kept
            });
        }
        let mut last = None;
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.shared.runtime.pause(AGAIN_MS << attempt).await;
            }
            match self.ask_case(gateway, prompt, ready, (case, caller), request.clone()).await {
                Ok(result) => {
                    let row = records::encode(&result).map_err(|error| error.to_string())?;
                    let written = self.shared.retry.write_idempotent(|transaction| {
                        let (key, row) = (key.clone(), row.clone());
                        Box::pin(async move { transaction.set(&key, &row) })
                    });
                    // What is not kept is paid for again.
                    if let Err(error) = written.await {
                        tracing::debug!(%error, "a case's result was not kept");
                    }
                    return Ok(result);
                }
                Err(why @ Why::Judge(_)) => {
                    last = Some(why);
                    break;
                }
                Err(why) => last = Some(why),
            }
        }
        match last {
            Some(Why::Version(reason)) => Ok(failed(case, reason)),
            Some(Why::World(reason)) => {
                Err(format!("case {} could not be asked: {reason}", case.id))
            }
            Some(Why::Judge(reason)) => {
                Err(format!("the answer to case {} could not be judged: {reason}", case.id))
            }
            None => Err(format!("case {} was not asked", case.id)),
        }
    }

    async fn kept_case(&self, key: &[u8]) -> Result<Option<CaseResult>, StoreError> {
        let read = self.shared.retry.read(|transaction| {
            let key = key.to_vec();
            Box::pin(async move { transaction.get(&key, ReadMode::Snapshot).await })
        });
        read.await?.as_deref().map(records::decode).transpose()
    }

    async fn ask_case(
        &self,
        gateway: &GatewayHandle,
        prompt: &PromptKey,
        ready: &Ready,
        (case, caller): (&Case, &Caller),
        request: ChatRequest,
    ) -> Result<CaseResult, Why> {
        let label = format!("{}@{}", prompt.name, ready.number);
        let mut used = PromptUse { label, ..PromptUse::default() };
        let put = self.put_secrets(prompt, ready, &mut used).await;
        put.map_err(|error| Why::World(error.to_string()))?;
        let question = question_of(&request);
        let asked = self.ask_model(gateway, caller.clone(), EVAL_ROUTE, used, request).await;
        let observed = asked.map_err(Why::of)?;
        if observed.failed {
            return Err(Why::Version("the model gave no whole answer".to_owned()));
        }
        let Case { judge, expected, rubric, .. } = case;
        let mut attempt = 0;
        // The answer is paid for; what fails now is the judge.
        let judged = loop {
            let judged =
                self.judge(caller, judge, &question, &observed.said, expected, rubric).await;
            attempt += 1;
            match judged {
                Ok(judged) => break judged,
                Err(why) if attempt >= TRIES => return Err(Why::Judge(why)),
                Err(_) => self.shared.runtime.pause(AGAIN_MS << attempt).await,
            }
        };
        let mut answer = observed.said;
        cut(&mut answer, ANSWER_BYTES);
        Ok(CaseResult {
            case: case.id.clone(),
            score: judged.score.value,
            weight: case.weight,
            answer,
            reason: judged.score.reason,
            latency_ms: observed.latency_ms,
            micro_usd: observed.micro_usd.saturating_add(judged.micro_usd),
            is_kept: false,
        })
    }
}

/// What a version is asked in a case.
pub(super) fn request_of(ready: &Ready, case: &Case) -> Result<ChatRequest, Problem> {
    let rendered = ready.compiled.render(&case.variables)?;
    let mut request = ChatRequest::new(String::new(), messages_of(rendered));
    apply_settings(ready, &mut request);
    if request.model.is_empty() {
        return Err(Problem::new(
            "model.model",
            "is missing; a version that is evaluated names its model",
        ));
    }
    request.messages.extend(case.messages.iter().map(|message| {
        let role = match message.role {
            Role::System => Speaker::System,
            Role::User => Speaker::User,
            Role::Assistant => Speaker::Assistant,
        };
        Message::text(role, message.content.clone())
    }));
    Ok(request)
}

/// All that a case's result hangs on.
fn fingerprint(ready: &Ready, case: &Case, gateway_version: u64) -> String {
    let hash = Sha256::new().chain_update(&ready.sha256).chain_update(case.fingerprint());
    let hash = hash.chain_update(gateway_version.to_be_bytes());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(case: &Case, reason: String) -> CaseResult {
    let (case, weight) = (case.id.clone(), case.weight);
    let (score, answer, latency_ms, micro_usd, is_kept) = (0.0, String::new(), 0, 0, false);
    CaseResult { case, score, weight, answer, reason, latency_ms, micro_usd, is_kept }
}

fn cut(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}
