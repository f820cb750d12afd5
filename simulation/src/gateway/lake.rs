//! The audit lake of the workload: appends that fail after they came through, or before; a lake
//! that is away, or hangs. And what must hold of the records in the end.

use std::collections::BTreeMap;

use async_trait::async_trait;
use headwater_actors::gateway::{
    AuditError, AuditLake, AuditOutcome, AuditQuery, AuditRecord, AuditTable, Backlog, MemoryAudit,
    Pruned,
};
use headwater_actors::tenancy::Amounts;

use super::book::Heard;
use super::options::HEAL_MS;
use crate::world::World;

/// Longer than any flush is waited for, in ms.
const HANGS_MS: u64 = 400_000;

/// See the module.
#[derive(Clone)]
pub(super) struct Lake {
    pub(super) world: World,
    pub(super) inner: MemoryAudit,
    /// Percent of the appends and flushes that fail.
    pub(super) fails: u64,
}

impl Lake {
    fn strikes(&self, share: u64) -> bool {
        self.world.now_ms() < HEAL_MS && self.world.percent(share)
    }

    fn away(&self) -> AuditError {
        AuditError::Unavailable("the lake is away".to_owned())
    }
}

#[async_trait]
impl AuditLake for Lake {
    async fn append(&self, records: &[AuditRecord]) -> Result<u64, AuditError> {
        self.world.sleep(self.world.between(0, 30)).await;
        if self.strikes(self.fails) {
            self.world.count("audit append failed");
            if self.world.percent(50) {
                self.world.count("audit append came through unseen");
                self.inner.append(records).await?;
            }
            return Err(self.away());
        }
        self.inner.append(records).await
    }

    async fn flush(&self) -> Result<(), AuditError> {
        if self.strikes(self.fails) {
            self.world.count("audit flush failed");
            if self.world.percent(20) {
                self.world.sleep(HANGS_MS).await;
            }
            return Err(self.away());
        }
        self.inner.flush().await
    }

    async fn query(&self, query: AuditQuery) -> Result<AuditTable, AuditError> {
        self.inner.query(query).await
    }

    async fn prune(&self, now_ms: u64) -> Result<Pruned, AuditError> {
        self.inner.prune(now_ms).await
    }

    fn backlog(&self) -> Backlog {
        self.inner.backlog()
    }
}

/// One record for each request, which tells how it ended; and what they say was used is what was
/// charged.
pub(super) fn check(
    world: &World,
    records: &[AuditRecord],
    heard: &BTreeMap<String, Heard>,
    charged: &[Amounts],
) {
    let mut open: BTreeMap<&str, &Heard> =
        heard.iter().map(|(id, heard)| (id.as_str(), heard)).collect();
    let mut left: BTreeMap<Amounts, i64> = BTreeMap::new();
    for amounts in charged {
        *left.entry(*amounts).or_default() += 1;
    }
    for record in records {
        let Some(heard) = open.remove(record.id.as_str()) else {
            let seen = format!("{record:?} is one too many");
            world.violated("a_request_has_one_record", seen);
            continue;
        };
        if !is_told(heard, record.outcome) || record.cache_hit != (*heard == Heard::Kept) {
            let seen = format!("{}: {heard:?} is told as {record:?}", record.id);
            world.violated("a_record_tells_how_its_request_ended", seen);
        }
        if record.backend.is_empty() {
            continue;
        }
        let tokens = record.tokens_in + record.tokens_out;
        let own = Amounts { requests: 1, tokens, micro_usd: record.cost_micro_usd };
        let count = left.entry(own).or_default();
        *count -= 1;
        if *count < 0 {
            let seen = format!("{record:?} is nowhere among the charges");
            world.violated("what_is_recorded_is_what_is_charged", seen);
        }
    }
    for (id, heard) in open {
        world.violated("a_request_has_one_record", format_args!("{id}: {heard:?} has none"));
    }
    if left.values().any(|count| *count > 0) {
        let seen = format!("charges without a record: {left:?}");
        world.violated("what_is_recorded_is_what_is_charged", seen);
    }
}

fn is_told(heard: &Heard, outcome: AuditOutcome) -> bool {
    match heard {
        Heard::Whole(_) => outcome == AuditOutcome::Whole,
        Heard::Cut(_) => outcome == AuditOutcome::Cut,
        // It may have heard the last word before it left.
        Heard::Left { .. } | Heard::Kept => {
            matches!(outcome, AuditOutcome::Left | AuditOutcome::Whole)
        }
        Heard::Refused => matches!(
            outcome,
            AuditOutcome::Refused
                | AuditOutcome::OverQuota
                | AuditOutcome::Limited
                | AuditOutcome::Unavailable
                | AuditOutcome::TimedOut
        ),
    }
}
