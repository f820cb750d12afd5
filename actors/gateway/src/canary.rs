//! A canary beside what it may replace: when it is worse, beyond doubt, it is taken back.
//!
//! Both sides are counted from the moment that the canary began. Its failures, and its answers that
//! begin later than nine of ten of the others' do, are put to Wald's sequential test ("Sequential
//! tests of statistical hypotheses", 1945): the ratio of how likely they are for a canary that is
//! so much worse to how likely they are for one that is as good. How much worse a failing one is
//! nobody knows: the mean over some cases is taken, so that one that always fails is known after
//! a few requests, before its breaker holds off the rest. Whoever looks after every request still
//! condemns a good canary at most once in [`DOUBT`] times, as far as the others' share is known
//! (Ville's inequality).

/// One in so many good canaries is taken back by chance, at each of the two tests.
const DOUBT: f64 = 1_000.0;
/// Requests of the canary before anything is said of its failures.
const FEWEST: u64 = 5;
/// Requests of the others before anything is said, and answers of both before anything is said of
/// their times.
const FEWEST_KNOWN: u64 = 20;
/// Share of failures below which two sides do not differ.
const CALM: f64 = 0.005;
/// A canary is worse when its share of failures is twice the others', and so much more at least.
const WORSE: f64 = 0.05;
/// The share of failures of one that works hardly ever.
const HARDLY: f64 = 0.95;
/// The others' share of late answers, by what late means; and a worse canary's.
const LATE: f64 = 0.1;
const LATER: f64 = 0.3;
/// Buckets of times: four in each doubling, from 1 ms to about 4 minutes.
const BUCKETS: usize = 72;

/// What happened on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Side {
    succeeded: u64,
    failed: u64,
    /// Answers by the time to their first part.
    first: [u64; BUCKETS],
}

impl Default for Side {
    fn default() -> Side {
        Side { succeeded: 0, failed: 0, first: [0; BUCKETS] }
    }
}

impl Side {
    fn requests(&self) -> u64 {
        self.succeeded + self.failed
    }

    fn failure_share(&self) -> f64 {
        self.failed as f64 / self.requests().max(1) as f64
    }

    /// The share to expect from now on: few requests without a failure do not mean that none ever
    /// fails (Laplace's rule of succession).
    fn expected_share(&self) -> f64 {
        (self.failed + 1) as f64 / (self.requests() + 2) as f64
    }

    /// The bucket that holds the time above which a tenth of the answers lie.
    fn late_bucket(&self) -> usize {
        let all: u64 = self.first.iter().sum();
        let mut above = all;
        for (bucket, count) in self.first.iter().enumerate() {
            above -= count;
            if above as f64 <= LATE * all as f64 {
                return bucket;
            }
        }
        BUCKETS - 1
    }
}

fn bucket_of(first_ms: u64) -> usize {
    let place = 4.0 * (first_ms.max(1) as f64).log2();
    (place as usize).min(BUCKETS - 1)
}

/// The end of a bucket, in ms.
fn end_ms(bucket: usize) -> u64 {
    ((bucket + 1) as f64 / 4.0).exp2().ceil() as u64
}

/// Who asked whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    Canary,
    Others,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CanaryWatch {
    canary: Side,
    others: Side,
}

/// Logarithm of how much likelier `hits` of `all` are at the share `worse` than at `good`.
fn evidence(hits: u64, all: u64, good: f64, worse: f64) -> f64 {
    let misses = all.saturating_sub(hits) as f64;
    hits as f64 * (worse / good).ln() + misses * ((1.0 - worse) / (1.0 - good)).ln()
}

/// The same of failures, as the mean over some shares that a worse canary may have.
fn failing(canary: &Side, good: f64) -> f64 {
    let worse = (2.0 * good).max(good + WORSE).min(HARDLY);
    let cases = [worse, (worse + HARDLY) / 2.0, HARDLY];
    let likely = cases.map(|case| evidence(canary.failed, canary.requests(), good, case).exp());
    (likely.iter().sum::<f64>() / likely.len() as f64).ln()
}

impl CanaryWatch {
    fn side(&mut self, party: Party) -> &mut Side {
        match party {
            Party::Canary => &mut self.canary,
            Party::Others => &mut self.others,
        }
    }

    /// An answer that began after so long, in ms.
    pub fn begun(&mut self, party: Party, first_ms: u64) {
        let side = self.side(party);
        side.succeeded += 1;
        side.first[bucket_of(first_ms)] += 1;
    }

    /// A try that failed, and not by the request's fault.
    pub fn failed(&mut self, party: Party) {
        self.side(party).failed += 1;
    }

    /// An answer that began and broke off.
    pub fn broke_off(&mut self, party: Party) {
        let side = self.side(party);
        side.succeeded = side.succeeded.saturating_sub(1);
        side.failed += 1;
    }

    /// Why the canary is to be taken back; none as long as it is not known to be worse.
    pub fn verdict(&self) -> Option<String> {
        let CanaryWatch { canary, others } = self;
        if canary.requests() < FEWEST || others.requests() < FEWEST_KNOWN {
            return None;
        }
        if failing(canary, others.expected_share().clamp(CALM, 0.9)) >= DOUBT.ln() {
            return Some(format!(
                "{:.1} % of {} requests failed, {:.1} % of {} elsewhere",
                100.0 * canary.failure_share(),
                canary.requests(),
                100.0 * others.failure_share(),
                others.requests(),
            ));
        }
        let late = others.late_bucket();
        let answers: u64 = canary.first.iter().sum();
        let later: u64 = canary.first.iter().skip(late + 1).sum();
        let known = answers.min(others.succeeded) >= FEWEST_KNOWN;
        if known && evidence(later, answers, LATE, LATER) >= DOUBT.ln() {
            return Some(format!(
                "{later} of {answers} answers began after more than {} ms, where a tenth of those \
                 elsewhere do",
                end_ms(late),
            ));
        }
        None
    }
}
