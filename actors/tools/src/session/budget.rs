//! What a session may use up.

use crate::call::Problem;

/// The limits of a session; the defaults are those of a session that names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionBudget {
    pub calls_max: u64,
    /// Rounds of the model.
    pub iterations_max: u64,
    /// All calls together, in millionths of a dollar.
    pub microdollars_max: u64,
    /// From its beginning on, pauses left out, in ms.
    pub wall_ms_max: u64,
    /// Keys and values together.
    pub scratchpad_bytes: u64,
    pub scratchpad_keys: u64,
    /// The newest steps that are remembered.
    pub trace_steps: u64,
    /// It ends when it was not used for so long, in ms; a paused one does not.
    pub idle_ttl_ms: u64,
    /// It ends when it is so old, paused or not, in ms.
    pub ttl_ms: u64,
}

impl Default for SessionBudget {
    fn default() -> Self {
        SessionBudget {
            calls_max: 200,
            iterations_max: 50,
            microdollars_max: 5_000_000,
            wall_ms_max: 3_600_000,
            scratchpad_bytes: 1 << 20,
            scratchpad_keys: 1_000,
            trace_steps: 500,
            idle_ttl_ms: 1_800_000,
            ttl_ms: 86_400_000,
        }
    }
}

impl SessionBudget {
    /// # Errors
    /// When a limit is out of its range.
    pub fn check(&self) -> Result<(), Problem> {
        const WEEK_MS: u64 = 7 * 86_400_000;
        for (field, value, least, most) in [
            ("calls_max", self.calls_max, 0, 100_000),
            ("iterations_max", self.iterations_max, 0, 10_000),
            ("microdollars_max", self.microdollars_max, 0, 1_000_000_000_000),
            ("wall_ms_max", self.wall_ms_max, 1, WEEK_MS),
            ("scratchpad_bytes", self.scratchpad_bytes, 0, 64 << 20),
            ("scratchpad_keys", self.scratchpad_keys, 0, 100_000),
            ("trace_steps", self.trace_steps, 0, 10_000),
            ("idle_ttl_ms", self.idle_ttl_ms, 1, WEEK_MS),
            ("ttl_ms", self.ttl_ms, 1, WEEK_MS),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Problem::new(field, format!("is {value}; must be {least} to {most}")));
            }
        }
        Ok(())
    }
}
