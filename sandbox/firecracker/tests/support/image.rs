//! An image for guests, made of this host's own interpreter.

use std::path::Path;

use headwater_sandbox::{Image, ImageName};
use headwater_sandbox_images::{ImageError, Recipe, make, open};

/// The image in `folder`, made there when it is not there yet.
pub(crate) fn image(folder: &Path) -> Image {
    if let Ok((image, _)) = open(folder, &name()) {
        return image;
    }
    let recipe = Recipe { preload: vec!["json".to_owned()], ..Recipe::new(name()) };
    match make(folder, &recipe) {
        Ok((image, _)) => image,
        // Another test was faster.
        Err(ImageError::Exists { .. }) => open(folder, &name()).unwrap().0,
        Err(error) => panic!("{error}"),
    }
}

fn name() -> ImageName {
    ImageName::new("guest").unwrap()
}
