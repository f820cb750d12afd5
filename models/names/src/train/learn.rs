//! Learns the chain's scores: the gradient of the labels' likelihood, with AdaGrad's steps.

use super::chance::Chance;
use super::lists::Lists;
use super::text::{Example, Labelled, example};
use crate::chain::{
    ADDRESS, LABELS, Marginals, ORGANISATION, OUTSIDE, PERSON, PLACE, Row, Transitions,
};
use crate::feature::{BUCKETS, features};
use crate::token::{Token, tokens};
use crate::weights::Weights;

/// How much is learnt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainSettings {
    pub seed: u64,
    /// Texts that are made and learnt from, each once.
    pub texts: usize,
}

impl Default for TrainSettings {
    fn default() -> TrainSettings {
        TrainSettings { seed: 1, texts: 200_000 }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    pub texts: usize,
    /// Of the last texts, the mean negative logarithm of a token's likelihood.
    pub loss: f32,
}

/// The first step of a score.
const STEP: f32 = 0.2;
/// How often, in a hundred, a word of a name is seen by its letters alone.
const HIDDEN: usize = 48;
/// Texts between two words about the progress.
const REPORT: usize = 5_000;

/// A score and the sum of its squared gradients.
struct Scores {
    values: Vec<Row>,
    squares: Vec<Row>,
    pairs: Transitions,
    pair_squares: Transitions,
}

/// Learns from texts that a seed draws, and tells how far it is.
pub fn train(settings: TrainSettings, mut tell: impl FnMut(Progress)) -> Weights {
    let (lists, mut chance) = (Lists::new(), Chance::new(settings.seed));
    let mut scores = Scores {
        values: vec![[0.0; LABELS]; BUCKETS],
        squares: vec![[1e-3; LABELS]; BUCKETS],
        pairs: [[0.0; LABELS]; LABELS],
        pair_squares: [[1e-3; LABELS]; LABELS],
    };
    let (mut loss, mut count) = (0.0, 0);
    for number in 1..=settings.texts {
        let example = example(&lists, &mut chance);
        let tokens = tokens(&example.text);
        let labels = labels(&example, &tokens);
        let share = |label: &usize| if *label == OUTSIDE { HIDDEN / 4 } else { HIDDEN };
        let hidden: Vec<bool> = labels.iter().map(|label| chance.percent(share(label))).collect();
        let mut buckets: Vec<Vec<u32>> = Vec::with_capacity(tokens.len());
        features(&example.text, &tokens, &|place| hidden[place], |_, own| {
            buckets.push(own.to_vec())
        });
        loss += scores.learn(&buckets, &labels);
        count += tokens.len();
        if number % REPORT == 0 {
            tell(Progress { texts: number, loss: loss / count.max(1) as f32 });
            (loss, count) = (0.0, 0);
        }
    }
    Weights::new(&scores.values, scores.pairs)
}

impl Scores {
    fn row(&self, buckets: &[u32]) -> Row {
        let mut sums = [0.0; LABELS];
        for bucket in buckets {
            for (sum, own) in sums.iter_mut().zip(&self.values[*bucket as usize]) {
                *sum += own;
            }
        }
        sums
    }

    /// One step; gives the loss before it.
    fn learn(&mut self, buckets: &[Vec<u32>], labels: &[usize]) -> f32 {
        let rows: Vec<Row> = buckets.iter().map(|own| self.row(own)).collect();
        let sure = Marginals::new(&rows, &self.pairs);
        let mut loss = 0.0;
        for (place, label) in labels.iter().enumerate() {
            loss -= sure.tokens[place][*label].max(1e-9).ln();
        }
        for place in 1..labels.len() {
            for before in 0..LABELS {
                for after in 0..LABELS {
                    let is_so = (labels[place - 1], labels[place]) == (before, after);
                    let expected = sure.pair(&rows, &self.pairs, place - 1, (before, after));
                    let gradient = expected - f32::from(u8::from(is_so));
                    if gradient.abs() > 1e-4 {
                        let square = &mut self.pair_squares[before][after];
                        *square += gradient * gradient;
                        self.pairs[before][after] -= STEP * gradient / square.sqrt();
                    }
                }
            }
        }
        for (place, own) in buckets.iter().enumerate() {
            let mut gradient = sure.tokens[place];
            gradient[labels[place]] -= 1.0;
            if gradient.iter().all(|own| own.abs() < 1e-3) {
                continue;
            }
            for bucket in own {
                let (values, squares) =
                    (&mut self.values[*bucket as usize], &mut self.squares[*bucket as usize]);
                for label in 0..LABELS {
                    squares[label] += gradient[label] * gradient[label];
                    values[label] -= STEP * gradient[label] / squares[label].sqrt();
                }
            }
        }
        loss
    }
}

/// The label of each token.
fn labels(example: &Example, tokens: &[Token]) -> Vec<usize> {
    let mut spans = example.spans.iter().peekable();
    let mut labels = Vec::with_capacity(tokens.len());
    let mut inside = false;
    for token in tokens {
        while spans.peek().is_some_and(|(_, range)| range.end <= token.range.start) {
            spans.next();
            inside = false;
        }
        let Some((label, _)) = spans.peek().filter(|(_, range)| range.start < token.range.end)
        else {
            labels.push(OUTSIDE);
            continue;
        };
        let first = match label {
            Labelled::Person => PERSON,
            Labelled::Address => ADDRESS,
            Labelled::Organisation => ORGANISATION,
            Labelled::Place => PLACE,
        };
        labels.push(first + usize::from(inside));
        inside = true;
    }
    labels
}
