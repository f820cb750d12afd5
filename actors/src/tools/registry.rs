//! Publishing tools and granting them: each change is one transaction, and every node follows.

use headwater_storage::{ReadMode, StoreError, Transaction};
use headwater_tools::{
    Decision, Definition, Difference, Filter, Grant, Problem, Tool, ToolName, ToolReference,
    ToolVersion, amend, compare, decide,
};
use serde_json::Value;

use super::handle::ToolsHandle;
use super::keys;
use super::meanings::Compared;
use super::nouns::{ToolCaller, ToolsError};
use super::records::{self, VersionRow};

/// What publishing came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    pub reference: ToolReference,
    /// False when the newest version is the same, so that nothing was written.
    pub is_new: bool,
    /// From the version before.
    pub differences: Vec<Difference>,
}

/// A change, again for each try of its transaction.
type Done<T> = Result<Result<T, ToolsError>, StoreError>;

impl ToolsHandle {
    /// Publishes a definition as the tool's next version, unless it is the newest one already.
    ///
    /// # Errors
    /// [`ToolsError::Invalid`], [`ToolsError::Forbidden`] for another team's tool, the store's.
    pub async fn publish(
        &self,
        caller: &ToolCaller,
        document: &Value,
    ) -> Result<Published, ToolsError> {
        let definition = Definition::read(document)?;
        check_owner(caller, &definition.owner)?;
        let (by, now_ms) = (caller.subject.clone(), self.shared.runtime.wall_ms());
        let is_operator = caller.is_operator;
        let team = caller.team.clone();
        self.write(move |transaction| {
            let (definition, by, team) = (definition.clone(), by.clone(), team.clone());
            Box::pin(async move {
                let newest = newest(transaction, &definition.name).await?;
                if let Some((version, before)) = &newest {
                    if !is_operator && before.owner != team {
                        let owner = &before.owner;
                        let why = format!(
                            "{} belongs to {owner}; publish it under another name",
                            definition.name
                        );
                        return Ok(Err(ToolsError::Forbidden(why)));
                    }
                    if before.canonical() == definition.canonical() {
                        let reference = ToolReference::to(definition.name.clone(), *version);
                        let differences = Vec::new();
                        return Ok(Ok(Published { reference, is_new: false, differences }));
                    }
                }
                let version = match &newest {
                    None => Some(ToolVersion::FIRST),
                    Some((version, _)) => version.next(),
                };
                let Some(version) = version else {
                    let problem = "has no number left for another version; choose another name";
                    return Ok(Err(Problem::new("name", problem).into()));
                };
                let row = VersionRow { published_ms: now_ms, by, withdrawn: None };
                store_version(transaction, &definition, version, &row)?;
                let differences =
                    newest.map_or_else(Vec::new, |(_, before)| compare(&before, &definition));
                let reference = ToolReference::to(definition.name.clone(), version);
                Ok(Ok(Published { reference, is_new: true, differences }))
            })
        })
        .await
    }

    /// Changes the description or the deprecation of a version that is published.
    ///
    /// # Errors
    /// As [`ToolsHandle::publish`]; [`ToolsError::Unknown`].
    pub async fn amend(
        &self,
        caller: &ToolCaller,
        version: ToolVersion,
        document: &Value,
    ) -> Result<(), ToolsError> {
        let definition = Definition::read(document)?;
        check_owner(caller, &definition.owner)?;
        self.write(move |transaction| {
            let definition = definition.clone();
            Box::pin(async move {
                let found = self::version(transaction, &definition.name, version).await?;
                let Some((row, before)) = found else {
                    return Ok(Err(unknown(&definition.name, version)));
                };
                if let Err(problem) = amend(&before, &definition) {
                    return Ok(Err(problem.into()));
                }
                store_version(transaction, &definition, version, &row)?;
                Ok(Ok(()))
            })
        })
        .await
    }

    /// Refuses a version from now on, or serves it again when `reason` is none.
    ///
    /// # Errors
    /// [`ToolsError::Unknown`], [`ToolsError::Forbidden`], the store's.
    pub async fn withdraw(
        &self,
        caller: &ToolCaller,
        name: &ToolName,
        version: ToolVersion,
        reason: Option<String>,
    ) -> Result<(), ToolsError> {
        let (caller, name) = (caller.clone(), name.clone());
        self.write(move |transaction| {
            let (caller, name, reason) = (caller.clone(), name.clone(), reason.clone());
            Box::pin(async move {
                let Some((mut row, definition)) =
                    self::version(transaction, &name, version).await?
                else {
                    return Ok(Err(unknown(&name, version)));
                };
                if let Err(error) = check_owner(&caller, &definition.owner) {
                    return Ok(Err(error));
                }
                row.withdrawn = reason;
                let key = keys::version(name.as_str(), version.get());
                transaction.set(&key, &records::encode(&row)?)?;
                records::tell(transaction)?;
                Ok(Ok(()))
            })
        })
        .await
    }

    /// Says which version the tool's name alone means; the newest without one.
    ///
    /// # Errors
    /// As [`ToolsHandle::withdraw`].
    pub async fn point(
        &self,
        caller: &ToolCaller,
        name: &ToolName,
        version: Option<ToolVersion>,
    ) -> Result<(), ToolsError> {
        let (caller, name) = (caller.clone(), name.clone());
        self.write(move |transaction| {
            let (caller, name) = (caller.clone(), name.clone());
            Box::pin(async move {
                let found = match version {
                    Some(version) => self::version(transaction, &name, version).await?,
                    None => match newest(transaction, &name).await? {
                        Some((newest, _)) => self::version(transaction, &name, newest).await?,
                        None => None,
                    },
                };
                let Some((_, definition)) = found else {
                    return Ok(Err(unknown(&name, version.unwrap_or(ToolVersion::FIRST))));
                };
                if let Err(error) = check_owner(&caller, &definition.owner) {
                    return Ok(Err(error));
                }
                let key = keys::pointer(name.as_str());
                match version {
                    Some(version) => transaction.set(&key, &records::encode(&version.get())?)?,
                    None => transaction.clear(&key)?,
                }
                records::tell(transaction)?;
                Ok(Ok(()))
            })
        })
        .await
    }

    /// Writes a grant, in place of the one with its id. For operators.
    ///
    /// # Errors
    /// [`ToolsError::Invalid`], [`ToolsError::Forbidden`], the store's.
    pub async fn grant(&self, caller: &ToolCaller, document: &Value) -> Result<(), ToolsError> {
        check_operator(caller)?;
        let grant = Grant::read(document)?;
        self.write(move |transaction| {
            let grant = grant.clone();
            Box::pin(async move {
                let row = records::encode(&grant.to_json())?;
                transaction.set(&keys::grant(&grant.id), &row)?;
                records::tell(transaction)?;
                Ok(Ok(()))
            })
        })
        .await
    }

    /// Takes a grant away. For operators.
    ///
    /// # Errors
    /// [`ToolsError::Unknown`], [`ToolsError::Forbidden`], the store's.
    pub async fn revoke(&self, caller: &ToolCaller, id: &str) -> Result<(), ToolsError> {
        check_operator(caller)?;
        let id = id.to_owned();
        self.write(move |transaction| {
            let id = id.clone();
            Box::pin(async move {
                let key = keys::grant(&id);
                if transaction.get(&key, ReadMode::Serializable).await?.is_none() {
                    return Ok(Err(ToolsError::Unknown { what: format!("grant '{id}'") }));
                }
                transaction.clear(&key)?;
                records::tell(transaction)?;
                Ok(Ok(()))
            })
        })
        .await
    }

    /// Grants that this caller may see: an operator all, a team those about it.
    pub fn grants(&self, caller: &ToolCaller) -> Vec<Grant> {
        let served = self.shared.served();
        let about =
            |grant: &&Grant| caller.is_operator || grant.team == "*" || grant.team == caller.team;
        served.grants.iter().filter(about).cloned().collect()
    }

    /// Runs a change, and has this node serve what it left before it returns.
    async fn write<T: Send>(
        &self,
        mut act: impl for<'t> FnMut(
            &'t mut dyn Transaction,
        )
            -> std::pin::Pin<Box<dyn Future<Output = Done<T>> + Send + 't>>
        + Send,
    ) -> Result<T, ToolsError> {
        let done = self.shared.write_once(|transaction| act(transaction)).await??;
        if let Err(error) = self.catch_up().await {
            tracing::debug!(%error, "changed tools were not read at once");
        }
        Ok(done)
    }
}

fn check_owner(caller: &ToolCaller, owner: &str) -> Result<(), ToolsError> {
    if caller.is_operator || caller.team == owner {
        return Ok(());
    }
    let why = format!("the tool is {owner}'s; a key of {owner} may change it, or an operator");
    Err(ToolsError::Forbidden(why))
}

fn check_operator(caller: &ToolCaller) -> Result<(), ToolsError> {
    match caller.is_operator {
        true => Ok(()),
        false => Err(ToolsError::Forbidden("grants are given by operators; ask one".to_owned())),
    }
}

fn unknown(name: &ToolName, version: ToolVersion) -> ToolsError {
    ToolsError::Unknown { what: format!("version {version} of the tool {name}") }
}

fn store_version(
    transaction: &mut dyn Transaction,
    definition: &Definition,
    version: ToolVersion,
    row: &VersionRow,
) -> Result<(), StoreError> {
    let name = definition.name.as_str();
    transaction.set(&keys::version(name, version.get()), &records::encode(row)?)?;
    let place = keys::definition(name, version.get());
    records::store_text(transaction, &place, definition.canonical().as_bytes())?;
    records::tell(transaction)
}

async fn version(
    transaction: &mut dyn Transaction,
    name: &ToolName,
    version: ToolVersion,
) -> Result<Option<(VersionRow, Definition)>, StoreError> {
    let (name, number) = (name.as_str(), version.get());
    let Some(row) = records::load(transaction, &keys::version(name, number)).await? else {
        return Ok(None);
    };
    let text = records::load_text(transaction, &keys::definition(name, number)).await?;
    let value = serde_json::from_slice(&text).map_err(|error| records::corrupt(&error))?;
    let definition = Definition::read(&value).map_err(|error| records::corrupt(&error))?;
    Ok(Some((row, definition)))
}

async fn newest(
    transaction: &mut dyn Transaction,
    name: &ToolName,
) -> Result<Option<(ToolVersion, Definition)>, StoreError> {
    let read = headwater_storage::RangeRead::all(keys::versions_of(name.as_str()));
    let last = transaction.range(read.reverse().limit(1)).await?.pop();
    let Some((key, _)) = last else { return Ok(None) };
    let (_, number) = super::follow::named(&key)?;
    let number = ToolVersion::new(number).map_err(|error| records::corrupt(&error))?;
    let found = version(transaction, name, number).await?;
    Ok(found.map(|(_, definition)| (number, definition)))
}

/// Questions about tools, from memory.
impl ToolsHandle {
    /// The default versions that pass the filter, at most `limit` behind a name, and the name to
    /// go on from. A caller sees its own team's tools, and those that a grant names.
    pub fn list(
        &self,
        caller: &ToolCaller,
        filter: &Filter,
        after: Option<&ToolName>,
        limit: usize,
    ) -> (Vec<Tool>, Option<ToolName>) {
        let served = self.shared.served();
        let now_ms = self.shared.runtime.wall_ms();
        let visible = |tool: &Tool| self.sees(caller, tool);
        let page = served.registry.list(filter, after, limit, now_ms, visible);
        (page.tools.into_iter().cloned().collect(), page.next)
    }

    /// All versions of a tool that the caller may see, the oldest first.
    pub fn versions(&self, caller: &ToolCaller, name: &ToolName) -> Vec<Tool> {
        let served = self.shared.served();
        let versions = served.registry.versions(name.as_str());
        versions.filter(|tool| self.sees(caller, tool)).cloned().collect()
    }

    /// Tools that fit a question best, at most `limit`, each with its score.
    ///
    /// # Errors
    /// When the question cannot be compared.
    pub async fn search(
        &self,
        caller: &ToolCaller,
        question: &str,
        limit: usize,
    ) -> Result<Vec<(Tool, f64)>, ToolsError> {
        let served = self.shared.served();
        let now_ms = self.shared.runtime.wall_ms();
        let tool = |name: &ToolName| {
            let wanted = ToolReference::of(name.clone());
            served.registry.resolve(&wanted, now_ms).ok()
        };
        let visible = |name: &ToolName| tool(name).is_some_and(|tool| self.sees(caller, tool));
        let compared = match self.shared.meanings.get() {
            Some(meanings) => {
                let tools = served.registry.defaults(now_ms).filter(|tool| self.sees(caller, tool));
                meanings.compare(&self.shared.runtime, tools.collect(), question).await
            }
            None => None,
        };
        let vectors = compared.as_ref().map(Compared::vectors);
        let hits = served.index.search(question, vectors, limit, visible)?;
        Ok(hits.iter().filter_map(|hit| Some((tool(&hit.name)?.clone(), hit.score))).collect())
    }

    fn sees(&self, caller: &ToolCaller, tool: &Tool) -> bool {
        if caller.is_operator {
            return true;
        }
        let served = self.shared.served();
        let agent = caller.agent.as_deref().unwrap_or_default();
        let who = headwater_tools::Caller { team: &caller.team, agent };
        let (of, now_ms) = ((&*tool.definition, tool.version), self.shared.runtime.wall_ms());
        matches!(decide(&served.grants, who, of, None, now_ms), Decision::Allowed(_))
    }
}
