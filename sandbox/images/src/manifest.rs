//! The manifest beside an image's root: written once, read and verified later.

use std::fs;
use std::path::{Path, PathBuf};

use headwater_sandbox::{Image, ImageName};
use serde::{Deserialize, Serialize};

use crate::digest::digest;
use crate::error::ImageError;
use crate::interpreter::below;

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const ROOT: &str = "root";

/// The version of the manifest's own form.
pub(crate) const FORM: u32 = 1;

/// A package of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub name: String,
    pub version: String,
}

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this form.
    pub form: u32,
    pub name: String,
    /// As [`Image::digest`].
    pub digest: String,
    /// The interpreter's path in the guest.
    pub python: String,
    /// The interpreter's version, such as `3.11.2`.
    pub python_version: String,
    pub preload: Vec<String>,
    pub packages: Vec<Package>,
    /// The size of all files, in bytes.
    pub bytes: u64,
}

impl Manifest {
    /// The image of this manifest in a folder of images.
    fn image(&self, name: ImageName, folder: &Path) -> Image {
        Image {
            root: folder.join(name.as_str()).join(ROOT),
            name,
            digest: self.digest.clone(),
            python: self.python.clone(),
            preload: self.preload.clone(),
        }
    }
}

/// Reads the manifest of an image and looks whether its root has the shape of one. The digest is
/// not computed again: [`verify`] does.
///
/// # Errors
/// [`ImageError::Missing`], [`ImageError::Broken`].
pub fn open(folder: &Path, name: &ImageName) -> Result<(Image, Manifest), ImageError> {
    let path = folder.join(name.as_str()).join(MANIFEST);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ImageError::Missing { name: name.to_string(), path: folder.to_path_buf() });
        }
        Err(error) => return Err(ImageError::file("reading", &path)(error)),
    };
    let broken = |why: String| ImageError::Broken { name: name.to_string(), why };
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| broken(format!("its manifest is not understood ({error})")))?;
    if manifest.form != FORM {
        return Err(broken(format!("its manifest has form {}, not {FORM}", manifest.form)));
    }
    if manifest.name != name.as_str() {
        return Err(broken(format!("its manifest names {:?}", manifest.name)));
    }
    if manifest.digest.len() != 64 || !manifest.digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(broken("its digest is no SHA-256".to_owned()));
    }
    let absolute = fs::canonicalize(folder).map_err(ImageError::file("finding", folder))?;
    let image = manifest.image(name.clone(), &absolute);
    for place in ["proc", "tmp", "work", "dev", "etc"] {
        if !image.root.join(place).is_dir() {
            return Err(broken(format!("its root has no folder {place}")));
        }
    }
    if fs::symlink_metadata(below(&image.root, Path::new(&image.python))).is_err() {
        return Err(broken(format!("its root has no {}", image.python)));
    }
    Ok((image, manifest))
}

/// Computes the digest of an image's root again.
///
/// # Errors
/// [`ImageError::Broken`] when it is another one than the manifest's.
pub fn verify(image: &Image) -> Result<(), ImageError> {
    let found = digest(&image.root)?;
    if found == image.digest {
        return Ok(());
    }
    let why = format!("its files have digest {found}, its manifest says {}", image.digest);
    Err(ImageError::Broken { name: image.name.to_string(), why })
}

/// The manifests of all images of a folder, by their names, each with what is wrong about it
/// instead where it cannot be opened. A folder that is not there has none.
///
/// # Errors
/// When the folder cannot be read.
#[allow(clippy::type_complexity, reason = "a name and an answer for each image")]
pub fn list(folder: &Path) -> Result<Vec<(ImageName, Result<Manifest, ImageError>)>, ImageError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ImageError::file("reading", folder)(error)),
    };
    let mut images = Vec::new();
    for entry in entries {
        let path: PathBuf = entry.map_err(ImageError::file("reading", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.and_then(|name| ImageName::new(name).ok()) else { continue };
        if path.is_dir() {
            let manifest = open(folder, &name).map(|(_, manifest)| manifest);
            images.push((name, manifest));
        }
    }
    images.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(images)
}
