//! The image of this crate's tests.

use std::path::PathBuf;

use headwater_sandbox::{Image, ImageName};
use headwater_sandbox_images::{Recipe, make, open};

/// Kept from run to run, since making one takes a while.
pub(crate) fn image() -> Image {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("images");
    let name = ImageName::new("suite").unwrap();
    if let Ok((image, _)) = open(&folder, &name) {
        return image;
    }
    make(&folder, &Recipe::new(name)).unwrap().0
}
