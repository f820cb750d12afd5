//! New judges over answers that were judged before.

use headwater_prompts::{Case, Rescored, judged_now};

use super::{Anchor, JudgeCheckAsk};
use crate::prompts::cases::{AGAIN_MS, TRIES};
use crate::prompts::evals::{TOGETHER, all};
use crate::prompts::handle::PromptsHandle;
use crate::prompts::judging::Judged;
use crate::prompts::pairs::Two;

/// What a comparison may cost unless it says otherwise, in millionths of a US dollar.
const BUDGET_MICRO_USD: u64 = 1_000_000;

/// What the new judges said.
#[derive(Default)]
pub(super) struct Rejudged {
    pub(super) answers: Vec<Rescored>,
    pub(super) micro_usd: u64,
    pub(super) problems: Vec<String>,
}

impl PromptsHandle {
    pub(super) async fn rejudge(
        &self,
        anchors: Vec<Anchor>,
        (before, after): (&[Case], &[Case]),
        ask: &JudgeCheckAsk,
    ) -> Rejudged {
        let budget = ask.budget_micro_usd.unwrap_or(BUDGET_MICRO_USD);
        let mut done = Rejudged::default();
        for together in anchors.chunks(TOGETHER) {
            if done.micro_usd >= budget {
                let count = done.answers.len();
                done.problems.push(format!(
                    "its budget of {budget} micro-USD is used up after {count} answers; raise it"
                ));
                break;
            }
            let judging =
                together.iter().map(|anchor| self.judge_anchor(anchor, before, after, ask));
            for (anchor, judged) in together.iter().zip(all(judging.collect()).await) {
                match judged {
                    Ok(Judged { score, micro_usd }) => {
                        done.micro_usd = done.micro_usd.saturating_add(micro_usd);
                        let (eval, case) = (anchor.eval, anchor.case.id.clone());
                        done.answers.push(Rescored {
                            eval,
                            case,
                            old: anchor.old,
                            new: score.value,
                        });
                    }
                    Err(why) => done.problems.push(format!(
                        "the answer to case '{}' could not be judged: {why}",
                        anchor.case.id
                    )),
                }
            }
            // A judge that says nothing is asked no more.
            if !done.problems.is_empty() {
                break;
            }
        }
        done
    }

    async fn judge_anchor(
        &self,
        anchor: &Anchor,
        before: &[Case],
        after: &[Case],
        ask: &JudgeCheckAsk,
    ) -> Result<Judged, String> {
        let Some((judge, rubric)) = judged_now(&anchor.case, before, after) else {
            return Err("its judge has not changed".to_owned());
        };
        let Anchor { case, question, answer, beside, .. } = anchor;
        if judge.is_pairwise() {
            let Some(baseline) = beside else {
                return Err("its new judge is pairwise, and its eval kept no whole answer of a \
                            baseline to compare with"
                    .to_owned());
            };
            let (own, expected, rubric) = (answer, &case.expected, &rubric);
            let two = Two { question, own, baseline, expected, rubric };
            let compared = self.compare(&ask.caller, &judge, &two).await?;
            return Ok(Judged { score: compared.score, micro_usd: compared.micro_usd });
        }
        let mut attempt = 0;
        loop {
            let judged =
                self.judge(&ask.caller, &judge, question, answer, &case.expected, &rubric).await;
            attempt += 1;
            match judged {
                Ok(judged) => return Ok(judged),
                Err(why) if attempt >= TRIES => return Err(why),
                Err(_) => self.shared.runtime.pause(AGAIN_MS << attempt).await,
            }
        }
    }
}
