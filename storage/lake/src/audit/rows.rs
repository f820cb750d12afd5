//! Records as rows of Arrow.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_storage::audit::{AuditError, AuditRecord, COLUMNS, Cell, ColumnKind, cells};

const ZONE: &str = "UTC";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |kind: ColumnKind| match kind {
        ColumnKind::Text => DataType::Utf8,
        ColumnKind::Int => DataType::Int64,
        ColumnKind::Float => DataType::Float64,
        ColumnKind::Bool => DataType::Boolean,
        ColumnKind::Time => DataType::Timestamp(TimeUnit::Millisecond, Some(ZONE.into())),
        ColumnKind::Date => DataType::Date32,
    };
    let fields = COLUMNS.iter().map(|column| Field::new(column.name, field(column.kind), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
});

/// The view's columns.
pub(super) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

fn broken(error: &arrow::error::ArrowError) -> AuditError {
    AuditError::Unavailable(format!("the records make no rows: {error}"))
}

/// All columns of these records.
pub(super) fn batch(records: &[&AuditRecord]) -> Result<RecordBatch, AuditError> {
    let mut columns: Vec<Vec<Cell>> = COLUMNS.iter().map(|_| Vec::new()).collect();
    for record in records {
        columns.iter_mut().zip(cells(record)).for_each(|(column, cell)| column.push(cell));
    }
    let arrays = COLUMNS.iter().zip(columns);
    let arrays = arrays.map(|(column, cells)| array(column.kind, cells)).collect();
    RecordBatch::try_new(schema(), arrays).map_err(|error| broken(&error))
}

fn array(kind: ColumnKind, cells: Vec<Cell>) -> ArrayRef {
    let int = |cell: &Cell| match cell {
        Cell::Int(value) => Some(*value),
        _ => None,
    };
    match kind {
        ColumnKind::Text => {
            let text = cells.into_iter().map(|cell| match cell {
                Cell::Text(text) => Some(text),
                _ => None,
            });
            Arc::new(text.collect::<StringArray>())
        }
        ColumnKind::Int => Arc::new(cells.iter().map(int).collect::<Int64Array>()),
        ColumnKind::Float => {
            let float = cells.iter().map(|cell| match cell {
                Cell::Float(value) => Some(*value),
                _ => None,
            });
            Arc::new(float.collect::<Float64Array>())
        }
        ColumnKind::Bool => {
            let bool = cells.iter().map(|cell| match cell {
                Cell::Bool(value) => Some(*value),
                _ => None,
            });
            Arc::new(bool.collect::<BooleanArray>())
        }
        ColumnKind::Time => {
            let times = cells.iter().map(int).collect::<TimestampMillisecondArray>();
            Arc::new(times.with_timezone(ZONE))
        }
        ColumnKind::Date => {
            let days = cells.iter().map(|cell| int(cell).and_then(|day| i32::try_from(day).ok()));
            Arc::new(days.collect::<Date32Array>())
        }
    }
}
