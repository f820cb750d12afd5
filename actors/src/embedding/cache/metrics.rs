//! What the vector cache counts, by model.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByModel {
    model: String,
}

/// The cache's metric families; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::embedding) struct CacheMetrics {
    hits: Family<ByModel, Counter>,
    misses: Family<ByModel, Counter>,
    joined: Family<ByModel, Counter>,
    stored: Family<ByModel, Counter>,
    evictions: Family<ByModel, Counter>,
    bytes: Family<ByModel, Gauge>,
    limit_bytes: Family<ByModel, Gauge>,
    nearly_full: Family<ByModel, Gauge>,
}

impl CacheMetrics {
    /// Registers the families under `headwater_embedding_cache_*`.
    pub(in crate::embedding) fn register(group: &mut Registry) -> Self {
        let metrics = CacheMetrics::default();
        let group = group.sub_registry_with_prefix("cache");
        group.register("hits", "Inputs whose vectors were there", metrics.hits.clone());
        group.register("misses", "Inputs that were not in memory", metrics.misses.clone());
        group.register(
            "joined",
            "Inputs that waited for an equal one's computation",
            metrics.joined.clone(),
        );
        group.register(
            "stored_hits",
            "Of the misses, inputs whose vectors the store had",
            metrics.stored.clone(),
        );
        group.register(
            "evictions",
            "Vectors that had to go, or were not let in, for lack of room",
            metrics.evictions.clone(),
        );
        group.register("bytes", "Bytes in use", metrics.bytes.clone());
        group.register(
            "limit_bytes",
            "Most bytes; 0 when the cache is off",
            metrics.limit_bytes.clone(),
        );
        group.register(
            "nearly_full",
            "1 from 80 % of the limit until the use falls below 70 %",
            metrics.nearly_full.clone(),
        );
        metrics
    }

    pub(in crate::embedding) fn for_model(&self, model: &str) -> ModelCacheMetrics {
        let label = ByModel { model: model.to_owned() };
        ModelCacheMetrics {
            hits: self.hits.get_or_create(&label).clone(),
            misses: self.misses.get_or_create(&label).clone(),
            joined: self.joined.get_or_create(&label).clone(),
            stored: self.stored.get_or_create(&label).clone(),
            evictions: self.evictions.get_or_create(&label).clone(),
            bytes: self.bytes.get_or_create(&label).clone(),
            limit_bytes: self.limit_bytes.get_or_create(&label).clone(),
            nearly_full: self.nearly_full.get_or_create(&label).clone(),
        }
    }
}

/// The counts of one model's cache.
#[derive(Debug, Clone)]
pub(in crate::embedding) struct ModelCacheMetrics {
    hits: Counter,
    misses: Counter,
    joined: Counter,
    stored: Counter,
    evictions: Counter,
    bytes: Gauge,
    limit_bytes: Gauge,
    nearly_full: Gauge,
}

impl ModelCacheMetrics {
    pub(super) fn hits(&self, inputs: usize) {
        self.hits.inc_by(inputs as u64);
    }

    pub(super) fn misses(&self, inputs: usize) {
        self.misses.inc_by(inputs as u64);
    }

    pub(super) fn joined(&self, inputs: usize) {
        self.joined.inc_by(inputs as u64);
    }

    pub(super) fn stored(&self, inputs: usize) {
        self.stored.inc_by(inputs as u64);
    }

    pub(super) fn evicted(&self) {
        self.evictions.inc();
    }

    pub(super) fn bytes(&self, bytes: u64) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn limit(&self, bytes: u64) {
        self.limit_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn nearly_full(&self, full: bool) {
        self.nearly_full.set(i64::from(full));
    }
}
