//! A lake in memory whose store fails, hangs, or breaks off in the middle; and a spill that
//! outlives its process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use headwater_storage::audit::{
    AuditError, AuditLake, AuditQuery, AuditRecord, Cell, DAY_MS, Outcome, QueryLimits, Scope,
    Table,
};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tempfile::{TempDir, tempdir};

use crate::audit::place::Place;
use crate::audit::{ParquetAudit, ParquetAuditSettings};

/// 2100-01-01, in days since 1970: files that are made now are older.
pub(super) const TODAY: u64 = 47_482;
pub(super) const NOW_MS: u64 = TODAY * DAY_MS + 3_600_000;

/// How a put ends.
pub(super) const WELL: usize = 0;
pub(super) const FAILS: usize = 1;
pub(super) const HANGS: usize = 2;
/// The bytes are there, and the answer is an error.
pub(super) const LIES: usize = 3;

/// A store whose puts end as they are told.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    inner: InMemory,
    mood: AtomicUsize,
    /// Puts that go well before the mood counts.
    good: AtomicU64,
    pub(super) puts: AtomicU64,
}

impl Trouble {
    pub(super) fn set(&self, mood: usize, after: u64) {
        self.good.store(after, Ordering::SeqCst);
        self.mood.store(mood, Ordering::SeqCst);
    }

    fn mood(&self) -> usize {
        let good = self.good.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if good.is_ok() { WELL } else { self.mood.load(Ordering::SeqCst) }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("trouble")
    }
}

fn broken() -> Error {
    Error::Generic { store: "trouble", source: "s3://secret-bucket is away".into() }
}

#[async_trait]
impl ObjectStore for Trouble {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        match self.mood() {
            FAILS => Err(broken()),
            HANGS => std::future::pending().await,
            LIES => {
                self.inner.put_opts(at, bytes, how).await?;
                Err(broken())
            }
            _ => self.inner.put_opts(at, bytes, how).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        places: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(places)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

/// One lake, and the nodes that share it.
pub(super) struct World {
    pub(super) store: Arc<Trouble>,
    pub(super) folder: TempDir,
}

impl World {
    pub(super) fn new() -> World {
        World { store: Arc::default(), folder: tempdir().expect("a folder") }
    }

    pub(super) fn settings(&self, node: &str) -> ParquetAuditSettings {
        let spill = self.folder.path().join(node);
        let mut settings = ParquetAuditSettings::new("memory:///", spill);
        (settings.timeout_ms, settings.grace_ms) = (300, 0);
        settings
    }

    pub(super) fn over(&self, settings: ParquetAuditSettings) -> ParquetAudit {
        let store: Arc<dyn ObjectStore> = Arc::clone(&self.store) as _;
        let place = Place::of(store, Path::from("lake/deep"), settings.timeout_ms);
        let draw = settings.spill.folder.as_os_str().len() as u64 ^ u64::from(u32::MAX);
        ParquetAudit::over(place, settings, NOW_MS, draw).expect("is opened")
    }

    /// A process of this node; the one before it must have ended.
    pub(super) fn start(&self, node: &str) -> ParquetAudit {
        self.over(self.settings(node))
    }

    /// The lake's files, below its own folder.
    pub(super) async fn files(&self) -> Vec<String> {
        use futures_util::TryStreamExt;
        let all: Vec<ObjectMeta> =
            self.store.inner.list(None).try_collect().await.expect("is listed");
        let name = |one: ObjectMeta| one.location.to_string();
        let mut names: Vec<String> = all.into_iter().map(name).collect();
        names.sort();
        names
    }

    /// Keeps what a file holds, and brings it back.
    pub(super) async fn copy(&self, name: &str) -> bytes::Bytes {
        let got = self.store.inner.get(&Path::from(name)).await.expect("is there");
        got.bytes().await.expect("is read")
    }

    pub(super) async fn put(&self, name: &str, bytes: bytes::Bytes) {
        let put = self.store.inner.put(&Path::from(name), bytes.into()).await;
        put.expect("is put");
    }
}

pub(super) fn record(id: &str, team: &str, day: u64) -> AuditRecord {
    AuditRecord {
        time_ms: day * DAY_MS + 60_000,
        model_asked: "chat".to_owned(),
        tokens_in: 10,
        tokens_out: 5,
        cost_micro_usd: 1_250_000,
        ..AuditRecord::new(id, team, Outcome::Whole)
    }
}

pub(super) async fn ask(
    lake: &ParquetAudit,
    scope: Scope,
    sql: &str,
) -> std::result::Result<Table, AuditError> {
    let sql = sql.to_owned();
    lake.query(AuditQuery { sql, scope, limits: QueryLimits::default() }).await
}

pub(super) async fn rows(lake: &ParquetAudit, sql: &str) -> Vec<Vec<Cell>> {
    ask(lake, Scope::All, sql).await.expect("is answered").rows
}

/// All ids that a question sees, each as often as it does.
pub(super) async fn ids(lake: &ParquetAudit) -> Vec<String> {
    let rows = rows(lake, "select id from audit order by id").await;
    let text = |row: Vec<Cell>| match row.as_slice() {
        [Cell::Text(id)] => id.clone(),
        other => panic!("{other:?}"),
    };
    rows.into_iter().map(text).collect()
}
