//! What every engine with an agent asks of a slot's name and of an image.

use headwater_sandbox::{EngineError, Image};

const NAME_BYTES_MAX: usize = 63;

/// Whether folders and cgroups may carry a slot's name.
///
/// # Errors
/// [`EngineError::Unsupported`] tells which names are.
pub fn check_name(engine: &'static str, name: &str) -> Result<(), EngineError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(known) {
        return Ok(());
    }
    Err(EngineError::Unsupported {
        engine,
        what: format!(
            "take a slot named {name:?}; use 1 to {NAME_BYTES_MAX} letters, digits and `-`"
        ),
    })
}

/// Whether an image has what a guest needs of it.
///
/// # Errors
/// [`EngineError::Unable`] names what is missing.
pub fn check_image(engine: &'static str, image: &Image) -> Result<(), EngineError> {
    let unable =
        |why: String| EngineError::Unable { engine, why, mend: "build the image again".to_owned() };
    let name = &image.name;
    if !image.root.is_absolute() || !image.root.is_dir() {
        let root = image.root.display();
        return Err(unable(format!("the root of image {name}, {root}, is no absolute folder")));
    }
    let Some(python) = image.python.strip_prefix('/') else {
        let python = &image.python;
        return Err(unable(format!("the interpreter {python:?} of image {name} is no whole path")));
    };
    if image.root.join(python).symlink_metadata().is_err() {
        return Err(unable(format!("image {name} has no interpreter {}", image.python)));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
