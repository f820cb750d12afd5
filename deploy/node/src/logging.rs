//! Logs on standard error: coloured lines on a terminal, JSON elsewhere.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{LogFormat, LogSettings};
use crate::failure::Failure;

/// Libraries whose lines say nothing that our own do not.
const QUIETED: &str = "ractor=error,ractor_cluster=error,quinn=error";

/// It writes whole requests and answers of tools down, whatever the level.
const SILENCED: &str = "rmcp=off";

/// Starts the process's log. A second start in one process changes nothing.
///
/// # Errors
/// When `log.level` is neither a level nor directives.
pub(crate) fn start(settings: &LogSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(directives(&settings.level)).map_err(|error| {
        let level = &settings.level;
        Failure::settings(format!(
            "log.level '{level}': {error}; use error, warn, info, debug, trace or directives \
             such as info,headwater_actors=debug"
        ))
    })?;
    let human = match settings.format {
        LogFormat::Auto => stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let log = fmt::Subscriber::builder().with_env_filter(filter).with_writer(stderr);
    // `try_init` fails only when a log was started before, as tests in one process do.
    let _ = if human {
        let subscriber = log.with_ansi(stderr().is_terminal()).with_target(false).finish();
        tracing::subscriber::set_global_default(subscriber)
    } else {
        tracing::subscriber::set_global_default(log.json().flatten_event(true).finish())
    };
    Ok(())
}

/// A plain level is ours; the actor system below us speaks at that level of every session.
fn directives(level: &str) -> String {
    let chosen =
        if level.contains(['=', ',']) { level.to_owned() } else { format!("{level},{QUIETED}") };
    format!("{chosen},{SILENCED}")
}
