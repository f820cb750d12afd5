//! The settings of vector sinks and of ingest.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Nonsense, Settings, cores};

/// Where vectors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VectorEngine {
    /// In this node's store, with an index in memory.
    Embedded,
    /// On a Qdrant server.
    Qdrant,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VectorsSection {
    pub engine: VectorEngine,
    /// Up to so many vectors a space is searched exactly; above, by a graph.
    pub exact_records_max: usize,
    /// Memory for the indexes of the embedded engine on this node, in MiB; the index whose last
    /// search is the longest ago goes first.
    pub memory_mb: usize,
    /// Address of the Qdrant server.
    pub qdrant_url: String,
    /// File with the key that the Qdrant server asks for.
    pub qdrant_key_file: Option<PathBuf>,
    /// Ahead of the names of all collections on the Qdrant server.
    pub qdrant_prefix: String,
    /// Builds of new versions that this node works on at once; 0 leaves them to other nodes.
    pub builds: Option<usize>,
    /// Most chunks that a build embeds a second; as many as the ingest pool takes without it.
    pub build_chunks_per_s: Option<u32>,
}

impl Default for VectorsSection {
    fn default() -> Self {
        VectorsSection {
            engine: VectorEngine::Embedded,
            exact_records_max: 20_000,
            memory_mb: 4_096,
            qdrant_url: "http://127.0.0.1:6333".to_owned(),
            qdrant_key_file: None,
            qdrant_prefix: "headwater-".to_owned(),
            builds: None,
            build_chunks_per_s: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestSection {
    /// Workers of this node; two for each core by default, and none on a node without models.
    pub workers: Option<usize>,
    /// Documents that a worker has under way.
    pub documents: usize,
    /// Most texts in one request to the embedding service.
    pub embed_texts: usize,
    /// After so long without a sign of life a worker's documents go to others, in ms.
    pub hold_ms: u64,
    /// Attempts at a document before it counts as dead.
    pub attempts: u32,
    /// Most jobs of one tenant that have not ended.
    pub jobs: usize,
    /// Longest line that holds a document, in bytes.
    pub line_bytes: usize,
    /// How long a job that has ended is remembered, in hours.
    pub retention_hours: u64,
    /// Folders of this node whose files a job may name; none by default.
    pub roots: Vec<PathBuf>,
    /// Prefixes of object stores whose objects a job may name, `s3://bucket/prefix/` for example;
    /// none by default. Credentials stand in the environment, as `AWS_ACCESS_KEY_ID` does.
    pub stores: Vec<String>,
}

impl Default for IngestSection {
    fn default() -> Self {
        IngestSection {
            workers: None,
            documents: 8,
            embed_texts: 32,
            hold_ms: 30_000,
            attempts: 8,
            jobs: 1_000,
            line_bytes: 8 << 20,
            retention_hours: 7 * 24,
            roots: Vec::new(),
            stores: Vec::new(),
        }
    }
}

/// A hold must outlast what may still be on its way when its holder has died, and the skew of
/// two clocks.
pub(crate) const HOLD_LATE_MS: u64 = 10_000;

impl Settings {
    /// Workers of ingest on this node.
    pub(crate) fn ingest_workers(&self) -> usize {
        let serves = self.embedding.models.iter().any(|model| model.autoload);
        self.ingest.workers.unwrap_or(if serves { 2 * cores() } else { 0 })
    }

    /// Checks what types cannot say of sinks and ingest.
    pub(super) fn check_retrieval(&self) -> Result<(), Nonsense> {
        let fail = |key: &str, problem: String| {
            Err(Nonsense { key: key.split('.').map(str::to_owned).collect(), problem })
        };
        let counts = [
            ("vectors.memory_mb", self.vectors.memory_mb),
            ("ingest.documents", self.ingest.documents),
            ("ingest.embed_texts", self.ingest.embed_texts),
            ("ingest.attempts", self.ingest.attempts as usize),
            ("ingest.jobs", self.ingest.jobs),
            ("ingest.line_bytes", self.ingest.line_bytes),
        ];
        for (key, value) in counts {
            if value == 0 {
                return fail(key, "is 0; it must be at least 1".to_owned());
            }
        }
        if self.ingest.embed_texts > self.embedding.request_texts {
            let most = self.embedding.request_texts;
            let problem = format!("must be at most embedding.request_texts, which is {most}");
            return fail("ingest.embed_texts", problem);
        }
        let least = 2 * (HOLD_LATE_MS + self.cluster.max_skew_ms);
        if self.ingest.hold_ms < least {
            return fail("ingest.hold_ms", format!("must be at least {least}"));
        }
        let url = &self.vectors.qdrant_url;
        let is_web = url.starts_with("http://") || url.starts_with("https://");
        if self.vectors.engine == VectorEngine::Qdrant && !is_web {
            let problem = "must start with http:// or https://".to_owned();
            return fail("vectors.qdrant_url", problem);
        }
        Ok(())
    }
}
