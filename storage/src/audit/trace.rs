//! Which trace a request belongs to (W3C Trace Context, level 1), and the sink of traces.

use super::record::AuditRecord;

/// Where a request stands in a trace: the header `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub trace_id: u128,
    /// The span that asks.
    pub span_id: u64,
    /// Whether whoever began the trace records it.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads the header's value; none when it is no valid one, which is to be treated as absent.
    pub fn read(value: &str) -> Option<TraceParent> {
        let mut parts = value.trim().split('-');
        let mut hex = |length: usize| {
            let part = parts.next().filter(|part| part.len() == length)?;
            let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            part.bytes().all(digit).then(|| u128::from_str_radix(part, 16).ok()).flatten()
        };
        let (version, trace_id, span_id, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        // A later version may say more at the end; the first one may not.
        let is_known = version < 0xff && (version > 0 || parts.next().is_none());
        let span_id = u64::try_from(span_id).ok()?;
        let is_valid = is_known && trace_id != 0 && span_id != 0;
        is_valid.then_some(TraceParent { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }

    /// The header's value.
    pub fn header(&self) -> String {
        let flags = u8::from(self.is_sampled);
        format!("00-{:032x}-{:016x}-{flags:02x}", self.trace_id, self.span_id)
    }
}

/// The spans of one request: its own, and the one of the model that it asks. The ids follow from
/// the request's, so that they need not be carried along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTrace {
    /// Of the request itself; its `span_id` is none of the client's.
    pub own: TraceParent,
    /// The client's span.
    pub parent: Option<TraceParent>,
    /// Of the question to the model, as the model hears of it.
    pub model: TraceParent,
}

/// Keeps the two spans of a request apart.
const MODEL_SPAN: u64 = 0x9e37_79b9_7f4a_7c15;

impl RequestTrace {
    /// Of a request with this id, a UUID. One that no client traces begins a trace of its own.
    pub fn of(id: &str, parent: Option<TraceParent>) -> Option<RequestTrace> {
        let digits: String = id.chars().filter(|one| *one != '-').collect();
        let id = u128::from_str_radix(&digits, 16).ok().filter(|id| *id != 0)?;
        // The half of the id that is drawn.
        let span_id = (id as u64).max(1);
        let own = match parent {
            Some(parent) => TraceParent { span_id, ..parent },
            None => TraceParent { trace_id: id, span_id, is_sampled: true },
        };
        let model = TraceParent { span_id: (span_id ^ MODEL_SPAN).max(1), ..own };
        Some(RequestTrace { own, parent, model })
    }
}

/// Is told of every request that has ended, beside the lake: an exporter of traces.
pub trait RecordSink: Send + Sync {
    /// Must not wait; what there is no room for is lost.
    fn take(&self, record: &AuditRecord);

    /// Sends what waits, for so long at most, in ms. May block.
    fn close(&self, patience_ms: u64);
}
