//! What a root has beside the interpreter: its own `/etc`, empty folders, links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::copy::{copy_file, make_folder};
use crate::error::ImageError;
use crate::interpreter::{Interpreter, below};

const FOLDERS: [&str; 9] =
    ["proc", "sys", "tmp", "work", "dev", "run", "etc", "usr/bin", "usr/lib"];

const FILES: [(&str, &str); 7] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/:/usr/sbin/nologin\n\
         sandbox:x:1000:1000:sandbox:/work:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n"),
    ("etc/hostname", "sandbox\n"),
    ("etc/hosts", "127.0.0.1 localhost sandbox\n"),
    ("etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n"),
    ("etc/host.conf", "multi on\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    ),
];

/// Where hosts keep the certificates of authorities.
const CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Makes folders, and links such as `/lib` where the host has them.
pub(crate) fn lay(root: &Path) -> Result<(), ImageError> {
    for folder in FOLDERS {
        make_folder(&root.join(folder))?;
    }
    for name in ["bin", "lib", "lib32", "lib64"] {
        let host = Path::new("/").join(name);
        if let Ok(target) = fs::read_link(&host) {
            let target = target.strip_prefix("/").unwrap_or(&target).to_path_buf();
            make_folder(&root.join(&target))?;
            let link = root.join(name);
            symlink(&target, &link).map_err(ImageError::file("linking", &link))?;
        }
    }
    for (name, text) in FILES {
        let path = root.join(name);
        fs::write(&path, text).map_err(ImageError::file("writing", &path))?;
    }
    Ok(())
}

/// Gives the interpreter the authorities that the host trusts, for connections through a proxy.
pub(crate) fn add_certificates(root: &Path, interpreter: &Interpreter) -> Result<(), ImageError> {
    let Some(host) = CERTIFICATES.iter().map(Path::new).find(|path| path.is_file()) else {
        return Ok(());
    };
    copy_file(host, &below(root, Path::new(CERTIFICATES[0])))?;
    let Some(wanted) = &interpreter.certificates else { return Ok(()) };
    let link = below(root, wanted);
    if link.exists() || fs::symlink_metadata(&link).is_ok() {
        return Ok(());
    }
    if let Some(folder) = link.parent() {
        make_folder(folder)?;
    }
    symlink(CERTIFICATES[0], &link).map_err(ImageError::file("linking", &link))
}
