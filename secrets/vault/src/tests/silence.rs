//! No trace at any level holds a value, a token or a proof.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::Level;

use super::server::Trouble;
use super::{CANARY, check, proved, server};
use crate::VaultSource;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_trace_holds_a_value_or_a_token() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .finish();
    // The test's runtime has one thread, so the whole exchange is traced.
    let _traced = tracing::subscriber::set_default(subscriber);
    let server = server().await;
    let (_folder, settings) = proved(&server.address);
    let source = VaultSource::new(settings).unwrap();
    check(&source, "acme", "KEY", Ok("canary-1")).await;
    server.state().tokens.clear();
    server.state().forbidden.insert("acme/KEY".to_owned());
    check(&source, "acme", "KEY", Err("may not read")).await;
    for status in [200, 400, 404, 503] {
        let body = r#"{"errors": ["canary"], "warnings": ["canary"], "data": "canary"}"#;
        server.state().trouble = Trouble::Status(status, String::new(), body.to_owned());
        check(&source, "acme", "KEY", Err("secret")).await;
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("hyper_util"), "nothing was traced: {log}");
    let leak = log.lines().find(|line| line.contains(CANARY));
    assert_eq!(leak, None);
}
