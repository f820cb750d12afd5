//! Questions in SQL. The engine knows one table, `audit`, which holds what the caller may see; it
//! knows no files, no catalog, and no statement but a question.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::config::Dialect;
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::object_store::ObjectStore;
use datafusion::prelude::{DataFrame, SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use futures_util::TryStreamExt;
use headwater_storage::audit::{AuditError, AuditQuery, QueryLimits, Table};
use url::Url;

use super::cells::Shown;
use super::scan::AuditView;
use super::{Inner, rows};

/// Longest question, in bytes, and in words and signs: planning goes as deep as a question has
/// them, on a stack that has an end.
const SQL_BYTES: usize = 16 << 10;
const SQL_TOKENS: usize = 1_000;
const VIEW: &str = "audit";
/// Functions that make much of little, past the engine's count of its memory.
const INFLATING: [&str; 3] = ["repeat", "lpad", "rpad"];

/// Answers one question, within its limits but for the time, which the caller watches.
pub(super) async fn answer(inner: Arc<Inner>, query: AuditQuery) -> Result<Table, AuditError> {
    let AuditQuery { sql, scope, limits } = query;
    check_length(&sql)?;
    // Never closed, so that the wait ends with a permit.
    let _turn = inner.asking.acquire().await.ok();
    let inner = Arc::clone(&inner);
    let context = session(&limits).map_err(|error| told(&error, &limits))?;
    let view = AuditView { inner, scope };
    context.register_table(VIEW, Arc::new(view)).map_err(|error| told(&error, &limits))?;
    let frame = plan(&context, &sql).await?;
    let frame = frame.map_err(|error| told(&error, &limits))?;
    collect(frame, &limits).await.map_err(|error| told(&error, &limits))
}

fn check_length(sql: &str) -> Result<(), AuditError> {
    let refused = |length: usize, of: &str, most: usize| {
        let problem = format!("the question has {length} {of}; at most {most} are read");
        Err(AuditError::Refused(problem))
    };
    if sql.len() > SQL_BYTES {
        return refused(sql.len(), "bytes", SQL_BYTES);
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| AuditError::Refused(error.to_string()))?;
    let tokens = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).count();
    match tokens > SQL_TOKENS {
        true => refused(tokens, "words and signs", SQL_TOKENS),
        false => Ok(()),
    }
}

/// One session for one question: nothing stays.
fn session(limits: &QueryLimits) -> Result<SessionContext> {
    let config = SessionConfig::new()
        .with_information_schema(false)
        .with_target_partitions(2)
        .set_bool("datafusion.execution.enable_recursive_ctes", false);
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let environment = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.memory_bytes)))
        .with_disk_manager_builder(disk)
        .with_object_store_registry(Arc::new(NoStores))
        .build_arc()?;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(environment)
        .with_default_features()
        .with_file_formats(Vec::new())
        .with_table_factories(std::collections::HashMap::new())
        .with_table_function_list(Vec::new())
        .build();
    let context = SessionContext::new_with_state(state);
    INFLATING.iter().for_each(|name| context.deregister_udf(name));
    Ok(context)
}

/// The plan of a question; an error of the outer kind says that it is none.
async fn plan(context: &SessionContext, sql: &str) -> Result<Result<DataFrame>, AuditError> {
    let state = context.state();
    let statement = match state.sql_to_statement(sql, &Dialect::Generic) {
        Ok(statement) => statement,
        Err(error) => return Ok(Err(error)),
    };
    let is_question = match &statement {
        Statement::Statement(inner) => matches!(inner.as_ref(), ast::Statement::Query(_)),
        _ => false,
    };
    if !is_question {
        let advice = "only one select is answered, for example: select team, sum(cost_usd) from \
                      audit group by team";
        return Err(AuditError::Refused(advice.to_owned()));
    }
    let planned = async {
        let plan = state.statement_to_plan(statement).await?;
        let options = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        options.verify_plan(&plan)?;
        context.execute_logical_plan(plan).await
    };
    Ok(planned.await)
}

async fn collect(frame: DataFrame, limits: &QueryLimits) -> Result<Table> {
    // One more than may be told, so that it is known whether there are more.
    let frame = frame.limit(0, Some(limits.rows.saturating_add(1)))?;
    let mut batches = frame.execute_stream().await?;
    let mut shown = Shown::new(&batches.schema(), limits);
    while let Some(batch) = batches.try_next().await? {
        if !shown.add(&batch)? {
            break;
        }
    }
    Ok(shown.table())
}

/// What is wrong, in words for whoever asked.
fn told(error: &DataFusionError, limits: &QueryLimits) -> AuditError {
    match error.find_root() {
        DataFusionError::External(own) => match own.downcast_ref::<AuditError>() {
            Some(own) => own.clone(),
            None => unavailable(error),
        },
        DataFusionError::ResourcesExhausted(_) => AuditError::Refused(format!(
            "the question needs more than {} bytes of memory; ask for fewer days, columns or groups",
            limits.memory_bytes
        )),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => unavailable(error),
        DataFusionError::Internal(_) => {
            tracing::warn!(%error, "the SQL engine failed");
            AuditError::Refused("the SQL engine cannot answer this; ask in another way".to_owned())
        }
        root => {
            let text = root.strip_backtrace();
            let columns: Vec<String> =
                rows::schema().fields().iter().map(|field| field.name().clone()).collect();
            let help = match root {
                DataFusionError::SchemaError(..) => {
                    format!("; the columns of audit are {}", columns.join(", "))
                }
                DataFusionError::Plan(text) if text.contains("not found") => {
                    "; the only table is audit".to_owned()
                }
                _ => String::new(),
            };
            AuditError::Refused(format!("{text}{help}"))
        }
    }
}

fn unavailable(error: &DataFusionError) -> AuditError {
    tracing::warn!(%error, "the audit lake cannot be read");
    AuditError::Unavailable("the audit lake cannot be read now; try again later".to_owned())
}

/// No address leads anywhere.
#[derive(Debug)]
struct NoStores;

impl ObjectStoreRegistry for NoStores {
    fn register_store(
        &self,
        _url: &Url,
        _store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, _url: &Url) -> Result<Arc<dyn ObjectStore>> {
        Err(DataFusionError::Plan("files are not found here".to_owned()))
    }
}
