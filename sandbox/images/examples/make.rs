//! Makes an image by hand: `make <folder> <name> [package ...] [--preload module ...]`.

use std::path::Path;
use std::time::Instant;

use headwater_sandbox::ImageName;
use headwater_sandbox_images::{Recipe, make};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("give a folder and a name, then packages and `--preload` modules".into());
    };
    let mut recipe = Recipe::new(ImageName::new(name)?);
    if let Ok(python) = std::env::var("PYTHON") {
        recipe.python = python.into();
    }
    let mut is_preload = false;
    for argument in arguments {
        match argument.as_str() {
            "--preload" => is_preload = true,
            _ if is_preload => recipe.preload.push(argument),
            _ => recipe.packages.push(argument),
        }
    }
    let started = Instant::now();
    let (image, manifest) = make(Path::new(&folder), &recipe)?;
    let took_ms = started.elapsed().as_millis();
    println!(
        "{} in {took_ms} ms: {} bytes, {}",
        image.root.display(),
        manifest.bytes,
        image.digest
    );
    for package in manifest.packages {
        println!("  {} {}", package.name, package.version);
    }
    Ok(())
}
