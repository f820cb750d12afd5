//! Sees whether guests run here and are held: by running some.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use headwater_sandbox::{
    Channel, Ended, Engine, EngineError, Execution, Image, Limits, Probe, Slot, SlotSpec, Way,
};

use crate::NAME;
use crate::engine::Jail;

/// Must come to its end: every step is refused.
const HELD: &str = r#"
import os, platform, socket, sys
print(platform.python_version())
def refused(what, step):
    try:
        step()
    except OSError:
        return
    sys.exit(what + " is not refused")
if os.getuid() == 0:
    sys.exit("the guest is root")
refused("writing to the image", lambda: open("/etc/probe", "w"))
refused("a socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
refused("a socket of the kernel", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
refused("becoming root", lambda: os.setuid(0))
if os.listdir("/work"):
    sys.exit("the working folder is not empty")
open("file", "w").write("x")
"#;

/// Must not come to its end.
const KILLED: &str = r#"
import ctypes
ctypes.CDLL(None).mount(b"none", b"/tmp", b"tmpfs", 0, None)
"#;

static COUNT: AtomicU64 = AtomicU64::new(0);

pub(crate) fn spec(image: &Image) -> SlotSpec {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    SlotSpec {
        name: format!("probe-{}-{number}", std::process::id()),
        image: image.clone(),
        limits: Limits::SMALL,
        way: Way::Single,
        way_out: None,
    }
}

fn execution(source: &str) -> Execution {
    Execution::new(source, Limits::SMALL)
}

pub(crate) async fn probe(jail: &Jail, image: &Image) -> Result<Probe, EngineError> {
    let began = Instant::now();
    let mut slot = jail.start(spec(image)).await?;
    let looked = look(slot.as_mut(), began).await;
    let closed = slot.close().await;
    let (version, cold_us) = looked?;
    closed?;
    Ok(Probe { version, cold_us, warnings: jail.warnings() })
}

async fn look(slot: &mut dyn Slot, began: Instant) -> Result<(String, u64), EngineError> {
    let unable = |why: String| EngineError::Unable {
        engine: NAME,
        why,
        mend: "do not run strangers' code on this host with it; look at the kernel's settings"
            .to_owned(),
    };
    let (mut output, mut errors, mut cold_us) = (Vec::new(), Vec::new(), None);
    let mut listener = |channel: Channel, bytes: &[u8]| {
        cold_us.get_or_insert(began.elapsed().as_micros() as u64);
        match channel {
            Channel::Output => output.extend_from_slice(bytes),
            Channel::Error => errors.extend_from_slice(bytes),
        }
    };
    let outcome = slot.run(&execution(HELD), &mut listener).await?;
    if outcome.ended != Ended::Exit(0) {
        let text = String::from_utf8_lossy(&errors);
        let last = text.lines().last().unwrap_or_default();
        return Err(unable(format!("a guest was not held: {:?}, {last}", outcome.ended)));
    }
    let outcome = slot.run(&execution(KILLED), &mut |_: Channel, _: &[u8]| {}).await?;
    if outcome.ended != Ended::Violation {
        return Err(unable(format!("a hostile guest was not killed: {:?}", outcome.ended)));
    }
    slot.recycle().await?;
    let version = String::from_utf8_lossy(&output).trim().to_owned();
    Ok((format!("python {version}"), cold_us.unwrap_or_default()))
}
