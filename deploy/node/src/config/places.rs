//! Where things live when nobody says where.

use std::path::PathBuf;

use directories::ProjectDirs;

use crate::config::Settings;
use crate::failure::Failure;

/// The node's data folder: the setting, else the user's own.
///
/// # Errors
/// When there is no setting and the user has no home folder.
pub fn data_dir(settings: &Settings) -> Result<PathBuf, Failure> {
    if let Some(folder) = &settings.data_dir {
        return Ok(folder.clone());
    }
    ProjectDirs::from("", "", "headwater").map(|dirs| dirs.data_dir().to_owned()).ok_or_else(|| {
        Failure::settings("data_dir: this user has no home folder; set data_dir to a folder")
    })
}
