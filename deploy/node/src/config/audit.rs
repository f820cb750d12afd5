//! The settings of the audit: where records go, what is kept of what was said, and for how long.

use std::collections::BTreeMap;
use std::path::PathBuf;

use headwater_actors::gateway::{AuditLimits, AuditSettings, ContentMode};
use serde::Deserialize;

use super::{Nonsense, Settings};

/// What is kept of requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditContent {
    /// Nothing but the metadata.
    None,
    /// A keyed hash, by which a text can be told to be the one.
    Hash,
    Full,
}

impl From<AuditContent> for ContentMode {
    fn from(content: AuditContent) -> ContentMode {
        match content {
            AuditContent::None => ContentMode::None,
            AuditContent::Hash => ContentMode::Hash,
            AuditContent::Full => ContentMode::Full,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSection {
    /// Whether this node keeps an audit; by default every node with a gateway or with
    /// sandboxes does.
    pub enabled: Option<bool>,
    /// A folder, or an address such as `s3://bucket/audit/`, which nodes may share; `audit` in the
    /// data folder by default.
    pub location: Option<String>,
    /// Whether requests to encoders leave records, too; what they said is not kept.
    pub encoders: bool,
    pub content: AuditContent,
    /// What is kept for a team, where that is something else.
    pub content_by_team: BTreeMap<String, AuditContent>,
    /// File with the key of the hashes, as `headwater token --new-key` makes it; one is drawn and
    /// kept in the data folder by default. Nodes whose hashes are compared share it.
    pub hash_key_file: Option<PathBuf>,
    /// Days after which what was said goes.
    pub content_days: u64,
    /// Days after which the rest goes, but for what is flagged.
    pub metadata_days: u64,
    /// Most bytes that wait on this node's disk while the lake is away.
    pub spill_limit_bytes: u64,
    /// How often records go into the lake, in ms; questions see them at once.
    pub flush_interval_ms: u64,
    /// Most rows of an answer.
    pub query_rows: usize,
    /// Longest time for a question, in ms.
    pub query_time_ms: u64,
    /// Most memory for a question.
    pub query_memory_bytes: usize,
}

impl Default for AuditSection {
    fn default() -> Self {
        let AuditSettings { flush_interval_ms, limits, .. } = AuditSettings::default();
        AuditSection {
            enabled: None,
            location: None,
            encoders: true,
            content: AuditContent::None,
            content_by_team: BTreeMap::new(),
            hash_key_file: None,
            content_days: 7,
            metadata_days: 90,
            spill_limit_bytes: 1 << 30,
            flush_interval_ms,
            query_rows: limits.rows,
            query_time_ms: limits.time_ms,
            query_memory_bytes: limits.memory_bytes,
        }
    }
}

/// A spill below this holds no single batch.
const SPILL_BYTES_MIN: u64 = 1 << 20;

impl Settings {
    pub(crate) fn is_audited(&self) -> bool {
        let (backends, engines) = (&self.gateway.backends, &self.sandbox.engines);
        self.audit.enabled.unwrap_or(!backends.is_empty() || !engines.is_empty())
    }

    pub(crate) fn audit_settings(&self) -> AuditSettings {
        let section = &self.audit;
        AuditSettings {
            flush_interval_ms: section.flush_interval_ms,
            limits: AuditLimits {
                rows: section.query_rows,
                time_ms: section.query_time_ms,
                memory_bytes: section.query_memory_bytes,
            },
            ..AuditSettings::default()
        }
    }

    /// Checks what types cannot say of the audit.
    pub(super) fn check_audit(&self) -> Result<(), Nonsense> {
        let section = &self.audit;
        let fail = |key: &str, problem: String| {
            Err(Nonsense { key: vec!["audit".to_owned(), key.to_owned()], problem })
        };
        for (key, value) in [
            ("content_days", section.content_days),
            ("metadata_days", section.metadata_days),
            ("flush_interval_ms", section.flush_interval_ms),
            ("query_rows", section.query_rows as u64),
            ("query_time_ms", section.query_time_ms),
            ("query_memory_bytes", section.query_memory_bytes as u64),
        ] {
            if value == 0 {
                return fail(key, "is 0; it must be at least 1".to_owned());
            }
        }
        if section.content_days > section.metadata_days {
            let days = section.metadata_days;
            let problem = format!("is longer than audit.metadata_days, {days}; make it shorter");
            return fail("content_days", problem);
        }
        if section.spill_limit_bytes < SPILL_BYTES_MIN {
            let problem = format!("must be at least {SPILL_BYTES_MIN}");
            return fail("spill_limit_bytes", problem);
        }
        match section.location.as_deref() {
            Some("") => fail("location", "is empty; name a folder or s3://bucket/prefix/".into()),
            _ => Ok(()),
        }
    }
}
