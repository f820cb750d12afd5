//! The table at the end of a benchmark: medians, and headwater's ratio to the baseline.

use std::fmt::Write;

use super::load::Figures;

/// All measurements at one load, by peer and round.
pub(super) struct Row {
    pub(super) workload: &'static str,
    pub(super) figures: Vec<Vec<Figures>>,
}

struct Column {
    name: &'static str,
    value: fn(&Figures) -> f64,
    /// Whether a larger figure is the better one.
    more_is_better: bool,
}

const COLUMNS: [Column; 5] = [
    Column { name: "req/s", value: |f| f.requests_per_s, more_is_better: true },
    Column { name: "tokens/s", value: |f| f.tokens_per_s, more_is_better: true },
    Column { name: "p50 ms", value: |f| f.p50_ms, more_is_better: false },
    Column { name: "p99 ms", value: |f| f.p99_ms, more_is_better: false },
    Column { name: "CPU-ms/ktoken", value: |f| f.cpu_ms_per_ktoken, more_is_better: false },
];

/// A Markdown table. A ratio above 1 says that headwater is better by that factor.
///
/// `peers` are the servers' names, and whether each is headwater.
pub(super) fn table(peers: &[(&str, bool)], rows: &[Row]) -> String {
    let mut text = String::from("| load | server |");
    for column in &COLUMNS {
        let _ = write!(text, " {} |", column.name);
    }
    text.push_str("\n| --- | --- |");
    text.push_str(&" --: |".repeat(COLUMNS.len()));
    text.push('\n');
    for row in rows {
        for ((peer, _), figures) in peers.iter().zip(&row.figures) {
            let _ = write!(text, "| {} | {peer} |", row.workload);
            for column in &COLUMNS {
                let _ = write!(text, " {:.1} |", median(figures, column));
            }
            text.push('\n');
        }
        ratios(&mut text, peers, row);
    }
    text
}

/// One line for each pair of a headwater and another server.
fn ratios(text: &mut String, peers: &[(&str, bool)], row: &Row) {
    let all = || peers.iter().zip(&row.figures);
    for ((our_name, _), our_figures) in all().filter(|((_, ours), _)| *ours) {
        for ((name, _), figures) in all().filter(|((_, ours), _)| !ours) {
            let _ = write!(text, "| {} | {our_name} : {name} |", row.workload);
            for column in &COLUMNS {
                let (ours, theirs) = (median(our_figures, column), median(figures, column));
                let ratio = if column.more_is_better { ours / theirs } else { theirs / ours };
                let _ = write!(text, " {ratio:.2} × |");
            }
            text.push('\n');
        }
    }
}

fn median(figures: &[Figures], column: &Column) -> f64 {
    let mut values: Vec<f64> = figures.iter().map(column.value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
