//! A linear chain of labels over a text's tokens: its likeliest path, and how sure each step is.

/// Labels: outside, then the beginning and the inside of each class.
pub(crate) const LABELS: usize = 9;

pub(crate) const OUTSIDE: usize = 0;
pub(crate) const PERSON: usize = 1;
pub(crate) const ADDRESS: usize = 3;
pub(crate) const ORGANISATION: usize = 5;
pub(crate) const PLACE: usize = 7;

pub(crate) type Row = [f32; LABELS];

/// Scores of one label after another one.
pub(crate) type Transitions = [Row; LABELS];

/// Whether a label may follow: an inside follows the beginning or the inside of its own class.
pub(crate) fn may_follow(before: usize, after: usize) -> bool {
    let is_inside = after != OUTSIDE && after.is_multiple_of(2);
    !is_inside || before == after || before + 1 == after
}

/// The labels that together score most.
pub(crate) fn best(rows: &[Row], transitions: &Transitions) -> Vec<usize> {
    let mut scores: Vec<Row> = Vec::with_capacity(rows.len());
    let mut origins: Vec<[usize; LABELS]> = Vec::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate() {
        let mut score = [f32::NEG_INFINITY; LABELS];
        let mut origin = [0; LABELS];
        for after in 0..LABELS {
            if place == 0 {
                if may_follow(OUTSIDE, after) {
                    score[after] = row[after];
                }
                continue;
            }
            for before in 0..LABELS {
                if may_follow(before, after) {
                    let own = scores[place - 1][before] + transitions[before][after] + row[after];
                    if own > score[after] {
                        (score[after], origin[after]) = (own, before);
                    }
                }
            }
        }
        scores.push(score);
        origins.push(origin);
    }
    let Some(last) = scores.last() else { return Vec::new() };
    let mut label = (0..LABELS).max_by(|one, other| last[*one].total_cmp(&last[*other]));
    let mut labels = vec![OUTSIDE; rows.len()];
    for place in (0..rows.len()).rev() {
        let own = label.unwrap_or(OUTSIDE);
        labels[place] = own;
        label = Some(origins[place][own]);
    }
    labels
}

fn log_sum(row: &Row) -> f32 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        return most;
    }
    most + row.iter().map(|own| (own - most).exp()).sum::<f32>().ln()
}

/// Of each token, the probability of each label; and of the whole, the scores that make it so.
pub(crate) struct Marginals {
    pub(crate) tokens: Vec<Row>,
    forward: Vec<Row>,
    backward: Vec<Row>,
    total: f32,
}

impl Marginals {
    pub(crate) fn new(rows: &[Row], transitions: &Transitions) -> Marginals {
        let never = f32::NEG_INFINITY;
        let mut forward: Vec<Row> = Vec::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            let mut own = [never; LABELS];
            for after in 0..LABELS {
                let mut into = [never; LABELS];
                for before in 0..LABELS {
                    if may_follow(before, after) {
                        into[before] = match place.checked_sub(1).map(|place| forward[place]) {
                            Some(last) => last[before] + transitions[before][after],
                            None if before == OUTSIDE => 0.0,
                            None => never,
                        };
                    }
                }
                own[after] = log_sum(&into) + row[after];
            }
            forward.push(own);
        }
        let mut backward = vec![[0.0; LABELS]; rows.len()];
        for place in (1..rows.len()).rev() {
            let next = backward[place];
            for before in 0..LABELS {
                let mut onward = [never; LABELS];
                for after in 0..LABELS {
                    if may_follow(before, after) {
                        onward[after] =
                            transitions[before][after] + rows[place][after] + next[after];
                    }
                }
                backward[place - 1][before] = log_sum(&onward);
            }
        }
        let total = forward.last().map_or(0.0, log_sum);
        let sure = |place: usize, label: usize| {
            (forward[place][label] + backward[place][label] - total).exp()
        };
        let tokens =
            (0..rows.len()).map(|place| std::array::from_fn(|label| sure(place, label))).collect();
        Marginals { tokens, forward, backward, total }
    }

    /// The probability that one label at this place is followed by another one.
    pub(crate) fn pair(
        &self,
        rows: &[Row],
        transitions: &Transitions,
        place: usize,
        labels: (usize, usize),
    ) -> f32 {
        let (before, after) = labels;
        if !may_follow(before, after) {
            return 0.0;
        }
        let into = self.forward[place][before] + transitions[before][after];
        (into + rows[place + 1][after] + self.backward[place + 1][after] - self.total).exp()
    }
}
