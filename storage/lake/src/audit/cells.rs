//! Rows of Arrow as plain cells.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::Result;
use headwater_storage::audit::{Cell, QueryLimits, Table};

/// Longest answer, in bytes of its cells.
const ANSWER_BYTES: usize = 32 << 20;

/// An answer while it grows.
pub(super) struct Shown {
    table: Table,
    limits: QueryLimits,
    /// Of all cells so far, and at most.
    bytes: usize,
    most_bytes: usize,
}

impl Shown {
    pub(super) fn new(schema: &SchemaRef, limits: &QueryLimits) -> Shown {
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        let table = Table { columns, ..Table::default() };
        let most_bytes = limits.memory_bytes.min(ANSWER_BYTES);
        Shown { table, limits: *limits, bytes: 0, most_bytes }
    }

    /// Adds rows; whether more may come.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<bool> {
        let columns = batch.columns().iter().map(Column::new).collect::<Result<Vec<_>>>()?;
        for place in 0..batch.num_rows() {
            if self.table.rows.len() == self.limits.rows || self.bytes > self.most_bytes {
                self.table.is_truncated = true;
                return Ok(false);
            }
            let row: Vec<Cell> = columns.iter().map(|column| column.cell(place)).collect();
            self.bytes += row.iter().map(bytes_of).sum::<usize>();
            self.table.rows.push(row);
        }
        Ok(true)
    }

    pub(super) fn table(self) -> Table {
        self.table
    }
}

fn bytes_of(cell: &Cell) -> usize {
    let text = if let Cell::Text(text) = cell { text.len() } else { 0 };
    size_of::<Cell>() + text
}

/// One column of a batch, ready to be told.
enum Column<'a> {
    Bool(ArrayRef),
    Int(ArrayRef),
    Unsigned(ArrayRef),
    Float(ArrayRef),
    Shown(&'a ArrayRef, ArrayFormatter<'a>),
}

impl<'a> Column<'a> {
    fn new(array: &'a ArrayRef) -> Result<Column<'a>> {
        use DataType::{
            Boolean, Decimal128, Float16, Float32, Float64, Int8, Int16, Int32, Int64, UInt8,
            UInt16, UInt32, UInt64,
        };
        Ok(match array.data_type() {
            Boolean => Column::Bool(cast(array, &Boolean)?),
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => {
                Column::Int(cast(array, &Int64)?)
            }
            UInt64 => Column::Unsigned(cast(array, &UInt64)?),
            Float16 | Float32 | Float64 | Decimal128(..) => Column::Float(cast(array, &Float64)?),
            _ => {
                const OPTIONS: FormatOptions<'static> = FormatOptions::new();
                let formatter = ArrayFormatter::try_new(array.as_ref(), &OPTIONS)?;
                Column::Shown(array, formatter)
            }
        })
    }

    fn cell(&self, place: usize) -> Cell {
        let array = match self {
            Column::Bool(array)
            | Column::Int(array)
            | Column::Unsigned(array)
            | Column::Float(array) => array,
            Column::Shown(array, _) => *array,
        };
        if array.is_null(place) || *array.data_type() == DataType::Null {
            return Cell::Null;
        }
        match self {
            Column::Bool(array) => Cell::Bool(array.as_boolean().value(place)),
            Column::Int(array) => Cell::Int(array.as_primitive::<Int64Type>().value(place)),
            Column::Unsigned(array) => {
                let value = array.as_primitive::<UInt64Type>().value(place);
                i64::try_from(value).map_or(Cell::Float(value as f64), Cell::Int)
            }
            Column::Float(array) => Cell::Float(array.as_primitive::<Float64Type>().value(place)),
            Column::Shown(_, formatter) => Cell::Text(formatter.value(place).to_string()),
        }
    }
}
