//! Evals: a version asked the cases of a golden set, and its answers judged. What a case came to
//! is kept by all that it hangs on, so a run that was broken off goes on, and an equal case is not
//! paid for twice.

use headwater_prompts::spread::BATCH_CASES;
use headwater_prompts::{Case, Pair, Pairs, mean_score};
use headwater_storage::retry::Applied;
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};
use serde::{Deserialize, Serialize};

use super::cases::Run;
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
    /// How it came out against a baseline's answer, where it was compared with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Pair>,
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
    /// What its pairs came to, where cases were compared with a baseline's answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<Pairs>,
}

/// What a run is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalAsk {
    pub version: u64,
    pub golden_set: String,
    /// What pairwise judges compare with; the version in production without it.
    pub baseline: Option<u64>,
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

/// What a run's cases came to.
pub(super) struct Asked {
    pub(super) results: Vec<CaseResult>,
    pub(super) stopped: Option<String>,
    pub(super) micro_usd: u64,
}

impl PromptsHandle {
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
        let (is_unchecked, golden_version) = (!set.may_gate(), set.version);
        let cases = taken(set.cases, ask.limit, ask.night);
        let baseline = match self.baseline_of(prompt, &ask, &cases).await? {
            Some(baseline) => Some(self.old_version(prompt, baseline).await?),
            None => None,
        };
        let (baseline, caller) = (baseline.as_deref(), &ask.caller);
        let night = ask.night;
        let run = Run { gateway: &gateway, prompt, ready: &ready, baseline, caller, night };
        let asked = match cases.len() > BATCH_CASES {
            true => self.spread(&run, &cases, (&ask, golden_version)).await?,
            false => self.ask_all(&run, &cases, ask.budget_micro_usd).await,
        };
        let Asked { results, stopped, micro_usd } = asked;
        let scores = results.iter().map(|result| (result.score, result.weight));
        let score = mean_score(scores).filter(|_| stopped.is_none());
        let pairs = baseline.map(|baseline| {
            Pairs::of(baseline.number, results.iter().filter_map(|result| result.pair.as_ref()))
        });
        let eval = Eval {
            id: 0,
            version: ask.version,
            golden_set: ask.golden_set,
            golden_version,
            stopped,
            cases: cases.len(),
            score,
            micro_usd,
            by: ask.by,
            created_ms: self.shared.runtime.wall_ms(),
            finished: results.len(),
            is_unchecked,
            night: ask.night,
            pairs,
            results,
        };
        match (eval.stopped.is_none() || ask.keeps_stopped) && ask.night.is_none() {
            true => self.keep_eval(prompt, eval).await,
            false => Ok(eval),
        }
    }

    /// All cases on this node, some at a time.
    async fn ask_all(&self, run: &Run<'_>, cases: &[Case], budget_micro_usd: Option<u64>) -> Asked {
        let (mut results, mut stopped, mut spent) = (Vec::new(), None, 0u64);
        for together in cases.chunks(TOGETHER) {
            if budget_micro_usd.is_some_and(|budget| spent >= budget) {
                stopped = Some(format!("its budget is used up after {} cases", results.len()));
                break;
            }
            let asked = together.iter().map(|case| self.case(run, case));
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
        Asked { results, stopped, micro_usd: spent }
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

/// The cases that a run asks. By night the version in production is asked, which pairs would
/// compare with itself.
pub(super) fn taken(cases: Vec<Case>, limit: Option<usize>, night: Option<u64>) -> Vec<Case> {
    let is_asked = |case: &Case| night.is_none() || !case.judge.is_pairwise();
    let limit = limit.unwrap_or(usize::MAX);
    cases.into_iter().filter(is_asked).take(limit).collect()
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
