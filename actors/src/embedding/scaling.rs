//! The replica controller's shell: it measures a model's pools and asks the pure controllers.

use headwater_embedding::{Dispatcher, Pool, ScaleSettings, Scaler, Signals};

use super::metrics::PoolMetrics;

/// Both pools' controllers, and the work that was done since their last step.
pub(super) struct Controller {
    scalers: [Scaler; 2],
    work: [Work; 2],
    /// Until when the work is counted, in ms.
    counted_ms: u64,
}

/// Time of replicas, in ms.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    /// Spent on batches of the pool.
    busy_ms: u64,
    /// Spent by replicas that could run such batches.
    live_ms: u64,
}

impl Controller {
    pub(super) fn new(settings: [ScaleSettings; 2], now_ms: u64) -> Self {
        let scalers = settings.map(Scaler::new);
        Controller { scalers, work: [Work::default(); 2], counted_ms: now_ms }
    }

    /// Counts the time up to now, in which the dispatcher did not change.
    pub(super) fn pass(&mut self, dispatcher: &Dispatcher, now_ms: u64) {
        let ms = now_ms.saturating_sub(self.counted_ms);
        self.counted_ms = now_ms;
        for pool in Pool::ALL {
            let running = dispatcher.running(pool);
            let work = &mut self.work[pool.index()];
            work.busy_ms += ms * running as u64;
            // What ingest borrows counts as its own while it lasts.
            work.live_ms += ms * dispatcher.live_replicas(pool).max(running) as u64;
        }
    }

    /// What the pool did since the last step, and how it stands.
    pub(super) fn signals(
        &mut self,
        dispatcher: &Dispatcher,
        pool: Pool,
        metrics: &PoolMetrics,
        now_ms: u64,
    ) -> Signals {
        let queue = dispatcher.queue(pool);
        let Work { busy_ms, live_ms } = std::mem::take(&mut self.work[pool.index()]);
        Signals {
            queue_items: queue.len(),
            queue_tokens: queue.tokens(),
            oldest_age_ms: queue.oldest_arrival_ms().map_or(0, |ms| now_ms.saturating_sub(ms)),
            batch_fill: metrics.batch_fill(),
            busy_share: busy_ms as f64 / live_ms.max(1) as f64,
            wanted_replicas: dispatcher.wanted_replicas(pool),
            live_replicas: dispatcher.live_replicas(pool),
        }
    }

    pub(super) fn desired(&mut self, pool: Pool, signals: &Signals, now_ms: u64) -> usize {
        self.scalers[pool.index()].desired(signals, now_ms)
    }
}
