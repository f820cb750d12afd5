//! One call: what the guest is told, and what it tells.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use headwater_sandbox::{Channel, Ended, EngineError, Execution, Limits};
use serde_json::json;

use crate::engine::unsupported;
use crate::guest::files::Files;

/// The most bytes of a program, its arguments, its environment and its standard input together.
const GIVEN_BYTES_MAX: usize = 64 << 20;

/// A call, for a guest that waits for one.
pub(crate) struct Order {
    /// What the guest reads: the length of the call, the call, and the program's own input.
    pub(crate) input: Vec<u8>,
    pub(crate) files: Arc<Mutex<Files>>,
    pub(crate) limits: Limits,
    pub(crate) began: Instant,
}

/// What a guest tells.
pub(crate) enum Event {
    /// It waits for its call.
    Ready,
    Heard(Channel, Vec<u8>),
    End(Report),
    /// There was no room for it.
    Failed(String),
}

/// A guest's end.
pub(crate) struct Report {
    /// Nothing where the call was given up.
    pub(crate) ended: Option<Ended>,
    pub(crate) cpu_us: u64,
    pub(crate) peak_bytes: u64,
}

/// Whether the engine takes a call, told before anything is done.
pub(crate) fn check(execution: &Execution, most: &Limits) -> Result<(), EngineError> {
    execution.limits.check_within(most)?;
    let texts = execution.arguments.iter().map(String::len).sum::<usize>()
        + execution.environment.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let given = execution.source.len() + execution.input.len() + texts;
    if given > GIVEN_BYTES_MAX {
        return Err(unsupported(format!(
            "take a program, arguments, an environment and an input of {given} bytes together; \
             send at most {GIVEN_BYTES_MAX}, or send a file"
        )));
    }
    for (name, value) in &execution.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(unsupported(format!(
                "take the environment variable {name:?}; a name has a character and no `=`, and \
                 neither it nor its value has a NUL"
            )));
        }
    }
    Ok(())
}

/// What a guest reads on its standard input.
pub(crate) fn input(execution: &Execution) -> Vec<u8> {
    let environment: BTreeMap<&str, &str> =
        execution.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let call = json!({
        "source": execution.source,
        "arguments": execution.arguments,
        "environment": environment,
    });
    let call = call.to_string();
    let mut input = (call.len() as u64).to_le_bytes().to_vec();
    input.extend_from_slice(call.as_bytes());
    input.extend_from_slice(&execution.input);
    input
}
