//! Progress of long work: a bar on a terminal, a log line now and then elsewhere.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

/// Log lines come at every tenth of the whole.
const PARTS: u64 = 10;

/// One piece of long work whose size may be known.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    last_part: u64,
}

impl Progress {
    /// Starts to show work of `total` units; unknown when `None`.
    pub(crate) fn start(what: &str, total: Option<u64>, bytes: bool) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let template = match (total.is_some(), bytes) {
                (true, true) => "{msg} {wide_bar} {bytes}/{total_bytes} {eta}",
                (true, false) => "{msg} {wide_bar} {pos}/{len} {eta}",
                (false, true) => "{msg} {spinner} {bytes}",
                (false, false) => "{msg} {spinner} {pos}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(what.to_owned());
            bar
        });
        Progress { bar, what: what.to_owned(), last_part: 0 }
    }

    /// Shows how far the work is; `total` may become known on the way.
    pub(crate) fn at(&mut self, done: u64, total: Option<u64>) {
        if let Some(bar) = &self.bar {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(done);
        } else if let Some(total) = total.filter(|total| *total > 0) {
            let part = done.saturating_mul(PARTS) / total;
            if part > self.last_part {
                self.last_part = part;
                tracing::info!(done, total, "{}", self.what);
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
