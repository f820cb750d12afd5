//! A gateway over models that follow a script, with quotas and a ledger.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use headwater_gateway::redaction::RedactionPolicies;
use headwater_gateway::{
    Alias, CacheWish, GatewayConfig, GatewaySettings, Price, RetrySettings, Target,
};
use headwater_models::chat::double::{Script, ScriptedChat};
use headwater_models::chat::{ChatError, ChatEvent, ChatModel, ChatRequest, Chunk, Message, Role};
use headwater_storage::retry::Retry;
use prometheus_client::registry::Registry;

use crate::cluster::tests::world::World as Cluster;
use crate::gateway::{Answer, Ask, Backend, Caller, GatewayError, GatewayHandle, GatewayMetrics};
use crate::tenancy::tests::world::{Setup, Site, TENANT, ledger};
use crate::tenancy::{Amounts, Limit, Limits, Unit, Window};

/// 1 millionth of a dollar for an input token, 10 for one of output.
const PRICE: Price = Price::of(1_000_000, 10_000_000);
pub(crate) const CHAT: &str = "chat";

pub(crate) struct World {
    cluster: Cluster,
    pub(crate) site: Site,
    pub(crate) gateway: GatewayHandle,
    /// The models, in the order of their preference.
    pub(super) models: Vec<ScriptedChat>,
    config: GatewayConfig,
    versions: u64,
}

impl World {
    /// A gateway whose first target is the first of these, and whose fallbacks are the others.
    pub(super) async fn new(scripts: Vec<Vec<Script>>) -> World {
        let models: Vec<ScriptedChat> = scripts.into_iter().map(ScriptedChat::new).collect();
        let shared = |model: &ScriptedChat| Arc::new(model.clone()) as Arc<dyn ChatModel>;
        let over = models.iter().map(shared).collect();
        World { models, ..World::over(over).await }
    }

    /// The same over any models.
    pub(crate) async fn over(models: Vec<Arc<dyn ChatModel>>) -> World {
        let cluster = Cluster::new();
        let site = Site::start(&cluster, "one", Setup::default()).await;
        let backend = |(number, model): (usize, &Arc<dyn ChatModel>)| Backend {
            name: format!("b{number}"),
            protocol: None,
            model: Arc::clone(model),
        };
        let backends: Vec<Backend> = models.iter().enumerate().map(backend).collect();
        let target = |backend: &Backend| {
            Target::of(&backend.name, &format!("model-{}", backend.name), 1, PRICE)
        };
        let alias = Alias {
            fallbacks: backends.iter().skip(1).map(target).collect(),
            output_tokens: 100,
            cache_ttl_ms: 60_000,
            ..Alias::of(CHAT, backends.iter().take(1).map(target).collect())
        };
        let config = GatewayConfig { aliases: vec![alias], ..GatewayConfig::default() };
        let retry = RetrySettings { budget_ms: 400, first_pause_ms: 2, ..RetrySettings::default() };
        let gateway = GatewayHandle::new(
            site.node.runtime.clone(),
            site.handle.clone(),
            backends,
            config.clone(),
            BTreeSet::new(),
            GatewaySettings { retry, cache_bytes: 100_000, ..GatewaySettings::default() },
            GatewayMetrics::register(&mut Registry::default()),
        );
        let (gateway, models) = (gateway.expect("is good"), Vec::new());
        World { cluster, site, gateway, models, config, versions: 0 }
    }

    /// From now on these policies count.
    pub(super) fn redact(&mut self, redaction: RedactionPolicies) {
        self.change(|config| config.redaction = redaction);
    }

    /// From now on the configuration is changed so.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut GatewayConfig)) {
        self.versions += 1;
        change(&mut self.config);
        self.gateway.serve(self.versions, self.config.clone());
    }

    /// Another gateway over the same store and quotas, whose one backend is this.
    pub(crate) fn beside(&self, model: Arc<dyn ChatModel>) -> GatewayHandle {
        let gateway = GatewayHandle::new(
            self.site.node.runtime.clone(),
            self.site.handle.clone(),
            vec![Backend { name: "b0".to_owned(), protocol: None, model }],
            GatewayConfig::default(),
            BTreeSet::new(),
            GatewaySettings::default(),
            GatewayMetrics::register(&mut Registry::default()),
        );
        gateway.expect("is good")
    }

    pub(crate) fn retry(&self) -> Retry {
        self.cluster.retry(1_000)
    }

    pub(super) async fn chat(&self) -> Result<Answer, GatewayError> {
        let message = Message::text(Role::User, "How deep is the lake?");
        self.ask(ChatRequest::new(CHAT, vec![message])).await
    }

    /// An answer, as soon as the edge has heard that the quota covers it.
    pub(super) async fn admitted(&self) -> Answer {
        for _ in 0..1_000 {
            match self.chat().await {
                Ok(answer) => return answer,
                Err(GatewayError::OverQuota { .. }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the quota never covers it: {:?}", self.chat().await.map(|answer| answer.served));
    }

    pub(super) async fn ask(&self, request: ChatRequest) -> Result<Answer, GatewayError> {
        self.wish(request, CacheWish::default()).await
    }

    pub(super) async fn wish(
        &self,
        request: ChatRequest,
        cache: CacheWish,
    ) -> Result<Answer, GatewayError> {
        let caller = Caller { tenant: TENANT.to_owned(), ..Caller::default() };
        let (id, key) = ("request".to_owned(), "key".to_owned());
        let route = "/v1/chat/completions";
        let ask = Ask { id, caller, route, key, cache, trace_parent: None, prompt: None, request };
        self.gateway.chat(ask).await
    }

    pub(super) async fn limit(&self, unit: Unit, amount: u64) {
        let limit = Limit { model: None, unit, window: Window::Minute, amount };
        self.site.set_limits(Limits { revision: 0, limits: vec![limit] }).await;
    }

    /// What is in the ledger once it holds so many rows.
    pub(super) async fn charged(&self, rows: usize) -> Vec<Amounts> {
        for _ in 0..500 {
            let found = ledger(&self.cluster, TENANT).await;
            if found.len() >= rows {
                return found.iter().map(|row| row.entry.used).collect();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no {rows} rows: {:?}", ledger(&self.cluster, TENANT).await);
    }
}

/// The next part.
pub(super) async fn next(answer: &mut Answer) -> Option<Result<Chunk, GatewayError>> {
    poll_fn(|context| std::pin::Pin::new(&mut answer.chunks).poll_next(context)).await
}

/// All that is said, and how it ends.
pub(crate) async fn hear(mut answer: Answer) -> (String, Option<GatewayError>) {
    let mut said = String::new();
    while let Some(part) = next(&mut answer).await {
        match part {
            Ok(chunk) => chunk.events.iter().for_each(|event| {
                if let ChatEvent::Text { text, .. } = event {
                    said.push_str(text);
                }
            }),
            Err(error) => return (said, Some(error)),
        }
    }
    (said, None)
}

/// Input of 7 tokens, and these words.
pub(super) fn says(words: &[&str]) -> Script {
    ScriptedChat::words(7, words)
}

/// The words, and then it breaks off.
pub(super) fn breaks(words: &[&str]) -> Script {
    let mut chunks = says(words)?;
    chunks.pop();
    chunks.push(Err(ChatError::Cut { reason: "the connection was closed".to_owned() }));
    Ok(chunks)
}

pub(super) fn broken() -> Script {
    Err(ChatError::Unavailable { status: Some(500), reason: "it fails".to_owned() })
}

pub(super) fn limited(retry_after_ms: u64) -> Script {
    let message = "slow down".to_owned();
    Err(ChatError::Limited { retry_after_ms: Some(retry_after_ms), message })
}

pub(super) fn refused() -> Script {
    let message = "messages is empty".to_owned();
    Err(ChatError::Refused { status: 422, code: Some("empty".to_owned()), message })
}
