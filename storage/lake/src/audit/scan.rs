//! The view `audit` as the engine scans it: the lake's files and what still waits in the spill,
//! each row once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures_util::{StreamExt, TryStreamExt, stream};
use headwater_storage::audit::{AuditError, AuditRecord, Scope, day_of};
use object_store::ObjectStore;

use super::listing::{Entry, list};
use super::names::{FileName, Partition, Segment};
use super::spill::Reader;
use super::{Inner, files, rows};

mod bounds;

/// Files that are read at a time.
const READERS: usize = 2;
/// Records of the spill that become rows at a time.
const SPILL_ROWS: usize = 1_024;

/// See the module.
pub(super) struct AuditView {
    pub(super) inner: Arc<Inner>,
    pub(super) scope: Scope,
}

impl std::fmt::Debug for AuditView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AuditView").field("scope", &self.scope).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for AuditView {
    fn schema(&self) -> SchemaRef {
        rows::schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    /// Days and teams choose folders; the engine looks at each row in any case.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut bounds = bounds::of(filters);
        if let Scope::Team(team) = &self.scope {
            bounds.team = Some(team.clone());
        }
        let schema = match projection {
            Some(places) => Arc::new(rows::schema().project(places)?),
            None => rows::schema(),
        };
        // First what waits: a segment that goes into the lake meanwhile is in both, and is told
        // apart by its name.
        let readers = self.inner.spill.readers().map_err(outside)?;
        let entries = list(&self.inner.place, &bounds).await.map_err(outside)?;
        let parts = split(&self.inner.place.store, &schema, entries, readers, &self.scope);
        Ok(Arc::new(StreamingTableExec::try_new(schema, parts, None, [], false, limit)?))
    }
}

fn outside(error: AuditError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Shares out what is read: the spill to one reader, the files to others.
fn split(
    store: &Arc<dyn ObjectStore>,
    schema: &SchemaRef,
    entries: Vec<Entry>,
    readers: Vec<Reader>,
    scope: &Scope,
) -> Vec<Arc<dyn PartitionStream>> {
    let waits = |name: &FileName| {
        name.is_raw() && readers.iter().any(|reader| reader.segment == name.first)
    };
    // Files that cover a segment which waits hold its rows of their partition.
    let mut covering: BTreeMap<Partition, Vec<FileName>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.name.is_raw()) {
        covering.entry(entry.partition.clone()).or_default().push(entry.name.clone());
    }
    let read = entries.into_iter().filter(|entry| !entry.is_covered && !waits(&entry.name));
    let mut shares: Vec<Vec<Entry>> = vec![Vec::new(); READERS];
    for entry in read {
        // The smallest share so far.
        let share = shares
            .iter_mut()
            .min_by_key(|share| -> u64 { share.iter().map(|entry| entry.bytes).sum() });
        if let Some(share) = share {
            share.push(entry);
        }
    }
    let (store, schema) = (Arc::clone(store), Arc::clone(schema));
    let files = shares.into_iter().filter(|share| !share.is_empty());
    let mut parts: Vec<Arc<dyn PartitionStream>> = files
        .map(|entries| -> Arc<dyn PartitionStream> {
            let (store, schema) = (Arc::clone(&store), Arc::clone(&schema));
            Arc::new(FileShare { store, schema, entries })
        })
        .collect();
    let readers = Mutex::new(readers);
    parts.push(Arc::new(SpillShare { schema, readers, covering, scope: scope.clone() }));
    parts
}

/// Files that one reader reads, one after the other.
struct FileShare {
    store: Arc<dyn ObjectStore>,
    schema: SchemaRef,
    entries: Vec<Entry>,
}

impl std::fmt::Debug for FileShare {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} files", self.entries.len())
    }
}

impl PartitionStream for FileShare {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (store, schema) = (Arc::clone(&self.store), Arc::clone(&self.schema));
        let batches = stream::iter(self.entries.clone())
            .then(move |entry| {
                let (store, schema) = (Arc::clone(&store), Arc::clone(&schema));
                async move { files::read(store, &entry, schema).await }
            })
            .try_flatten()
            .map_err(|error| outside(files::broken(&error)));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// What waits in the spill. It can be read once.
struct SpillShare {
    schema: SchemaRef,
    readers: Mutex<Vec<Reader>>,
    covering: BTreeMap<Partition, Vec<FileName>>,
    scope: Scope,
}

impl std::fmt::Debug for SpillShare {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("what waits for the lake")
    }
}

impl PartitionStream for SpillShare {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let readers = std::mem::take(&mut *readers);
        let (covering, scope) = (self.covering.clone(), self.scope.clone());
        let schema = Arc::clone(&self.schema);
        let batches = stream::iter(readers)
            .map(move |reader| {
                let segment = reader.segment.clone();
                let mut records = reader.records().map_err(outside)?.unwrap_or_default();
                records.retain(|one| is_seen(one, &scope) && !is_covered(one, &segment, &covering));
                Ok::<_, DataFusionError>(records)
            })
            .map_ok(move |records| {
                let steps: Vec<_> =
                    records.chunks(SPILL_ROWS).map(|step| project(step, &schema)).collect();
                stream::iter(steps)
            })
            .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

fn is_seen(record: &AuditRecord, scope: &Scope) -> bool {
    match scope {
        Scope::All => true,
        Scope::Team(team) => record.team == *team,
    }
}

/// Whether a file of the record's partition holds it already.
fn is_covered(
    record: &AuditRecord,
    segment: &Segment,
    covering: &BTreeMap<Partition, Vec<FileName>>,
) -> bool {
    if covering.is_empty() {
        return false;
    }
    let partition = Partition::new(day_of(record.time_ms), &record.team);
    let names = covering.get(&partition);
    names.is_some_and(|names| names.iter().any(|name| name.covers(segment)))
}

fn project(records: &[AuditRecord], schema: &SchemaRef) -> Result<RecordBatch> {
    let records: Vec<&AuditRecord> = records.iter().collect();
    let batch = rows::batch(&records).map_err(outside)?;
    let places = schema.fields().iter().map(|field| batch.schema().index_of(field.name()));
    Ok(batch.project(&places.collect::<std::result::Result<Vec<_>, _>>()?)?)
}
