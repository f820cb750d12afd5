//! The Python in which clients and servers of other makers run.

use std::path::PathBuf;

use crate::node::NodeError;

/// HEADWATER_PYTHON, or the environment that the stage `python` makes in the target folder.
///
/// # Errors
/// [`NodeError::Python`] when it is not there.
pub fn python() -> Result<PathBuf, NodeError> {
    let python = match std::env::var_os("HEADWATER_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => {
            let test = std::env::current_exe()?;
            test.ancestors().nth(3).unwrap_or(&test).join("venv/bin/python")
        }
    };
    match python.is_file() {
        true => Ok(python),
        false => Err(NodeError::Python(python.display().to_string())),
    }
}
