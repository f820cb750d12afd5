//! The escape and abuse suite over real machines, beside what it must not touch on this host.

use std::path::{Path, PathBuf};

use headwater_sandbox::{Engine, EngineError};
use headwater_sandbox_firecracker::{FirecrackerEngine, Settings};

#[path = "support/image.rs"]
mod image;
#[path = "support/witness.rs"]
mod witness;

use witness::{Host, suite};

/// Programs and kernel as the environment names them, or where releases put them.
fn settings(state: &Path) -> Settings {
    let mut settings = Settings { boot_ms: 60_000, ..Settings::new(state) };
    let rows = [
        ("HEADWATER_FIRECRACKER", &mut settings.firecracker),
        ("HEADWATER_JAILER", &mut settings.jailer),
        ("HEADWATER_GUEST_KERNEL", &mut settings.kernel),
    ];
    for (name, path) in rows {
        if let Some(value) = std::env::var_os(name) {
            *path = PathBuf::from(value);
        }
    }
    settings
}

/// All cases where a machine boots, with `HEADWATER_ESCAPE_ONLY=word` only those whose names hold the
/// word; where none does, the probe's reason.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_escapes() {
    let image = image::image(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("firecracker-images"));
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = FirecrackerEngine::new(settings(state.path())).unwrap();
    match engine.probe(&image).await {
        Ok(probe) => println!("firecracker {}, warnings {:?}", probe.version, probe.warnings),
        Err(error @ EngineError::Unable { .. }) => return println!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    }
    let mut host = Host::new(folder.path(), state.path());
    suite(&engine, &image, &mut host).await;
}
