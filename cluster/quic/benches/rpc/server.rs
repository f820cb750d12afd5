//! The second process: answers every way of calling until its stdin is closed.

use std::io::Read;
use std::path::Path;

use crate::{PAYLOAD_BYTES, actor, quic, runtime, tcp};

/// The argument that makes the program this process.
pub(crate) const ROLE: &str = "serve";

pub(crate) fn run(folder: &Path) {
    let runtime = runtime();
    runtime.block_on(async {
        let tcp = tcp::serve().await;
        let (transport, controls) = quic::start(folder, quic::SERVER, vec![]).await;
        actor::serve(controls).await;
        let quic = transport.address();
        quic::serve(transport);
        println!("{tcp} {quic}");
    });
    // Nothing is ever written to it.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// What is sent back: all of an echo call, the beginning of an upload.
pub(crate) fn answer(mut payload: Vec<u8>) -> Vec<u8> {
    payload.truncate(PAYLOAD_BYTES);
    payload
}
