//! One statement in a transaction that only reads.

use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt;
use headwater_backends::{BackendError, SecretHeader};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement, Transaction};

use crate::ask::Ask;
use crate::error::failed;
use crate::meter::Meter;
use crate::parameter::{self, Parameter};
use crate::value::{Form, Raw};

/// Bytes that the protocol and TLS may add to an answer; numbers are longer there than in JSON.
const WIRE_BYTES: u64 = 1 << 20;
const WIRE_FACTOR: u64 = 8;
/// The server waits for us so much longer than for itself, in milliseconds.
const SILENCE_MS: u64 = 5_000;
/// Milliseconds that PostgreSQL can count.
const SPAN_MS_MAX: u64 = i32::MAX as u64;

/// What a call may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) rows_max: u32,
    pub(crate) bytes_max: u64,
    /// As the caller counts it, in milliseconds.
    pub(crate) after_ms: u64,
    pub(crate) deadline: Instant,
}

/// How statements of one call are run.
pub(crate) struct Run<'a> {
    meter: Arc<Meter>,
    secrets: &'a [SecretHeader],
    bounds: Bounds,
    lock_ms: u64,
}

impl<'a> Run<'a> {
    /// Counts bytes from here on.
    pub(crate) fn new(
        meter: Arc<Meter>,
        secrets: &'a [SecretHeader],
        bounds: Bounds,
        lock_ms: u64,
    ) -> Run<'a> {
        meter.begin(bounds.bytes_max.saturating_mul(WIRE_FACTOR).saturating_add(WIRE_BYTES));
        Run { meter, secrets, bounds, lock_ms }
    }

    pub(crate) async fn read(
        &self,
        transaction: &Transaction<'_>,
        ask: Ask<'_>,
    ) -> Result<Value, BackendError> {
        let fail = |error: Error| self.failed(&error);
        transaction.batch_execute(&self.limits()).await.map_err(fail)?;
        let statement = transaction.prepare(ask.sql).await.map_err(fail)?;
        let forms = forms(&statement)?;
        check_parameters(&statement, ask.parameters)?;
        let (rows, truncated) = self.rows(transaction, &statement, ask.parameters, &forms).await?;
        let columns: Vec<Value> = statement
            .columns()
            .iter()
            .map(|column| json!({"name": column.name(), "type": column.type_().name()}))
            .collect();
        let count = rows.len();
        let told =
            json!({"columns": columns, "rows": rows, "row_count": count, "truncated": truncated});
        Ok(told)
    }

    /// The server's own limits. After the first question a transaction cannot be made one that
    /// writes any more.
    fn limits(&self) -> String {
        let left = self.bounds.deadline.saturating_duration_since(Instant::now());
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let span_ms = |span_ms: u64| span_ms.clamp(1, SPAN_MS_MAX);
        format!(
            "SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {}; SELECT 1",
            span_ms(left_ms),
            span_ms(self.lock_ms.min(left_ms)),
            span_ms(left_ms.saturating_add(SILENCE_MS))
        )
    }

    /// Up to as many rows as are allowed, and whether there were more.
    async fn rows(
        &self,
        transaction: &Transaction<'_>,
        statement: &Statement,
        parameters: &[Value],
        forms: &[Form],
    ) -> Result<(Vec<Value>, bool), BackendError> {
        let fail = |error: Error| self.failed(&error);
        let parameters: Vec<Parameter<'_>> = parameters.iter().map(Parameter).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> =
            parameters.iter().map(|one| one as &(dyn ToSql + Sync)).collect();
        let portal = transaction.bind(statement, &parameters).await.map_err(fail)?;
        let Bounds { rows_max, bytes_max, .. } = self.bounds;
        let limit = i32::try_from(rows_max.saturating_add(1)).unwrap_or(i32::MAX);
        let stream = transaction.query_portal_raw(&portal, limit).await.map_err(fail)?;
        let mut stream = pin!(stream);
        let (mut rows, mut bytes) = (Vec::new(), 0_u64);
        while let Some(row) = stream.try_next().await.map_err(fail)? {
            if rows.len() as u64 >= u64::from(rows_max) {
                return Ok((rows, true));
            }
            let mut values = Vec::with_capacity(forms.len());
            for (place, form) in forms.iter().enumerate() {
                let raw = row.try_get::<_, Option<Raw<'_>>>(place).map_err(fail)?;
                values.push(match raw {
                    None => Value::Null,
                    Some(Raw(raw)) => form.read(raw).ok_or_else(|| unreadable(statement, place))?,
                });
            }
            let row = Value::Array(values);
            bytes += row.to_string().len() as u64 + 1;
            if bytes > bytes_max {
                return Err(BackendError::TooLarge { bytes_max });
            }
            rows.push(row);
        }
        Ok((rows, false))
    }

    /// Bytes to the server and from it.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.meter.written(), self.meter.read())
    }

    pub(crate) fn failed(&self, error: &Error) -> BackendError {
        match self.meter.is_over() {
            true => BackendError::TooLarge { bytes_max: self.bounds.bytes_max },
            false => failed(error, self.bounds.after_ms, self.secrets),
        }
    }
}

/// How each column is read, so that nothing is run whose answer could not be told.
fn forms(statement: &Statement) -> Result<Vec<Form>, BackendError> {
    let form = |column: &tokio_postgres::Column| {
        Form::of(column.type_()).ok_or_else(|| {
            let (name, kind) = (column.name(), column.type_().name());
            let why = format!(
                "column `{name}` has the type {kind}, which has no form in JSON here; cast it, as \
                 in {name}::text"
            );
            BackendError::Arguments { why }
        })
    };
    statement.columns().iter().map(form).collect()
}

fn check_parameters(statement: &Statement, given: &[Value]) -> Result<(), BackendError> {
    let kinds = statement.params();
    let wrong = |why: String| BackendError::Arguments { why };
    if kinds.len() != given.len() {
        return Err(wrong(format!(
            "the statement has {} parameters and `parameters` has {}; give one value for each of \
             $1, $2 and so on",
            kinds.len(),
            given.len()
        )));
    }
    for (place, (kind, value)) in kinds.iter().zip(given).enumerate() {
        parameter::text(kind, value)
            .map_err(|why| wrong(format!("`parameters[{place}]` {why}")))?;
    }
    Ok(())
}

fn unreadable(statement: &Statement, place: usize) -> BackendError {
    let name = statement.columns().get(place).map_or("", |column| column.name());
    BackendError::Unknown { why: format!("column `{name}` holds what no value of its type is") }
}
