//! What an eval may cost: each answer whole and at the dearest target, and each judging of them.

use headwater_prompts::Case;

use super::cases::request_of;
use super::evals::{EvalAsk, taken};
use super::handle::PromptsHandle;
use super::judging::Judging;
use super::keys::PromptKey;
use super::nouns::{PromptError, Ready};
use super::usage::question_of;
use crate::gateway::{ChatRequest, GatewayHandle};

/// What a run may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    pub cases: usize,
    /// Of input, at most, that of judging models with it.
    pub tokens: u64,
    /// With whole answers at the dearest target, and the models that judge them.
    pub micro_usd: u64,
}

impl Estimate {
    /// Adds a request whose input has so many more tokens than it says, and tells how many its
    /// answer may have.
    fn add(&mut self, gateway: Option<&GatewayHandle>, request: &ChatRequest, more: u64) -> u64 {
        let input = headwater_gateway::input_tokens(request).saturating_add(more);
        self.tokens = self.tokens.saturating_add(input);
        let most = gateway.and_then(|gateway| gateway.dearest(request, more));
        let (output, micro_usd) = most.unwrap_or_default();
        self.micro_usd = self.micro_usd.saturating_add(micro_usd);
        output
    }
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
        let cases = taken(set.cases, ask.limit, ask.night);
        let baseline = match self.baseline_of(prompt, ask, &cases).await? {
            Some(baseline) => Some(self.old_version(prompt, baseline).await?),
            None => None,
        };
        let mut estimate = Estimate { cases: cases.len(), ..Estimate::default() };
        for case in &cases {
            let asked = (&*ready, baseline.as_deref());
            self.estimate_case(&prompt.team, asked, case, &mut estimate).await;
        }
        Ok(estimate)
    }

    /// A case that the version does not take is asked of nobody.
    async fn estimate_case(
        &self,
        team: &str,
        (ready, baseline): (&Ready, Option<&Ready>),
        case: &Case,
        estimate: &mut Estimate,
    ) {
        let gateway = self.shared.gateway.get();
        let Ok(request) = request_of(ready, case) else { return };
        let mut said = estimate.add(gateway, &request, 0);
        let baseline = baseline.filter(|_| case.judge.is_pairwise());
        if let Some(Ok(beside)) = baseline.map(|baseline| request_of(baseline, case)) {
            said = said.saturating_add(estimate.add(gateway, &beside, 0));
        }
        let Some(judging) = Judging::of(&case.judge) else { return };
        let question = question_of(&request);
        // Their words are counted as what answers may have.
        let answers = [("answer", ""), ("first", ""), ("second", "")];
        let told = [
            ("question", question.as_str()),
            ("expected", case.expected.as_str()),
            ("rubric", case.rubric.as_str()),
        ];
        let words: Vec<(&str, &str)> = answers.into_iter().chain(told).collect();
        if let Ok((_, request)) = self.judge_request(team, judging, &words).await {
            for _ in 0..if case.judge.is_pairwise() { 2 } else { 1 } {
                estimate.add(gateway, &request, said);
            }
        }
    }
}
