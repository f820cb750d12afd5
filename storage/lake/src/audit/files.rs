//! Parquet files: written whole, read column by column.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, TryFutureExt, TryStreamExt};
use headwater_storage::audit::{AuditError, AuditRecord};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;

use super::listing::Entry;
use super::rows;

/// Rows of one group: what a reader of a few columns fetches at a time.
const GROUP_ROWS: usize = 100_000;
/// Bytes of one group, which the writer holds.
const GROUP_BYTES: usize = 16 << 20;
/// Rows of one step of a reader or a writer.
const STEP_ROWS: usize = 4_096;
/// The same where what was said is read, too.
const CONTENT_STEP_ROWS: usize = 64;

/// A file while it is written.
pub(super) struct FileWriter(ArrowWriter<Vec<u8>>);

impl FileWriter {
    pub(super) fn new() -> std::result::Result<FileWriter, AuditError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), rows::schema(), Some(properties));
        Ok(FileWriter(writer.map_err(|error| broken(&error))?))
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) -> std::result::Result<(), AuditError> {
        self.0.write(batch).map_err(|error| broken(&error))
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        let flushed = self.0.flushed_row_groups().iter().map(|group| group.num_rows());
        flushed.sum::<i64>().unsigned_abs() as usize + self.0.in_progress_rows()
    }

    pub(super) fn end(self) -> std::result::Result<Vec<u8>, AuditError> {
        self.0.into_inner().map_err(|error| broken(&error))
    }
}

/// A file of these records, a few rows at a time: as cells they take several times what they take
/// as rows.
pub(super) fn of_records(records: &[&AuditRecord]) -> std::result::Result<Vec<u8>, AuditError> {
    let mut writer = FileWriter::new()?;
    records.chunks(STEP_ROWS).try_for_each(|step| writer.add(&rows::batch(step)?))?;
    writer.end()
}

pub(super) fn broken(error: &ParquetError) -> AuditError {
    tracing::warn!(%error, "a file of the audit lake cannot be used");
    AuditError::Unavailable("a file of the audit lake cannot be used now".to_owned())
}

/// The rows of a file in these columns. A column that the file lacks is null.
pub(super) async fn read(
    store: Arc<dyn ObjectStore>,
    entry: &Entry,
    schema: SchemaRef,
) -> Result<impl Stream<Item = Result<RecordBatch>> + Send + 'static + use<>> {
    let reader = FileReader { store, path: entry.path.clone(), bytes: entry.bytes };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
    let own = builder.schema();
    let is_content = |name: &str| {
        let column = headwater_storage::audit::COLUMNS.iter().find(|column| column.name == name);
        column.is_some_and(|column| column.is_content)
    };
    let has_content = schema.fields().iter().any(|field| is_content(field.name()));
    let places = schema.fields().iter().filter_map(|field| own.index_of(field.name()).ok());
    let mask = ProjectionMask::roots(builder.parquet_schema(), places);
    let step = if has_content { CONTENT_STEP_ROWS } else { STEP_ROWS };
    let stream = builder.with_projection(mask).with_batch_size(step).build()?;
    Ok(stream.and_then(move |batch| {
        let fitted = fit(&batch, &schema);
        async move { fitted }
    }))
}

/// The same rows in the columns of this schema, in its order.
fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let column = |field: &Arc<arrow::datatypes::Field>| -> Result<ArrayRef> {
        match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => Ok(arrow::compute::cast(column, field.data_type())?),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// A file in the lake's store.
struct FileReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

fn outside(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        self.store.get_range(&self.path, range).map_err(outside).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(outside) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let bytes = self.bytes;
            let metadata = ParquetMetaDataReader::new().load_and_finish(self, bytes).await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}
