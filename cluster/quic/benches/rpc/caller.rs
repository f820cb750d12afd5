//! The ways of calling the other process.

use crate::{PAYLOAD_BYTES, actor, quic, tcp};

#[derive(Clone)]
pub(crate) enum Caller {
    Tcp(tcp::Caller),
    Lane(quic::LaneCaller),
    Stream(quic::StreamCaller),
    Actor(actor::Caller),
}

impl Caller {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Caller::Tcp(_) => "tcp, one connection",
            Caller::Lane(_) => "quic lanes",
            Caller::Stream(_) => "quic, a stream per request",
            Caller::Actor(_) => "ractor_cluster over quic",
        }
    }

    /// Sends the payload and waits for the answer. Only lanes look at which task it is.
    pub(crate) async fn call(&self, task: u16, payload: Vec<u8>) {
        let answer = match self {
            Caller::Tcp(caller) => caller.call(payload).await,
            Caller::Lane(caller) => caller.call(task, payload).await,
            Caller::Stream(caller) => caller.call(&payload).await,
            Caller::Actor(caller) => caller.call(payload).await,
        };
        assert_eq!(answer.len(), PAYLOAD_BYTES);
    }
}
