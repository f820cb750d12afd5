//! Pairs: a version's answer judged beside that of a baseline, which is the version in production
//! unless somebody names another one.

use headwater_prompts::{
    BothOrders, Case, Judge, Pair, PairOutcome, Preference, Problem, Score, pairwise_in,
};

use super::cases::{AGAIN_MS, ANSWER_BYTES, Run, TRIES, Why, cut, request_of};
use super::evals::{EvalAsk, all};
use super::handle::PromptsHandle;
use super::judging::Judging;
use super::keys::PromptKey;
use super::nouns::{PromptError, Ready};
use crate::gateway::Caller;

/// What a judge said of two answers.
pub(super) struct Compared {
    pub(super) score: Score,
    pub(super) outcome: PairOutcome,
    pub(super) orders_agree: bool,
    /// Of both judgings.
    pub(super) micro_usd: u64,
}

/// What a judge of pairs is told.
pub(super) struct Two<'a> {
    pub(super) question: &'a str,
    pub(super) own: &'a str,
    pub(super) baseline: &'a str,
    pub(super) expected: &'a str,
    pub(super) rubric: &'a str,
}

impl PromptsHandle {
    /// The version that these cases' answers are compared with; none where no case is judged so.
    ///
    /// # Errors
    /// [`PromptError::Invalid`] for `baseline`, and the store's.
    pub async fn baseline_of(
        &self,
        prompt: &PromptKey,
        ask: &EvalAsk,
        cases: &[Case],
    ) -> Result<Option<u64>, PromptError> {
        let wrong = |problem: String| PromptError::Invalid(Problem::new("baseline", problem));
        let version = ask.version;
        if !pairwise_in(cases) {
            return match ask.baseline {
                Some(_) => Err(wrong(
                    "is given, and no case that is asked is judged pairwise; leave it out".into(),
                )),
                None => Ok(None),
            };
        }
        let baseline = match ask.baseline {
            Some(baseline) => baseline,
            None => self.head(prompt).await?.production.ok_or_else(|| {
                wrong(
                    "is missing, and no version is in production to be compared with; name one \
                     here"
                        .into(),
                )
            })?,
        };
        match self.old_version(prompt, baseline).await {
            _ if baseline == version => Err(wrong(match ask.baseline {
                Some(_) => format!("is version {version} itself; name another one"),
                None => format!(
                    "is missing, and version {version} is the one in production; name another one \
                     here"
                ),
            })),
            Ok(_) => Ok(Some(baseline)),
            Err(PromptError::Unknown { what }) => {
                Err(wrong(format!("names {what}, which is not there; see its versions")))
            }
            Err(error) => Err(error),
        }
    }

    /// Compares two answers in both orders.
    ///
    /// # Errors
    /// In words, when the judge could not be asked.
    pub(super) async fn compare(
        &self,
        caller: &Caller,
        judge: &Judge,
        two: &Two<'_>,
    ) -> Result<Compared, String> {
        let orders = [(two.own, two.baseline), (two.baseline, two.own)];
        let asked = orders.map(|(first, second)| self.prefer(caller, judge, two, first, second));
        let mut said = Vec::new();
        for one in all(asked.into()).await {
            said.push(one?);
        }
        let [(version_first, why, one_usd), (baseline_first, other_why, other_usd)] =
            said.as_slice()
        else {
            return Err("the judge was not asked in both orders".to_owned());
        };
        let both = BothOrders { version_first: *version_first, baseline_first: *baseline_first };
        let (outcome, orders_agree) = (both.outcome(), both.agree());
        let reason = match orders_agree {
            true => why.clone(),
            false => format!(
                "the two orders disagree; with this version first: {why}; with the baseline \
                 first: {other_why}"
            ),
        };
        let micro_usd = one_usd.saturating_add(*other_usd);
        Ok(Compared { score: outcome.score(&reason), outcome, orders_agree, micro_usd })
    }

    /// Which of two answers a judge likes better, why, and what it cost to know.
    async fn prefer(
        &self,
        caller: &Caller,
        judge: &Judge,
        two: &Two<'_>,
        first: &str,
        second: &str,
    ) -> Result<(Preference, String, u64), String> {
        let Some(judging) = Judging::of(judge) else {
            return Err("this judge compares no answers".to_owned());
        };
        let Two { question, expected, rubric, .. } = *two;
        let words = [
            ("question", question),
            ("first", first),
            ("second", second),
            ("expected", expected),
            ("rubric", rubric),
        ];
        let mut attempt = 0;
        loop {
            let read = match self.ask_judge(caller, judging, &words).await {
                Ok(said) => Preference::read(&said.said)
                    .map(|(winner, reason)| (winner, reason, said.micro_usd))
                    .map_err(|problem| problem.to_string()),
                Err(why) => Err(why),
            };
            attempt += 1;
            match read {
                Ok(read) => return Ok(read),
                Err(why) if attempt >= TRIES => return Err(why),
                Err(_) => self.shared.runtime.pause(AGAIN_MS << attempt).await,
            }
        }
    }

    /// Asks the baseline what a version answered, and compares both answers; with what all of it
    /// cost.
    pub(super) async fn judge_pair(
        &self,
        run: &Run<'_>,
        baseline: &Ready,
        (case, question): (&Case, &str),
        own: &str,
    ) -> Result<(Score, Pair, u64), Why> {
        let number = baseline.number;
        let beside = match self.baseline_answer(run, baseline, case).await {
            Ok(beside) => beside,
            // Whoever answers wins against whoever does not, as it fails where it does not itself.
            Err(Why::Version(reason)) => {
                let outcome = PairOutcome::Win;
                let score = outcome.score(&format!("version {number} gave no answer: {reason}"));
                let answer = String::new();
                return Ok((
                    score,
                    Pair { baseline: number, answer, outcome, orders_agree: true },
                    0,
                ));
            }
            Err(why) => return Err(why),
        };
        let Case { judge, expected, rubric, .. } = case;
        let two = Two { question, own, baseline: &beside.said, expected, rubric };
        let compared = self.compare(run.caller, judge, &two).await.map_err(Why::Judge)?;
        let Compared { score, outcome, orders_agree, micro_usd } = compared;
        let micro_usd = micro_usd.saturating_add(beside.micro_usd);
        let mut answer = beside.said;
        cut(&mut answer, ANSWER_BYTES);
        Ok((score, Pair { baseline: number, answer, outcome, orders_agree }, micro_usd))
    }

    /// As many tries as the version itself has.
    async fn baseline_answer(
        &self,
        run: &Run<'_>,
        baseline: &Ready,
        case: &Case,
    ) -> Result<crate::gateway::Observed, Why> {
        let request =
            request_of(baseline, case).map_err(|problem| Why::Version(problem.to_string()))?;
        let mut attempt = 0;
        loop {
            let asked = self.answer(run, baseline, request.clone()).await;
            attempt += 1;
            match asked {
                Err(_) if attempt < TRIES => self.shared.runtime.pause(AGAIN_MS << attempt).await,
                asked => return asked,
            }
        }
    }
}
