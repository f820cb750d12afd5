//! The numbers that shape batches, divide replicas between the pools and bound requests.

use crate::pool::Pool;

/// How items become batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSettings {
    /// Most tokens in a batch, padding counted: rows × longest row.
    pub batch_tokens: usize,
    /// Most rows in a batch.
    pub batch_rows: usize,
    /// Latency cap: how long an item may wait for a fuller batch while a replica is idle, in ms.
    pub batch_wait_ms: u64,
    /// Rows may be shorter than the longest row by this share of it, in percent. Bounds
    /// the work wasted on padding.
    pub padding_percent: usize,
    /// How fast one request is taken to bring its tokens, per ms. The tail of a long
    /// request is ordered as if it came later, so that short requests overtake it.
    pub fair_tokens_per_ms: usize,
    /// A batch that runs longer is given up with its replica, in ms.
    pub batch_timeout_ms: u64,
    /// First pause before a lost replica is started again, in ms. The first loss after a
    /// finished batch is mended at once; the pause doubles up to 64 times this.
    pub restart_pause_ms: u64,
}

impl BatchSettings {
    /// Small batches for bulk work, so that a query that comes waits for little of it; and time
    /// to finish one, since it stands still while queries run.
    pub fn for_ingest() -> Self {
        BatchSettings { batch_tokens: 512, batch_timeout_ms: 600_000, ..Self::default() }
    }
}

impl Default for BatchSettings {
    fn default() -> Self {
        BatchSettings {
            batch_tokens: 2048,
            batch_rows: 256,
            batch_wait_ms: 0,
            padding_percent: 25,
            fair_tokens_per_ms: 8,
            batch_timeout_ms: 60_000,
            restart_pause_ms: 100,
        }
    }
}

/// How the two pools of one model share its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPlan {
    pub query: BatchSettings,
    pub ingest: BatchSettings,
    /// Replicas of the query pool.
    pub replicas: usize,
    /// Replicas of the ingest pool alone. With 0 ingest borrows those of the query pool, one
    /// batch at a time, while no query waits.
    pub ingest_replicas: usize,
    /// So many loaded replicas of the query pool are never lent to ingest. At most `replicas` - 1
    /// counts, or else borrowed ingest would never run.
    pub reserved: usize,
}

impl PoolPlan {
    /// Both pools with the same batches on the replicas of the query pool, none reserved.
    pub fn shared(batch: BatchSettings, replicas: usize) -> Self {
        PoolPlan { query: batch.clone(), ingest: batch, replicas, ingest_replicas: 0, reserved: 0 }
    }

    /// How the items of this pool become batches.
    pub fn batch(&self, pool: Pool) -> &BatchSettings {
        match pool {
            Pool::Query => &self.query,
            Pool::Ingest => &self.ingest,
        }
    }

    /// Whether ingest borrows the replicas of the query pool.
    pub fn lends(&self) -> bool {
        self.ingest_replicas == 0
    }
}

/// What one request may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputLimits {
    /// Most texts in one request; OpenAI's own limit is 2,048.
    pub texts: usize,
    /// Most tokens in one request, all texts together; OpenAI's own limit is 300,000.
    pub tokens: usize,
}

impl Default for InputLimits {
    fn default() -> Self {
        InputLimits { texts: 2048, tokens: 300_000 }
    }
}
