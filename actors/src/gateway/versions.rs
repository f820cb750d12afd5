//! Versions of what the gateways of a cluster serve: kept in the store, checked before they take
//! effect, followed by every node. A step back is a new version with an old one's text.

mod records;

use std::sync::Arc;

use headwater_gateway::GatewayProblem;
use headwater_storage::StoreError;
use headwater_storage::retry::{Applied, OperationId, Retry};

use super::document::{ConfigDocument, TargetDocument};
use super::handle::GatewayHandle;
use super::health::Condemned;
use crate::runtime::Runtime;
use crate::watched;

/// Bytes of the largest document, as JSON.
const DOCUMENT_BYTES: usize = 2_000_000;
/// Versions in a list.
const LISTED: usize = 100;
const HOUR_MS: u64 = 3_600_000;
/// Pause after the store failed, in ms.
const AGAIN_MS: u64 = 500;

/// What was served from a moment on.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// 0 is what the node's own settings say.
    pub number: u64,
    pub document: ConfigDocument,
    /// Since 1970.
    pub made_ms: u64,
    pub author: String,
    pub reason: String,
    /// The version whose text it has, when it is a step back.
    pub restores: Option<u64>,
}

/// Who changes what is served, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub author: String,
    pub reason: String,
    /// The version that must be served now; another one is not overwritten.
    pub expected: Option<u64>,
}

/// Why a version was not made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VersionError {
    #[error(transparent)]
    Invalid(#[from] GatewayProblem),
    #[error("version {current} is served, not {expected}; look at it, then try again")]
    Moved { expected: u64, current: u64 },
    #[error("there is no version {0}; see the list of versions")]
    Unknown(u64),
    #[error("no version was stored before the one that is served; there is nothing to go back to")]
    NothingBefore,
    #[error("the document has {given} bytes; at most {DOCUMENT_BYTES} are allowed")]
    TooLarge { given: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl VersionError {
    /// Whether what is stored cannot be read, now or later.
    pub fn is_damage(&self) -> bool {
        matches!(self, VersionError::Store(StoreError::Corrupt(_)))
    }
}

/// The versions, and the gateway that serves the newest one; cheap to clone.
#[derive(Clone)]
pub struct GatewayVersions {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    retry: Retry,
    gateway: GatewayHandle,
    /// What the node's settings say.
    settings: ConfigDocument,
}

/// What a new version is to hold.
enum Text {
    New(ConfigDocument),
    /// Of this version; the one before the served one without it.
    Of(Option<u64>),
}

impl GatewayVersions {
    /// `settings` is served as long as no version is stored.
    pub fn new(
        runtime: Runtime,
        retry: Retry,
        gateway: GatewayHandle,
        settings: ConfigDocument,
    ) -> GatewayVersions {
        GatewayVersions { shared: Arc::new(Shared { runtime, retry, gateway, settings }) }
    }

    /// Whether this node could serve it.
    ///
    /// # Errors
    /// The first problem.
    pub fn check(&self, document: &ConfigDocument) -> Result<(), VersionError> {
        let given = json_of(document)?.len();
        if given > DOCUMENT_BYTES {
            return Err(VersionError::TooLarge { given });
        }
        Ok(self.shared.gateway.check(document).map(|_| ())?)
    }

    /// Serves the document from now on, on every node.
    ///
    /// # Errors
    /// See [`VersionError`]; what was served stays.
    pub async fn put(
        &self,
        document: ConfigDocument,
        change: Change,
    ) -> Result<Version, VersionError> {
        self.make(Text::New(document), change).await
    }

    /// Serves an old version's text again: of the one before without a number.
    ///
    /// # Errors
    /// As [`GatewayVersions::put`]; an old text may no longer fit the node's backends.
    pub async fn roll_back(
        &self,
        to: Option<u64>,
        change: Change,
    ) -> Result<Version, VersionError> {
        self.make(Text::Of(to), change).await
    }

    /// A version; the one that is served without a number.
    ///
    /// # Errors
    /// [`VersionError::Unknown`] and the store's.
    pub async fn get(&self, number: Option<u64>) -> Result<Version, VersionError> {
        let settings = self.settings();
        let read = self.shared.retry.read(|transaction| {
            let settings = settings.clone();
            Box::pin(async move {
                let number = match number {
                    Some(number) => number,
                    None => records::current(transaction).await?,
                };
                if number == 0 {
                    return Ok(Ok(settings));
                }
                Ok(records::load(transaction, number).await?.ok_or(VersionError::Unknown(number)))
            })
        });
        read.await?
    }

    /// The newest versions first, without their documents.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self) -> Result<Vec<Version>, VersionError> {
        let read = self.shared.retry.read(|transaction| {
            Box::pin(async move { records::newest(transaction, LISTED).await })
        });
        Ok(read.await?)
    }

    /// The number that the next version follows, also when what is stored under it cannot be read:
    /// another one must be able to take its place.
    async fn newest(&self) -> Result<u64, VersionError> {
        let read = self
            .shared
            .retry
            .read(|transaction| Box::pin(async move { records::newest_number(transaction).await }));
        Ok(read.await?)
    }

    fn settings(&self) -> Version {
        Version {
            number: 0,
            document: self.shared.settings.clone(),
            made_ms: 0,
            author: "settings".to_owned(),
            reason: "the node's settings".to_owned(),
            restores: None,
        }
    }

    async fn make(&self, text: Text, change: Change) -> Result<Version, VersionError> {
        let Shared { runtime, retry, .. } = &*self.shared;
        // Two operators at once: the second one's version is made of what the first one left, or
        // is refused by what it expects.
        let before = self.newest().await?;
        if let Some(expected) = change.expected.filter(|expected| *expected != before) {
            return Err(VersionError::Moved { expected, current: before });
        }
        let (document, restores) = match text {
            Text::New(document) => (document, None),
            Text::Of(number) => {
                let number = number.or(before.checked_sub(1)).ok_or(VersionError::NothingBefore)?;
                (self.get(Some(number)).await?.document, Some(number))
            }
        };
        self.check(&document)?;
        let json = json_of(&document)?;
        let Change { author, reason, .. } = change;
        let (number, made_ms) = (before + 1, runtime.wall_ms());
        let version = Version { number, document, made_ms, author, reason, restores };
        let hour = u32::try_from(made_ms / HOUR_MS).unwrap_or(u32::MAX);
        let id = OperationId::draw(hour, runtime.environment());
        let written = retry.write(id, |transaction| {
            let (version, json) = (version.clone(), json.clone());
            Box::pin(async move {
                let current = records::newest_number(transaction).await?;
                if current != before {
                    return Ok(Err(VersionError::Moved { expected: before, current }));
                }
                records::store(transaction, &version, &json)?;
                Ok(Ok(()))
            })
        });
        if let Applied::Now(outcome) = written.await? {
            outcome?;
        }
        // The others hear of it by their watch; whoever asked here sees it here at once.
        self.serve(&version);
        Ok(version)
    }

    /// A version that does not fit this node changes nothing here.
    fn serve(&self, version: &Version) {
        let gateway = &self.shared.gateway;
        let served =
            gateway.check(&version.document).map(|config| gateway.serve(version.number, config));
        match served {
            Ok(()) => {
                tracing::info!(version = version.number, "gateway: another version is served")
            }
            Err(problem) => {
                gateway.refuse_version();
                tracing::error!(
                    version = version.number,
                    %problem,
                    "gateway: this version cannot be served here; the one before stays"
                );
            }
        }
    }

    /// Serves what the store says now.
    ///
    /// # Errors
    /// The store's; what was served stays.
    pub async fn load(&self) -> Result<(), VersionError> {
        let version = self.get(None).await?;
        if version.number > self.shared.gateway.version() {
            self.serve(&version);
        }
        Ok(())
    }

    /// Serves every new version, until the node ends.
    pub async fn follow(self) {
        let Shared { runtime, retry, .. } = &*self.shared;
        let mut seen = None;
        loop {
            let read = watched::read(retry, &records::current_key()).await;
            let Ok((row, watch)) = read else {
                runtime.pause(AGAIN_MS).await;
                continue;
            };
            if seen != Some(row.clone()) {
                match self.load().await {
                    Ok(()) => seen = Some(row),
                    Err(error) => {
                        tracing::warn!(%error, "gateway: a new version could not be read");
                        runtime.pause(AGAIN_MS).await;
                        continue;
                    }
                }
            }
            watched::change(runtime, watch).await;
        }
    }
}

/// What takes canaries back.
const GUARD: &str = "headwater";
/// How often the guard looks at canaries, in ms.
const GUARD_MS: u64 = 1_000;

impl GatewayVersions {
    /// Takes canaries back that are worse than what they may replace, until the node ends. Of
    /// several nodes that see it, one makes the new version.
    pub async fn guard(self) {
        loop {
            self.shared.runtime.pause(GUARD_MS).await;
            for condemned in self.shared.gateway.condemned() {
                let Condemned { alias, backend, model, reason } = &condemned;
                match self.take_back(&condemned).await {
                    Ok(version) => tracing::warn!(
                        alias,
                        backend,
                        model,
                        reason,
                        version,
                        "a canary was taken back"
                    ),
                    Err(error) => tracing::warn!(
                        alias, backend, model, %error, "a canary could not be taken back yet"
                    ),
                }
            }
        }
    }

    async fn take_back(&self, condemned: &Condemned) -> Result<u64, VersionError> {
        let Condemned { alias, backend, model, reason } = condemned;
        let Version { number, mut document, .. } = self.get(None).await?;
        let models = document.models.iter_mut().filter(|one| one.name == *alias);
        for one in models {
            let name = one.name.clone();
            let is_it = |target: &&mut TargetDocument| {
                let called = target.model.as_ref().unwrap_or(&name);
                target.canary && target.backend == *backend && called == model
            };
            for target in one.targets.iter_mut().filter(is_it) {
                (target.weight, target.canary) = (0, false);
            }
        }
        let reason = format!("canary {backend}/{model} of {alias} taken back: {reason}");
        let change = Change { author: GUARD.to_owned(), reason, expected: Some(number) };
        let version = self.put(document, change).await?;
        self.shared.gateway.canary_taken_back();
        Ok(version.number)
    }
}

fn json_of(document: &ConfigDocument) -> Result<Vec<u8>, VersionError> {
    let json = serde_json::to_vec(document);
    Ok(json.map_err(|error| StoreError::Usage(format!("the document: {error}")))?)
}
