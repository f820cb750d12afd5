//! Following the store: tools and grants are few, so a change of any has all of them read anew.

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, RangeRead, StoreError, Transaction};
use headwater_tools::{
    Definition, Grant, Registry, SearchIndex, State, Tool, ToolName, ToolVersion,
};

use super::handle::{Served, ToolsHandle};
use super::keys;
use super::records::{self, VersionRow};
use crate::watched;

/// Rows of one page.
const PAGE_ROWS: usize = 200;
/// The pause after a read that failed, in ms.
const LOST_MS: u64 = 100;

impl ToolsHandle {
    /// Follows the store for as long as it is polled. In an outage what was known stays.
    pub async fn follow(self) {
        let runtime = self.shared.runtime.clone();
        loop {
            let read = watched::read(&self.shared.retry, &keys::revision()).await;
            match read {
                Ok((row, watch)) => {
                    let is_new = !self.shared.is_known()
                        || revision(row.as_deref()) != self.shared.served().revision;
                    if is_new && let Err(error) = self.catch_up().await {
                        tracing::warn!(%error, "changed tools were not read; they are tried again");
                        runtime.pause(LOST_MS).await;
                        continue;
                    }
                    watched::change(&runtime, watch).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "the store was not asked for changed tools");
                    runtime.pause(LOST_MS).await;
                }
            }
        }
    }

    /// Reads all tools and grants, and serves them.
    ///
    /// # Errors
    /// The store's; what this node served before stays.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        let served = self.shared.retry.read(|transaction| {
            Box::pin(async move {
                let row = records::load_raw(transaction, &keys::revision()).await?;
                let revision = revision(row.as_deref());
                let tools = tools(transaction).await?;
                let pointers = pointers(transaction).await?;
                let grants = grants(transaction).await?;
                Ok((revision, tools, pointers, grants))
            })
        });
        let (revision, tools, pointers, grants) = served.await?;
        let registry = Registry::new(tools, pointers);
        let index = SearchIndex::new(registry.defaults(self.shared.runtime.wall_ms()));
        self.shared.serve(Served { registry, grants, index, revision });
        Ok(())
    }
}

fn revision(row: Option<&[u8]>) -> u64 {
    row.and_then(|row| row.try_into().ok()).map_or(0, u64::from_le_bytes)
}

async fn tools(transaction: &mut dyn Transaction) -> Result<Vec<Tool>, StoreError> {
    let mut tools = Vec::new();
    let mut range = keys::versions();
    loop {
        let page = transaction.range(RangeRead::all(range.clone()).limit(PAGE_ROWS)).await?;
        let Some((last, _)) = page.last() else { return Ok(tools) };
        range.begin = KeyRange::of_key(last).end;
        for (key, row) in page {
            let (name, version) = named(&key)?;
            let row: VersionRow = records::decode(&row)?;
            match tool(transaction, &name, version, row).await {
                Ok(tool) => tools.push(tool),
                Err(error) if error.is_retryable() => return Err(error),
                // One that this build cannot read holds none of the others up.
                Err(error) => tracing::error!(tool = name, version, %error, "a tool is left out"),
            }
        }
    }
}

async fn tool(
    transaction: &mut dyn Transaction,
    name: &str,
    version: u32,
    row: VersionRow,
) -> Result<Tool, StoreError> {
    let text = records::load_text(transaction, &keys::definition(name, version)).await?;
    let value = serde_json::from_slice(&text).map_err(|error| records::corrupt(&error))?;
    let definition = Definition::read(&value).map_err(|error| records::corrupt(&error))?;
    let version = ToolVersion::new(version).map_err(|error| records::corrupt(&error))?;
    let mut tool = Tool::new(definition, version, row.published_ms);
    if let Some(reason) = row.withdrawn {
        tool.state = State::Withdrawn { reason };
    }
    Ok(tool)
}

pub(super) fn named(key: &[u8]) -> Result<(String, u32), StoreError> {
    let elements = tuple::unpack(key)?;
    match elements.as_slice() {
        [.., Element::Text(name), Element::Integer(version)] => {
            let version = u32::try_from(*version).map_err(|error| records::corrupt(&error))?;
            Ok((name.clone(), version))
        }
        _ => Err(records::corrupt(&"its key names no version of a tool")),
    }
}

async fn pointers(
    transaction: &mut dyn Transaction,
) -> Result<Vec<(ToolName, ToolVersion)>, StoreError> {
    let rows = transaction.range(RangeRead::all(keys::pointers())).await?;
    let pointer = |(key, row): (Vec<u8>, Vec<u8>)| {
        let Some(Element::Text(name)) = tuple::unpack(&key)?.pop() else {
            return Err(records::corrupt(&"its key names no tool"));
        };
        let name = ToolName::new(name).map_err(|error| records::corrupt(&error))?;
        let version: u32 = records::decode(&row)?;
        Ok((name, ToolVersion::new(version).map_err(|error| records::corrupt(&error))?))
    };
    rows.into_iter().map(pointer).collect()
}

async fn grants(transaction: &mut dyn Transaction) -> Result<Vec<Grant>, StoreError> {
    let mut grants = Vec::new();
    let mut range = keys::grants();
    loop {
        let page = transaction.range(RangeRead::all(range.clone()).limit(PAGE_ROWS)).await?;
        let Some((last, _)) = page.last() else { return Ok(grants) };
        range.begin = KeyRange::of_key(last).end;
        for (_, row) in page {
            let value = records::decode(&row)?;
            grants.push(Grant::read(&value).map_err(|error| records::corrupt(&error))?);
        }
    }
}
