//! What the collections count. Tenants are labels only of builds under way, of which there are
//! few.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::nouns::{Collection, CollectionError, Target};
use super::versions::Progress;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByVersion {
    tenant: String,
    collection: String,
    version: String,
}

/// The metric families; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct CollectionMetrics {
    searches: Family<ByOutcome, Counter>,
    mixed_versions: Counter,
    gone_hits: Counter,
    lazy_dropped: Counter,
    reembedded: Counter,
    switches: Counter,
    failures: Counter,
    done: Family<ByVersion, Gauge>,
    total: Family<ByVersion, Gauge>,
}

impl CollectionMetrics {
    /// Makes the families and registers them under `headwater_collection_*`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = CollectionMetrics::default();
        let group = registry.sub_registry_with_prefix("headwater_collection");
        group.register(
            "searches",
            "Searches by outcome: found, or why they were refused",
            metrics.searches.clone(),
        );
        group.register(
            "mixed_versions",
            "Hits of another version than the one searched, left out of answers; alert above 0",
            metrics.mixed_versions.clone(),
        );
        group.register(
            "gone_hits",
            "Hits whose chunk was gone, left out of answers",
            metrics.gone_hits.clone(),
        );
        group.register(
            "lazy_dropped",
            "Chunks not embedded on read because too many waited",
            metrics.lazy_dropped.clone(),
        );
        group.register(
            "reembedded_chunks",
            "Chunks embedded by a new version",
            metrics.reembedded.clone(),
        );
        group.register("switches", "Builds that came to serve", metrics.switches.clone());
        group.register(
            "reembed_failures",
            "Steps of re-embedding that failed and are tried again",
            metrics.failures.clone(),
        );
        let help = "Chunks that a build is done with; only on the node that runs it";
        group.register("build_done_chunks", help, metrics.done.clone());
        let help = "Chunks that a build has to embed; only on the node that runs it";
        group.register("build_total_chunks", help, metrics.total.clone());
        metrics
    }

    pub(super) fn search(&self, outcome: &'static str) {
        self.searches.get_or_create(&ByOutcome { outcome }).inc();
    }

    pub(super) fn refused(&self, error: &CollectionError) {
        self.search(match error {
            CollectionError::OtherVersion { .. } => "other_version",
            CollectionError::StillBuilding { .. } => "still_building",
            CollectionError::NotServed { .. } => "not_served",
            CollectionError::NotLive { .. } => "given_up",
            CollectionError::NoCollection { .. } => "no_collection",
            CollectionError::Invalid { .. } => "invalid",
            CollectionError::Store(_) => "store",
            CollectionError::Sink(_) => "sink",
            CollectionError::Embed { .. } => "embed",
            _ => "other",
        });
    }

    pub(super) fn mixed(&self) {
        self.mixed_versions.inc();
    }

    /// Hits of a version that was not asked for, over the life of the process; always 0.
    pub fn mixed_versions(&self) -> u64 {
        self.mixed_versions.get()
    }

    /// Hits whose chunk was gone, over the life of the process.
    pub fn gone_hits(&self) -> u64 {
        self.gone_hits.get()
    }

    pub(super) fn gone(&self, hits: usize) {
        self.gone_hits.inc_by(hits as u64);
    }

    pub(super) fn lazy_dropped(&self, chunks: usize) {
        self.lazy_dropped.inc_by(chunks as u64);
    }

    pub(super) fn reembedded(&self, chunks: usize) {
        self.reembedded.inc_by(chunks as u64);
    }

    pub(super) fn switched(&self) {
        self.switches.inc();
    }

    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    pub(super) fn progress(&self, target: &Target, progress: &Progress) {
        let label = label(&target.tenant, &target.collection, &target.version);
        self.done.get_or_create(&label).set(progress.done.cast_signed());
        self.total.get_or_create(&label).set(progress.total.cast_signed());
    }

    /// A build ended or runs elsewhere now.
    pub(super) fn forget(&self, collection: &Collection, version: &str) {
        let label = label(&collection.tenant, &collection.name, version);
        self.done.remove(&label);
        self.total.remove(&label);
    }
}

fn label(tenant: &str, collection: &str, version: &str) -> ByVersion {
    ByVersion {
        tenant: tenant.to_owned(),
        collection: collection.to_owned(),
        version: version.to_owned(),
    }
}
