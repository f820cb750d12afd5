//! Makes an image: everything in a folder of its own first, then one rename.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use headwater_sandbox::{Image, ImageName};

use crate::copy::{copy_file, copy_folder, level_modes};
use crate::digest::digest;
use crate::error::ImageError;
use crate::interpreter::{Interpreter, ask, below, check_imports, compile};
use crate::libraries::copy_libraries;
use crate::manifest::{FORM, MANIFEST, Manifest, ROOT, open};
use crate::packages::{check_requirement, install, installed};
use crate::skeleton::{add_certificates, lay};

/// The interpreter's name in every guest.
const GUEST_PYTHON: &str = "/usr/bin/python3";

/// Parts of the standard library that no guest can use: tests, windows, installers.
const LEFT_OUT: [&str; 9] = [
    "test",
    "tests",
    "idlelib",
    "idle_test",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "__pycache__",
    "site-packages",
];

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    pub name: ImageName,
    /// The host's interpreter.
    pub python: PathBuf,
    /// Packages for `pip`, such as `numpy==2.3.5`.
    pub packages: Vec<String>,
    /// Modules that warm interpreters import before any call.
    pub preload: Vec<String>,
}

impl Recipe {
    /// An image of the host's `/usr/bin/python3` without packages.
    #[must_use]
    pub fn new(name: ImageName) -> Self {
        let python = PathBuf::from("/usr/bin/python3");
        Self { name, python, packages: Vec::new(), preload: Vec::new() }
    }

    fn check(&self) -> Result<(), ImageError> {
        self.packages.iter().try_for_each(|package| check_requirement(package))?;
        for module in &self.preload {
            let named = |part: &str| {
                !part.is_empty()
                    && !part.starts_with(|first: char| first.is_ascii_digit())
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            };
            if !module.split('.').all(named) {
                return Err(ImageError::Recipe {
                    field: "preload",
                    value: module.clone(),
                    mend: "write a module's name, as in numpy.linalg",
                });
            }
        }
        Ok(())
    }
}

/// Makes an image in a folder of images, which is made where it is missing. A run that is cut off
/// leaves nothing that [`open`] would take for an image; the next run takes its rest away.
///
/// # Errors
/// [`ImageError::Recipe`], [`ImageError::Exists`], or what failed on the way.
pub fn make(folder: &Path, recipe: &Recipe) -> Result<(Image, Manifest), ImageError> {
    recipe.check()?;
    fs::create_dir_all(folder).map_err(ImageError::file("making", folder))?;
    let folder = fs::canonicalize(folder).map_err(ImageError::file("finding", folder))?;
    let place = folder.join(recipe.name.as_str());
    let exists = || ImageError::Exists { name: recipe.name.to_string(), path: place.clone() };
    // Held to the end: two runs for one name would write into one folder.
    let lock_path = folder.join(format!(".{}.lock", recipe.name));
    let lock = File::create(&lock_path).map_err(ImageError::file("making", &lock_path))?;
    lock.lock().map_err(ImageError::file("locking", &lock_path))?;
    if place.exists() {
        return Err(exists());
    }
    let making = folder.join(format!(".{}.making", recipe.name));
    remove(&making)?;
    let made = fill(&making, recipe)
        .and_then(|()| fs::rename(&making, &place).map_err(ImageError::file("naming", &place)));
    if let Err(error) = made {
        // The first error is the one to tell.
        let _ = remove(&making);
        return Err(error);
    }
    open(&folder, &recipe.name)
}

fn remove(path: &Path) -> Result<(), ImageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ImageError::file("removing", path)(error))
        }
        _ => Ok(()),
    }
}

fn fill(place: &Path, recipe: &Recipe) -> Result<(), ImageError> {
    let interpreter = ask(&recipe.python)?;
    let root = place.join(ROOT);
    fs::create_dir_all(&root).map_err(ImageError::file("making", &root))?;
    lay(&root)?;
    copy_interpreter(&interpreter, &root)?;
    add_certificates(&root, &interpreter)?;
    install(&interpreter, &root, &recipe.packages)?;
    copy_libraries(&root, &interpreter.executable)?;
    let folders = [&interpreter.library, &interpreter.packages].map(|path| below(&root, path));
    compile(&interpreter, &root, &folders)?;
    check_imports(&interpreter, &root, &recipe.preload)?;
    level_modes(&root)?;
    let manifest = Manifest {
        form: FORM,
        name: recipe.name.to_string(),
        digest: digest(&root)?,
        python: GUEST_PYTHON.to_owned(),
        python_version: interpreter.version.clone(),
        preload: recipe.preload.clone(),
        packages: installed(&interpreter, &root)?,
        bytes: bytes_of(&root)?,
    };
    let path = place.join(MANIFEST);
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| ImageError::Broken {
        name: manifest.name.clone(),
        why: format!("its manifest cannot be written ({error})"),
    })?;
    fs::write(&path, text).map_err(ImageError::file("writing", &path))
}

fn copy_interpreter(interpreter: &Interpreter, root: &Path) -> Result<(), ImageError> {
    let executable = below(root, &interpreter.executable);
    copy_file(&interpreter.executable, &executable)?;
    let takes = |name: &str| {
        let is_window = name.starts_with("_tkinter.") || name.starts_with("config-");
        !is_window && !name.ends_with(".a") && !LEFT_OUT.contains(&name)
    };
    for part in [&interpreter.library, &interpreter.native] {
        if part.is_dir() {
            copy_folder(part, &below(root, part), &takes)?;
        }
    }
    let link = below(root, Path::new(GUEST_PYTHON));
    if interpreter.executable != Path::new(GUEST_PYTHON) {
        symlink(&interpreter.executable, &link).map_err(ImageError::file("linking", &link))?;
    }
    let packages = below(root, &interpreter.packages);
    fs::create_dir_all(&packages).map_err(ImageError::file("making", &packages))
}

fn bytes_of(folder: &Path) -> Result<u64, ImageError> {
    let mut sum = 0;
    for entry in fs::read_dir(folder).map_err(ImageError::file("reading", folder))? {
        let entry = entry.map_err(ImageError::file("reading", folder))?;
        let meta = entry.metadata().map_err(ImageError::file("reading", &entry.path()))?;
        sum += match () {
            () if meta.is_dir() => bytes_of(&entry.path())?,
            () if meta.is_file() => meta.len(),
            () => 0,
        };
    }
    Ok(sum)
}
