//! The same for many prompts: one that fails does not keep the others from their turn.

use crate::failure::{Failure, FailureKind};

/// # Errors
/// What went wrong with any of them; a node that cannot be reached ends it at once.
pub(super) fn each(
    names: &[String],
    mut act: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut failed: Option<Failure> = None;
    for name in names {
        let Err(Failure { kind, message }) = act(name) else { continue };
        let is_last = kind == FailureKind::Unavailable;
        failed = Some(match failed {
            Some(before) => Failure::new(before.kind, format!("{}\n{message}", before.message)),
            None => Failure { kind, message },
        });
        if is_last {
            break;
        }
    }
    failed.map_or(Ok(()), Err)
}
