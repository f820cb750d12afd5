//! The WebAssembly engine and its images, in a build that has them.

use std::path::Path;
use std::sync::Arc;

use headwater_actors::tools::sandbox::{Engine, ImageName};

use crate::config::Settings;
use crate::failure::Failure;

/// Makes the engine.
///
/// # Errors
/// Kind `Settings` for an image that is not there, or a build without the engine.
#[cfg(feature = "wasm")]
pub(super) fn engine(settings: &Settings) -> Result<Arc<dyn Engine>, Failure> {
    let wrong = |field: &str, error: &dyn std::fmt::Display| {
        Failure::settings(format!("sandbox.{field}: {error}"))
    };
    let mut own = headwater_sandbox_wasm::Settings::default();
    if let Some(name) = &settings.sandbox.wasm_image {
        let name = ImageName::new(name).map_err(|error| wrong("wasm_image", &error))?;
        let image = headwater_sandbox_images::open(&super::images_folder(settings)?, &name);
        let (image, _) = image.map_err(|error| wrong("wasm_image", &error))?;
        own.stand_in = Some(image);
    }
    let engine = headwater_sandbox_wasm::WasmEngine::new(own);
    Ok(Arc::new(engine.map_err(|error| wrong("engines", &error))?))
}

/// Makes an image of a wheel, and compiles it for this processor: minutes, told on standard error.
///
/// # Errors
/// What went wrong, as the exit code tells it; kind `Settings` in a build without the engine.
#[cfg(feature = "wasm")]
pub(super) fn make(
    wheel: &Path,
    folder: &Path,
    name: &ImageName,
    preload: &[String],
) -> Result<(), Failure> {
    use std::time::{Duration, Instant};

    const TOLD_EVERY: Duration = Duration::from_secs(10);
    let broken = |error: &dyn std::fmt::Display| Failure::broken(error.to_string());
    eprintln!("unpacking {}", wheel.display());
    let made = headwater_sandbox_wasm::make_image(wheel, folder, name, preload);
    let (image, manifest) = made.map_err(|error| broken(&error))?;
    let engine =
        headwater_sandbox_wasm::WasmEngine::new(headwater_sandbox_wasm::Settings::default());
    let engine = engine.map_err(|error| broken(&error))?;
    let runtime = tokio::runtime::Runtime::new();
    let runtime = runtime.map_err(|error| broken(&format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let (began, mut ticks) = (Instant::now(), tokio::time::interval(TOLD_EVERY));
        let mut work = std::pin::pin!(engine.prepare(&image));
        loop {
            tokio::select! {
                done = &mut work => return done.map_err(|error| broken(&error)),
                _ = ticks.tick() => {
                    let passed_s = began.elapsed().as_secs();
                    eprintln!("compiling Python for this processor, once: {passed_s} s");
                }
            }
        }
    })?;
    println!("{}  {}  {}", image.name, image.digest, image.root.display());
    for package in manifest.packages {
        println!("  {} {}", package.name, package.version);
    }
    Ok(())
}

#[cfg(not(feature = "wasm"))]
pub(super) fn engine(_: &Settings) -> Result<Arc<dyn Engine>, Failure> {
    Err(Failure::settings(format!("sandbox.engines: {}", crate::config::NO_WASM)))
}

#[cfg(not(feature = "wasm"))]
pub(super) fn make(_: &Path, _: &Path, _: &ImageName, _: &[String]) -> Result<(), Failure> {
    Err(Failure::settings(format!("--wheel: {}", crate::config::NO_WASM)))
}
