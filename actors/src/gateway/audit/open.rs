//! A record of a request that goes on.

use headwater_storage::audit::{AuditRecord, Outcome};

use super::AuditHandle;
use crate::mutants::{Mutant, planted};

/// However the request ends, it is recorded once, with its time; dropped early, its client left.
pub struct OpenRecord {
    audit: AuditHandle,
    began_ms: u64,
    /// None once it is recorded.
    record: Option<Box<AuditRecord>>,
}

impl AuditHandle {
    /// A request begins now.
    pub fn begin(&self, record: AuditRecord) -> OpenRecord {
        let began_ms = self.shared.runtime.now_ms();
        OpenRecord { audit: self.clone(), began_ms, record: Some(Box::new(record)) }
    }
}

impl OpenRecord {
    /// Changes what the record tells.
    pub fn tell(&mut self, change: impl FnOnce(&mut AuditRecord)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// Since it began, in ms.
    pub fn took_ms(&self) -> u64 {
        self.audit.shared.runtime.now_ms().saturating_sub(self.began_ms)
    }

    pub fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        let Some(mut record) = self.record.take() else { return };
        if outcome == Outcome::Left && planted(Mutant::LeaverNotRecorded) {
            return;
        }
        record.outcome = outcome;
        record.latency_ms = self.took_ms();
        record.time_ms = self.audit.shared.runtime.wall_ms();
        self.audit.record(*record);
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        self.finish(Outcome::Left);
    }
}
