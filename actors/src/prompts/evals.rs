//! Evals: a version asked the cases of a golden set, and its answers judged. What a case came to
//! is kept by all that it hangs on, so a run that was broken off goes on, and an equal case is not
//! paid for twice.

use headwater_prompts::{Case, Problem, mean_score};
use headwater_storage::retry::{Applied, OperationId};
use headwater_storage::{ReadMode, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::handle::PromptsHandle;
use super::keys::{self, PromptKey};
use super::nouns::{PromptError, Ready};
use super::records;
use super::usage::{EVAL_ROUTE, apply_settings, messages_of, question_of};
use crate::gateway::{
    ChatRequest, GatewayError, GatewayHandle, Message, PromptUse, Role as Speaker,
};

/// Cases that one run asks at a time.
const TOGETHER: usize = 4;
/// Tries of a case whose answer or judge did not come.
const TRIES: u32 = 3;
/// The pause before the next try, in ms.
const AGAIN_MS: u64 = 500;
/// Bytes of an answer that are kept.
const ANSWER_BYTES: usize = 2_000;
const HOUR_MS: u64 = 60 * 60 * 1000;

/// Why a case has no score yet.
enum Why {
    /// The version is at fault.
    Version(String),
    /// Another try, now or later, may bring one.
    World(String),
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

/// What one case came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    pub case: String,
    pub score: f64,
    pub weight: f64,
    /// The beginning of it.
    pub answer: String,
    pub reason: String,
    pub latency_ms: u64,
    pub micro_usd: u64,
    /// It was paid for before.
    pub is_kept: bool,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Eval {
    pub id: u64,
    pub version: u64,
    pub golden_set: String,
    pub golden_version: u64,
    /// Why it ended before all cases were asked; none when it did not.
    pub stopped: Option<String>,
    pub cases: usize,
    pub score: Option<f64>,
    pub micro_usd: u64,
    pub by: String,
    /// Since 1970.
    pub created_ms: u64,
    pub results: Vec<CaseResult>,
}

/// What a run is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalAsk {
    pub version: u64,
    pub golden_set: String,
    /// Its first cases only.
    pub limit: Option<usize>,
    /// What the run may cost; what is under way when it is reached is finished.
    pub budget_micro_usd: Option<u64>,
    pub by: String,
}

/// What a run may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    pub cases: usize,
    /// Of input, at most.
    pub tokens: u64,
    /// With whole answers at the dearest target; a judging model is not in it.
    pub micro_usd: u64,
}

impl PromptsHandle {
    /// What a run would ask at most.
    ///
    /// # Errors
    /// As [`PromptsHandle::run_eval`].
    pub async fn estimate_eval(
        &self,
        prompt: &PromptKey,
        ask: &EvalAsk,
    ) -> Result<Estimate, PromptError> {
        let (_, ready) = self.version(prompt, ask.version).await?;
        let set = self.golden_set(&prompt.team, &ask.golden_set).await?;
        let taken = set.cases.iter().take(ask.limit.unwrap_or(usize::MAX));
        let (mut cases, mut tokens, mut micro_usd) = (0, 0u64, 0u64);
        let gateway = self.shared.gateway.get();
        for case in taken {
            cases += 1;
            if let Ok(request) = request_of(&ready, case) {
                tokens = tokens.saturating_add(headwater_gateway::input_tokens(&request));
                let most = gateway.and_then(|gateway| gateway.dearest(&request));
                micro_usd = micro_usd.saturating_add(most.unwrap_or_default());
            }
        }
        Ok(Estimate { cases, tokens, micro_usd })
    }

    /// Evals of the prompt, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn evals(&self, prompt: &PromptKey) -> Result<Vec<Eval>, PromptError> {
        self.newest(prompt.evals()).await
    }

    /// # Errors
    /// [`PromptError::Unknown`] and the store's.
    pub async fn eval(&self, prompt: &PromptKey, id: u64) -> Result<Eval, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let key = prompt.eval(id);
            Box::pin(async move { transaction.get(&key, ReadMode::Serializable).await })
        });
        let unknown =
            || PromptError::Unknown { what: format!("eval {id} of the prompt '{}'", prompt.name) };
        Ok(records::decode(&read.await?.ok_or_else(unknown)?)?)
    }

    /// Asks a version all cases, judges its answers and keeps the run.
    ///
    /// # Errors
    /// [`PromptError::Unknown`], [`PromptError::NoModels`] on a node without a gateway, and the
    /// store's. A case that cannot be asked or judged ends the run as stopped; it goes on from
    /// there when it is asked for again.
    pub async fn run_eval(&self, prompt: &PromptKey, ask: EvalAsk) -> Result<Eval, PromptError> {
        let gateway = self.shared.gateway.get().cloned().ok_or(PromptError::NoModels)?;
        let (_, ready) = self.version(prompt, ask.version).await?;
        let set = self.golden_set(&prompt.team, &ask.golden_set).await?;
        let cases: Vec<Case> =
            set.cases.into_iter().take(ask.limit.unwrap_or(usize::MAX)).collect();
        let (mut results, mut stopped, mut spent) = (Vec::new(), None, 0u64);
        for together in cases.chunks(TOGETHER) {
            if ask.budget_micro_usd.is_some_and(|budget| spent >= budget) {
                stopped = Some(format!("its budget is used up after {} cases", results.len()));
                break;
            }
            let asked = together.iter().map(|case| self.case(&gateway, prompt, &ready, case));
            for outcome in all(asked.collect()).await {
                match outcome {
                    Ok(result) => {
                        spent =
                            spent.saturating_add(if result.is_kept { 0 } else { result.micro_usd });
                        results.push(result);
                    }
                    Err(why) => stopped = stopped.or(Some(why)),
                }
            }
            if stopped.is_some() {
                break;
            }
        }
        let scores = results.iter().map(|result| (result.score, result.weight));
        let score = mean_score(scores).filter(|_| stopped.is_none());
        let eval = Eval {
            id: 0,
            version: ask.version,
            golden_set: ask.golden_set,
            golden_version: set.version,
            stopped,
            cases: cases.len(),
            score,
            micro_usd: spent,
            by: ask.by,
            created_ms: self.shared.runtime.wall_ms(),
            results,
        };
        self.keep_eval(prompt, eval).await
    }

    async fn keep_eval(&self, prompt: &PromptKey, eval: Eval) -> Result<Eval, PromptError> {
        let hour = u32::try_from(eval.created_ms / HOUR_MS).unwrap_or(u32::MAX);
        let id = OperationId::draw(hour, self.shared.runtime.environment());
        let written = self.shared.retry.write(id, |transaction| {
            let (prompt, mut eval) = (prompt.clone(), eval.clone());
            Box::pin(async move {
                let newest: Vec<Eval> = records::newest(transaction, prompt.evals(), 1).await?;
                eval.id = newest.first().map_or(0, |newest| newest.id) + 1;
                // A row takes so much; a long run keeps its scores and the beginnings of answers.
                let room = 60_000 / eval.results.len().max(1);
                for result in &mut eval.results {
                    cut(&mut result.answer, room.min(ANSWER_BYTES) / 2);
                    cut(&mut result.reason, room.min(ANSWER_BYTES) / 4);
                }
                transaction.set(&prompt.eval(eval.id), &records::encode(&eval)?)?;
                Ok(eval)
            })
        });
        match written.await? {
            Applied::Now(eval) => Ok(eval),
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
    }

    /// One case: what it came to before, or what it comes to now.
    async fn case(
        &self,
        gateway: &GatewayHandle,
        prompt: &PromptKey,
        ready: &Ready,
        case: &Case,
    ) -> Result<CaseResult, String> {
        let request = match request_of(ready, case) {
            Ok(request) => request,
            // The version does not take the case's variables: it fails the case.
            Err(problem) => return Ok(failed(case, problem.to_string())),
        };
        let key = keys::case_result(&prompt.team, &fingerprint(ready, case));
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
            match self.ask_case(gateway, prompt, ready, case, request.clone()).await {
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
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(Why::Version(reason)) => Ok(failed(case, reason)),
            Some(Why::World(reason)) => {
                Err(format!("case {} could not be asked: {reason}", case.id))
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
        case: &Case,
        request: ChatRequest,
    ) -> Result<CaseResult, Why> {
        let label = format!("{}@{}", prompt.name, ready.number);
        let mut used = PromptUse { label, ..PromptUse::default() };
        let put = self.put_secrets(prompt, ready, &mut used).await;
        put.map_err(|error| Why::World(error.to_string()))?;
        let question = question_of(&request);
        let asked = self.ask_model(gateway, &prompt.team, EVAL_ROUTE, used, request).await;
        let observed = asked.map_err(Why::of)?;
        if observed.failed {
            return Err(Why::Version("the model gave no whole answer".to_owned()));
        }
        let Case { judge, expected, rubric, .. } = case;
        let judged = self.judge(&prompt.team, judge, &question, &observed.said, expected, rubric);
        let score = judged.await.map_err(Why::World)?;
        let mut answer = observed.said;
        cut(&mut answer, ANSWER_BYTES);
        Ok(CaseResult {
            case: case.id.clone(),
            score: score.value,
            weight: case.weight,
            answer,
            reason: score.reason,
            latency_ms: observed.latency_ms,
            micro_usd: observed.micro_usd,
            is_kept: false,
        })
    }
}

/// What a version is asked in a case.
fn request_of(ready: &Ready, case: &Case) -> Result<ChatRequest, Problem> {
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
            headwater_prompts::Role::System => Speaker::System,
            headwater_prompts::Role::User => Speaker::User,
            headwater_prompts::Role::Assistant => Speaker::Assistant,
        };
        Message::text(role, message.content.clone())
    }));
    Ok(request)
}

/// All that a case's result hangs on.
fn fingerprint(ready: &Ready, case: &Case) -> String {
    let hash = Sha256::new().chain_update(&ready.sha256).chain_update(case.fingerprint());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(case: &Case, reason: String) -> CaseResult {
    let (case, weight) = (case.id.clone(), case.weight);
    let (score, answer, latency_ms, micro_usd, is_kept) = (0.0, String::new(), 0, 0, false);
    CaseResult { case, score, weight, answer, reason, latency_ms, micro_usd, is_kept }
}

fn cut(text: &mut String, bytes: usize) {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// All of them at the same time, in their order.
async fn all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|one| (Some(Box::pin(one)), None)).collect();
    std::future::poll_fn(move |context| {
        let mut is_done = true;
        for (future, output) in &mut running {
            if let Some(one) = future {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => (*future, *output) = (None, Some(done)),
                    std::task::Poll::Pending => is_done = false,
                }
            }
        }
        match is_done {
            true => std::task::Poll::Ready(
                running.iter_mut().filter_map(|(_, output)| output.take()).collect(),
            ),
            false => std::task::Poll::Pending,
        }
    })
    .await
}
