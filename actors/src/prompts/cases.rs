//! One case of an eval: asked, judged, and kept by all that it hangs on.

use headwater_prompts::{Case, Pair, PairOutcome, Problem, Role};
use headwater_storage::{ReadMode, StoreError};
use sha2::{Digest, Sha256};

use super::evals::CaseResult;
use super::handle::PromptsHandle;
use super::judging::Judged;
use super::keys::{self, PromptKey};
use super::nouns::Ready;
use super::records;
use super::usage::{EVAL_ROUTE, apply_settings, messages_of, question_of};
use crate::gateway::{
    Caller, ChatRequest, GatewayError, GatewayHandle, Message, Observed, PromptUse, Role as Speaker,
};

/// Tries of a case whose answer or judge did not come.
pub(super) const TRIES: u32 = 3;
/// The pause before the next try, in ms.
pub(super) const AGAIN_MS: u64 = 500;
/// Bytes of an answer that are kept.
pub(super) const ANSWER_BYTES: usize = 2_000;

/// What all cases of a run have in common.
pub(super) struct Run<'a> {
    pub(super) gateway: &'a GatewayHandle,
    pub(super) prompt: &'a PromptKey,
    pub(super) ready: &'a Ready,
    /// What pairwise judges compare with; there wherever a case has one.
    pub(super) baseline: Option<&'a Ready>,
    pub(super) caller: &'a Caller,
    /// The day whose night asks every case anew.
    pub(super) night: Option<u64>,
}

impl Run<'_> {
    /// The baseline, where the case is compared with it.
    fn beside(&self, case: &Case) -> Option<&Ready> {
        self.baseline.filter(|_| case.judge.is_pairwise())
    }
}

/// Why a case has no score yet.
pub(super) enum Why {
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
    pub(super) async fn case(&self, run: &Run<'_>, case: &Case) -> Result<CaseResult, String> {
        let request = match request_of(run.ready, case) {
            Ok(request) => request,
            // The version does not take the case's variables: it fails the case.
            Err(problem) => return Ok(failed(run, case, problem.to_string())),
        };
        let key = run.key(case);
        if let Some(kept) = self.kept_case(&key).await.map_err(|error| error.to_string())? {
            return Ok(CaseResult {
                is_kept: true,
                case: case.id.clone(),
                weight: case.weight,
                // A baseline of the same text may have had another number.
                pair: kept.pair.map(|pair| Pair {
                    baseline: run.baseline.map_or(pair.baseline, |baseline| baseline.number),
                    ..pair
                }),
                ..kept
            });
        }
        let mut last = None;
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.shared.runtime.pause(AGAIN_MS << attempt).await;
            }
            match self.ask_case(run, case, request.clone()).await {
                Ok(result) => return self.keep_case(&key, result).await,
                Err(why @ Why::Judge(_)) => {
                    last = Some(why);
                    break;
                }
                Err(why) => last = Some(why),
            }
        }
        match last {
            Some(Why::Version(reason)) => Ok(failed(run, case, reason)),
            Some(Why::World(reason)) => {
                Err(format!("case {} could not be asked: {reason}", case.id))
            }
            Some(Why::Judge(reason)) => {
                Err(format!("the answer to case {} could not be judged: {reason}", case.id))
            }
            None => Err(format!("case {} was not asked", case.id)),
        }
    }

    /// Keeps what a case came to, for whoever asks it again. Another node may have asked it
    /// meanwhile: one of both results is kept, and counts.
    async fn keep_case(&self, key: &[u8], result: CaseResult) -> Result<CaseResult, String> {
        let row = records::encode(&result).map_err(|error| error.to_string())?;
        let written = self.shared.retry.write_idempotent(|transaction| {
            let (key, row) = (key.to_vec(), row.clone());
            Box::pin(async move {
                let kept = transaction.get(&key, ReadMode::Serializable).await?;
                if kept.is_none() {
                    transaction.set(&key, &row)?;
                }
                Ok(kept)
            })
        });
        match written.await {
            Ok(Some(kept)) => {
                let kept: CaseResult = records::decode(&kept).map_err(|error| error.to_string())?;
                let CaseResult { case, weight, micro_usd, .. } = result;
                Ok(CaseResult { case, weight, micro_usd, ..kept })
            }
            Ok(None) => Ok(result),
            // What is not kept is paid for again.
            Err(error) => {
                tracing::debug!(%error, "a case's result was not kept");
                Ok(result)
            }
        }
    }

    async fn kept_case(&self, key: &[u8]) -> Result<Option<CaseResult>, StoreError> {
        let read = self.shared.retry.read(|transaction| {
            let key = key.to_vec();
            Box::pin(async move { transaction.get(&key, ReadMode::Snapshot).await })
        });
        read.await?.as_deref().map(records::decode).transpose()
    }

    /// What a version answers to a request.
    pub(super) async fn answer(
        &self,
        run: &Run<'_>,
        ready: &Ready,
        request: ChatRequest,
    ) -> Result<Observed, Why> {
        let label = format!("{}@{}", run.prompt.name, ready.number);
        let mut used = PromptUse { label, ..PromptUse::default() };
        let put = self.put_secrets(run.prompt, ready, &mut used).await;
        put.map_err(|error| Why::World(error.to_string()))?;
        let caller = run.caller.clone();
        let asked = self.ask_model(run.gateway, caller, EVAL_ROUTE, used, request).await;
        let observed = asked.map_err(Why::of)?;
        match observed.failed {
            true => Err(Why::Version("the model gave no whole answer".to_owned())),
            false => Ok(observed),
        }
    }

    async fn ask_case(
        &self,
        run: &Run<'_>,
        case: &Case,
        request: ChatRequest,
    ) -> Result<CaseResult, Why> {
        let question = question_of(&request);
        let observed = self.answer(run, run.ready, request).await?;
        // The answer is paid for; what fails now is the judge.
        let (score, pair, judge_micro_usd) = match run.beside(case) {
            Some(baseline) => {
                let asked = (case, question.as_str());
                let (score, pair, cost) =
                    self.judge_pair(run, baseline, asked, &observed.said).await?;
                (score, Some(pair), cost)
            }
            None => {
                let judged = self.judge_case(run.caller, case, &question, &observed.said).await?;
                (judged.score, None, judged.micro_usd)
            }
        };
        let mut answer = observed.said;
        cut(&mut answer, ANSWER_BYTES);
        Ok(CaseResult {
            case: case.id.clone(),
            score: score.value,
            weight: case.weight,
            answer,
            reason: score.reason,
            latency_ms: observed.latency_ms,
            micro_usd: observed.micro_usd.saturating_add(judge_micro_usd),
            is_kept: false,
            pair,
        })
    }

    async fn judge_case(
        &self,
        caller: &Caller,
        case: &Case,
        question: &str,
        answer: &str,
    ) -> Result<Judged, Why> {
        let Case { judge, expected, rubric, .. } = case;
        let mut attempt = 0;
        loop {
            let judged = self.judge(caller, judge, question, answer, expected, rubric).await;
            attempt += 1;
            match judged {
                Ok(judged) => return Ok(judged),
                Err(why) if attempt >= TRIES => return Err(Why::Judge(why)),
                Err(_) => self.shared.runtime.pause(AGAIN_MS << attempt).await,
            }
        }
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

impl Run<'_> {
    /// Where a case's result is kept: by all that it hangs on.
    fn key(&self, case: &Case) -> Vec<u8> {
        let hash = Sha256::new().chain_update(&self.ready.sha256);
        let hash = hash.chain_update(case.fingerprint());
        let hash = hash.chain_update(self.gateway.version().to_be_bytes());
        let hash = match self.beside(case) {
            Some(baseline) => hash.chain_update(&baseline.sha256),
            None => hash,
        };
        let named: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        match self.night {
            Some(day) => self.prompt.night_case(day, &named),
            None => keys::case_result(&self.prompt.team, &named),
        }
    }
}

fn failed(run: &Run<'_>, case: &Case, reason: String) -> CaseResult {
    let pair = run.beside(case).map(|baseline| Pair {
        baseline: baseline.number,
        answer: String::new(),
        outcome: PairOutcome::Loss,
        orders_agree: true,
    });
    let (case, weight) = (case.id.clone(), case.weight);
    let (score, answer, latency_ms, micro_usd, is_kept) = (0.0, String::new(), 0, 0, false);
    CaseResult { case, score, weight, answer, reason, latency_ms, micro_usd, is_kept, pair }
}

pub(super) fn cut(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}
