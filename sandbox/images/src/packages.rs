//! Installs packages into a root, and tells what is there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::ImageError;
use crate::interpreter::{Interpreter, below, run};
use crate::manifest::Package;

/// Sees that `pip` takes the text for a package, not for an option, a path or an address.
pub(crate) fn check_requirement(text: &str) -> Result<(), ImageError> {
    let good = text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-[],=<>!~*+".contains(&b))
        && text.len() <= 200;
    if good {
        return Ok(());
    }
    Err(ImageError::Recipe {
        field: "package",
        value: text.to_owned(),
        mend: "write a name with a version, as in numpy==2.3.5",
    })
}

/// Fetches and installs packages by the interpreter's own `pip`, with the host's `pip` settings.
pub(crate) fn install(
    interpreter: &Interpreter,
    root: &Path,
    requirements: &[String],
) -> Result<(), ImageError> {
    if requirements.is_empty() {
        return Ok(());
    }
    let place = below(root, &interpreter.packages);
    let mut command = Command::new(&interpreter.executable);
    command.args(["-m", "pip", "install", "--quiet", "--no-input", "--no-compile"]);
    command.args(["--disable-pip-version-check", "--no-warn-script-location", "--target"]);
    command.arg(&place).arg("--").args(requirements);
    let mend = "check the names and versions, that this interpreter has pip, and pip's index";
    run(&mut command, mend)?;
    // Scripts for people; no guest has a shell, and their first lines name the host's interpreter.
    let scripts = place.join("bin");
    if scripts.is_dir() {
        fs::remove_dir_all(&scripts).map_err(ImageError::file("removing", &scripts))?;
    }
    Ok(())
}

/// The packages below a root, by their names.
pub(crate) fn installed(
    interpreter: &Interpreter,
    root: &Path,
) -> Result<Vec<Package>, ImageError> {
    let place = below(root, &interpreter.packages);
    let mut packages = Vec::new();
    if !place.is_dir() {
        return Ok(packages);
    }
    for entry in fs::read_dir(&place).map_err(ImageError::file("reading", &place))? {
        let name = entry.map_err(ImageError::file("reading", &place))?.file_name();
        let name = name.to_string_lossy();
        let Some(name) = name.strip_suffix(".dist-info") else { continue };
        if let Some((name, version)) = name.rsplit_once('-') {
            packages.push(Package { name: name.to_owned(), version: version.to_owned() });
        }
    }
    packages.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(packages)
}
