//! An image for guests, made of this host's own interpreter.

use std::path::Path;

use headwater_sandbox::{Image, ImageName};
use headwater_sandbox_images::{ImageError, Recipe, make, open};

const RUNSC: &str = "/usr/bin/runsc";

/// Why nothing can be tested here; `None` where it can.
pub(crate) fn missing() -> Option<String> {
    if !Path::new(RUNSC).exists() {
        return Some(format!("{RUNSC} is not installed"));
    }
    // SAFETY: the call asks for a number and touches no memory.
    if unsafe { libc::geteuid() } != 0 {
        return Some("runsc needs to be started by root".to_owned());
    }
    let python = Recipe::new(name(&[])).python;
    (!python.exists()).then(|| format!("{} is not installed", python.display()))
}

/// The image in `folder` that imports these modules beforehand, made there when it is not there yet.
pub(crate) fn image(folder: &Path, preload: &[&str]) -> Image {
    let name = name(preload);
    if let Ok((image, _)) = open(folder, &name) {
        return image;
    }
    let preload = preload.iter().map(|module| (*module).to_owned()).collect();
    match make(folder, &Recipe { preload, ..Recipe::new(name.clone()) }) {
        Ok((image, _)) => image,
        // Another test was faster.
        Err(ImageError::Exists { .. }) => open(folder, &name).unwrap().0,
        Err(error) => panic!("{error}"),
    }
}

fn name(preload: &[&str]) -> ImageName {
    ImageName::new([&["guest"], preload].concat().join("-")).unwrap()
}
