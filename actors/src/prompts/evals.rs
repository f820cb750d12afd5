//! Evals: a version asked the cases of a golden set, and its answers judged. What a case came to
//! is kept by all that it hangs on, so a run that was broken off goes on, and an equal case is not
//! paid for twice.

use headwater_prompts::{Case, mean_score};
use headwater_storage::retry::Applied;
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};
use serde::{Deserialize, Serialize};

use super::cases::request_of;
use super::handle::PromptsHandle;
use super::keys::{self, PromptKey};
use super::nouns::PromptError;
use super::records;
use crate::gateway::Caller;

/// Cases that one run asks at a time.
pub(super) const TOGETHER: usize = 4;
/// Bytes of results in one row; the store takes 100,000.
const PIECE_BYTES: usize = 80_000;

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
    /// Empty in a list.
    #[serde(skip)]
    pub results: Vec<CaseResult>,
    /// Cases that were asked.
    pub finished: usize,
    /// Its judges must not decide: they changed, and nobody has compared them with those before.
    #[serde(default)]
    pub is_unchecked: bool,
    /// The day, counted from 1970, whose nightly run this is.
    #[serde(default)]
    pub night: Option<u64>,
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
    /// Who pays.
    pub caller: Caller,
    /// Whether a run that was stopped is kept, too.
    pub keeps_stopped: bool,
    /// Asks all cases anew for the night of this day, and leaves it to the caller to keep the run.
    pub night: Option<u64>,
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
            let prompt = prompt.clone();
            Box::pin(async move {
                let row = transaction.get(&prompt.eval(id), ReadMode::Serializable).await?;
                let Some(row) = row else { return Ok(None) };
                let mut eval: Eval = records::decode(&row)?;
                let pieces = transaction.range(RangeRead::all(prompt.eval_pieces(id))).await?;
                let json: Vec<u8> = pieces.into_iter().flat_map(|(_, piece)| piece).collect();
                eval.results = serde_json::from_slice(&json)
                    .map_err(|error| StoreError::Corrupt(format!("eval {id}: {error}")))?;
                Ok(Some(eval))
            })
        });
        let unknown =
            || PromptError::Unknown { what: format!("eval {id} of the prompt '{}'", prompt.name) };
        read.await?.ok_or_else(unknown)
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
        let is_unchecked = !set.may_gate();
        let cases: Vec<Case> =
            set.cases.into_iter().take(ask.limit.unwrap_or(usize::MAX)).collect();
        let (mut results, mut stopped, mut spent) = (Vec::new(), None, 0u64);
        for together in cases.chunks(TOGETHER) {
            if ask.budget_micro_usd.is_some_and(|budget| spent >= budget) {
                stopped = Some(format!("its budget is used up after {} cases", results.len()));
                break;
            }
            let asked = together
                .iter()
                .map(|case| self.case(&gateway, prompt, &ready, (case, &ask.caller), ask.night));
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
            finished: results.len(),
            is_unchecked,
            night: ask.night,
            results,
        };
        match (eval.stopped.is_none() || ask.keeps_stopped) && ask.night.is_none() {
            true => self.keep_eval(prompt, eval).await,
            false => Ok(eval),
        }
    }

    async fn keep_eval(&self, prompt: &PromptKey, eval: Eval) -> Result<Eval, PromptError> {
        let id = self.shared.operation();
        let written = self.shared.retry.write(id, |transaction| {
            let (prompt, eval) = (prompt.clone(), eval.clone());
            Box::pin(async move { store_eval(transaction, &prompt, eval).await })
        });
        match written.await? {
            Applied::Now(eval) => Ok(eval),
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
    }
}

/// Keeps a run as the prompt's next eval.
pub(super) async fn store_eval(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    mut eval: Eval,
) -> Result<Eval, StoreError> {
    let newest: Vec<Eval> = records::newest(transaction, prompt.evals(), 1).await?;
    eval.id = newest.first().map_or(0, |newest| newest.id) + 1;
    let results = serde_json::to_vec(&eval.results)
        .map_err(|error| StoreError::Usage(format!("an eval: {error}")))?;
    for (place, piece) in results.chunks(PIECE_BYTES).enumerate() {
        transaction.set(&prompt.eval_piece(eval.id, place as u64), piece)?;
    }
    transaction.set(&prompt.eval(eval.id), &records::encode(&eval)?)?;
    // From now on a change of the set's judges changes what scores mean.
    let used = keys::golden_used(&prompt.team, &eval.golden_set);
    if transaction.get(&used, ReadMode::Serializable).await?.is_none() {
        transaction.set(&used, &[])?;
    }
    Ok(eval)
}

/// All of them at the same time, in their order.
pub(super) async fn all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
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
