//! Asks the host's interpreter where its parts are, and lets it compile.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::ImageError;

/// Where an interpreter's parts lie on the host.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Interpreter {
    /// The executable itself, behind all links.
    pub(crate) executable: PathBuf,
    pub(crate) version: String,
    /// The folder of the standard library; native modules may lie in another one.
    pub(crate) library: PathBuf,
    pub(crate) native: PathBuf,
    /// Where `site` looks for packages.
    pub(crate) packages: PathBuf,
    /// Where its OpenSSL looks for certificates, if it has one.
    pub(crate) certificates: Option<PathBuf>,
}

const ASK: &str = r#"
import json, os, site, sys, sysconfig
try:
    import ssl
    certificates = ssl.get_default_verify_paths().openssl_cafile
except ImportError:
    certificates = None
executable = getattr(sys, "_base_executable", None) or sys.executable
if sys.version_info < (3, 9):
    raise SystemExit("Python 3.9 or later is needed, this is " + sys.version.split()[0])
library = sysconfig.get_path("stdlib")
native = sysconfig.get_config_var("DESTSHARED") or os.path.join(library, "lib-dynload")
sys.prefix, sys.exec_prefix = sys.base_prefix, sys.base_exec_prefix
print(json.dumps({
    "executable": os.path.realpath(executable),
    "version": sys.version.split()[0],
    "library": os.path.realpath(library),
    "native": os.path.realpath(native),
    "packages": site.getsitepackages([sys.base_prefix])[0],
    "certificates": certificates,
}))
"#;

/// The text of a failed command, its last lines only.
pub(crate) fn tail(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let start = lines.len().saturating_sub(4);
    lines[start..].join(" | ")
}

/// Runs a command to its end; its output, or its error text.
pub(crate) fn run(command: &mut Command, mend: &str) -> Result<Vec<u8>, ImageError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed =
        |why: String| ImageError::Command { command: name.clone(), why, mend: mend.to_owned() };
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let texts = [output.stdout, output.stderr].concat();
    Err(failed(format!("{}: {}", output.status, tail(&texts))))
}

/// Asks the interpreter at `python`.
///
/// # Errors
/// When it does not start, is too old or lacks a part.
pub(crate) fn ask(python: &Path) -> Result<Interpreter, ImageError> {
    let mend = "name a Python interpreter of this host, 3.9 or later";
    let answer = run(Command::new(python).args(["-I", "-c", ASK]), mend)?;
    serde_json::from_slice(&answer).map_err(|error| ImageError::Command {
        command: python.display().to_string(),
        why: format!("it told its parts in a way that was not understood ({error})"),
        mend: mend.to_owned(),
    })
}

/// Compiles all modules below `root`. What does not compile (a template in a package) is left as
/// it is: an import of it tells the error.
pub(crate) fn compile(
    interpreter: &Interpreter,
    root: &Path,
    folders: &[PathBuf],
) -> Result<(), ImageError> {
    // The compiled code is never compared with its source: nobody writes to an image, and its
    // bytes then do not depend on the times of files.
    let mut command = Command::new(&interpreter.executable);
    command.args(["-I", "-m", "compileall", "-q", "-q", "-j", "0", "-s"]).arg(root);
    command.args(["-p", "/", "--invalidation-mode", "unchecked-hash"]).args(folders);
    let output = command.stdin(Stdio::null()).output();
    output.map(drop).map_err(|error| ImageError::Command {
        command: interpreter.executable.display().to_string(),
        why: error.to_string(),
        mend: "look whether the interpreter still starts".to_owned(),
    })
}

/// Sees that the modules can be imported from the root's own files.
pub(crate) fn check_imports(
    interpreter: &Interpreter,
    root: &Path,
    modules: &[String],
) -> Result<(), ImageError> {
    if modules.is_empty() {
        return Ok(());
    }
    let code = "import sys, json\nsys.path[:] = json.loads(sys.argv[1])\nsys.dont_write_bytecode = \
                True\nfor name in json.loads(sys.argv[2]): __import__(name)";
    let places = [&interpreter.library, &interpreter.native, &interpreter.packages];
    let places = places.map(|place| below(root, place));
    let texts = (serde_json::to_string(&places), serde_json::to_string(modules));
    let (Ok(places), Ok(modules)) = texts else {
        return Err(ImageError::Recipe {
            field: "preload",
            value: format!("{modules:?}"),
            mend: "use paths and names that are text",
        });
    };
    let mut command = Command::new(&interpreter.executable);
    command.args(["-I", "-S", "-c", code, &places, &modules]);
    let mend = "add the package that has the module, or take the module out of `preload`";
    run(&mut command, mend).map(drop)
}

/// Where a path of the host or guest lies below a root.
pub(crate) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
