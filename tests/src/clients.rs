//! The Python and the packages of Node in which clients and servers of other makers run.

use std::path::{Path, PathBuf};

use crate::node::NodeError;

/// HEADWATER_PYTHON, or the environment that the stage `clients` makes in the target folder.
///
/// # Errors
/// [`NodeError::Clients`] when it is not there.
pub fn python() -> Result<PathBuf, NodeError> {
    let python = made("HEADWATER_PYTHON", "venv/bin/python")?;
    if python.is_file() { Ok(python) } else { Err(missing(&python)) }
}

/// HEADWATER_NODE_MODULES, or the folder with `node_modules` that the stage `clients` makes.
///
/// # Errors
/// [`NodeError::Clients`] when it is not there.
pub fn node_packages() -> Result<PathBuf, NodeError> {
    let folder = made("HEADWATER_NODE_MODULES", "node")?;
    if folder.join("node_modules").is_dir() { Ok(folder) } else { Err(missing(&folder)) }
}

/// HEADWATER_CHROMIUM, or Debian's.
///
/// # Errors
/// [`NodeError::Clients`] when it is not there.
pub fn chromium() -> Result<PathBuf, NodeError> {
    let own = std::env::var_os("HEADWATER_CHROMIUM").map(PathBuf::from);
    let browser = own.unwrap_or_else(|| PathBuf::from("/usr/bin/chromium"));
    if browser.is_file() { Ok(browser) } else { Err(missing(&browser)) }
}

fn made(variable: &str, name: &str) -> Result<PathBuf, NodeError> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    let test = std::env::current_exe()?;
    Ok(test.ancestors().nth(3).unwrap_or(&test).join(name))
}

fn missing(path: &Path) -> NodeError {
    NodeError::Clients(path.display().to_string())
}
