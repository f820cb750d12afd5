//! A prompt service over a gateway whose one model says back what it is asked, so that a prompt
//! decides what is answered and a judge's prompt what is judged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use headwater_models::chat::double::ScriptedChat;
use headwater_models::chat::{ChatError, ChatModel, ChatRequest, ChatStream, Part};
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use crate::cluster::tests::world::pause;
use crate::gateway::tests::world::{CHAT, World as Gateway, hear};
use crate::gateway::{Ask, CacheWish, Caller, GatewayHandle};
use crate::prompts::usage::messages_of;
use crate::prompts::{
    Actor, Begin, Case, Commit, Eval, EvalAsk, Gates, GoldenAsk, Options, Promotion,
    PromotionRunner, PromptError, PromptKey, PromptMetrics, PromptSettings, PromptsHandle, Scanner,
    ShadowAsk, Wish,
};
use crate::tenancy::tests::world::TENANT;

/// Says back what it is asked.
#[derive(Default)]
pub(super) struct Echo {
    asked: Mutex<Vec<String>>,
    /// How long each answer takes.
    pub(super) slow_ms: AtomicU64,
    /// Whether judges wait for ever.
    pub(super) judges_hang: AtomicBool,
}

/// A judge's prompt holds it, and no other one does.
pub(super) const VERDICT: &str = "\"score\"";

impl Echo {
    /// What it was asked so far that holds this.
    pub(super) fn asked(&self, holding: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.contains(holding)).count()
    }
}

#[async_trait]
impl ChatModel for Echo {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatStream, ChatError> {
        let parts = request.messages.iter().flat_map(|message| &message.parts);
        let texts = parts.filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let said = texts.collect::<Vec<_>>().join(" ");
        self.asked.lock().unwrap().push(said.clone());
        match self.slow_ms.load(Ordering::SeqCst) {
            0 => {}
            slow_ms => pause(slow_ms).await,
        }
        if said.contains(VERDICT) && self.judges_hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        ScriptedChat::new(vec![ScriptedChat::words(5, &[&said])]).chat(request).await
    }
}

pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) echo: Arc<Echo>,
    pub(super) prompts: PromptsHandle,
}

pub(super) fn actor() -> Actor {
    let (team, user, name) = (TENANT.to_owned(), Some("ann".to_owned()), "ann".to_owned());
    Actor { team, user, is_whole_team: true, is_operator: true, name }
}

pub(super) fn prompt(name: &str) -> PromptKey {
    PromptKey::new(TENANT, name)
}

impl World {
    pub(super) async fn new() -> World {
        let echo = Arc::new(Echo::default());
        let gateway = Gateway::over(vec![Arc::clone(&echo) as Arc<dyn ChatModel>]).await;
        let prompts = node(&gateway, gateway.gateway.clone());
        World { gateway, echo, prompts }
    }

    /// A version of a prompt that says this.
    pub(super) async fn commit(&self, name: &str, text: &str, variables: &[&str]) -> u64 {
        let variables: Value =
            variables.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let model = json!({"model": CHAT, "max_tokens": 50});
        let document = json!({"text": text, "variables": variables, "model": model});
        let commit = Commit {
            document: serde_json::from_value(document).unwrap(),
            message: String::new(),
            tags: Vec::new(),
            parent: None,
            expected_newest: None,
            overrides: Vec::new(),
        };
        let (info, _) = self.prompts.commit(&actor(), &prompt(name), commit).await.unwrap();
        info.number
    }

    pub(super) async fn put_set(&self, set: &str, cases: Value) {
        let cases: Vec<Case> = serde_json::from_value(cases).unwrap();
        let ask = GoldenAsk::of(cases, None);
        self.prompts.put_golden_set(&actor(), TENANT, set, ask).await.unwrap();
    }

    pub(super) async fn set_gates(&self, name: &str, gates: Value) -> Result<(), PromptError> {
        let gates: Gates = serde_json::from_value(gates).unwrap();
        let options = Options { gates: Some(gates), ..Options::default() };
        self.prompts.set(&actor(), &prompt(name), options).await.map(|_| ())
    }

    /// Begins a promotion that goes to production as far as no gate holds it up.
    pub(super) async fn promote(&self, name: &str, version: u64) -> u64 {
        let (reason, canary_per_mille, is_auto) = ("a test".to_owned(), None, true);
        let begin = Begin { version, reason, canary_per_mille, is_auto };
        self.prompts.begin_promotion(&actor(), &prompt(name), begin).await.unwrap().id
    }

    /// What this node has to do by itself.
    pub(super) fn run(&self) {
        let node = &self.gateway.site.node;
        node.runtime.spawn(self.prompts.clone().follow());
        let runner = PromotionRunner::new(self.prompts.clone(), node.leases.clone());
        node.runtime.spawn(runner.run());
    }

    /// What a user is told by the version that serves.
    pub(super) async fn user(&self, name: &str, who: &str) -> String {
        let (key, wish) = (prompt(name), Wish { request: who.to_owned(), ..Wish::default() });
        let resolved = self.prompts.resolve(&key, &wish).await.unwrap();
        let variables: Map<String, Value> = [("who".to_owned(), json!(who))].into_iter().collect();
        let rendered = resolved.ready.compiled.render(&variables).unwrap();
        let request = ChatRequest::new(CHAT, messages_of(rendered));
        let caller = Caller { tenant: TENANT.to_owned(), ..Caller::default() };
        let shadow = || ShadowAsk {
            request: request.clone(),
            own_messages: 1,
            variables,
            caller: caller.clone(),
        };
        let used = self.prompts.use_of(&key, &resolved, shadow).await.unwrap();
        let ask = Ask {
            id: "request".to_owned(),
            caller: caller.clone(),
            route: "/v1/chat/completions",
            key: "key".to_owned(),
            cache: CacheWish { no_store: true, ..CacheWish::default() },
            trace_parent: None,
            prompt: Some(used),
            request: request.clone(),
        };
        let (said, error) = hear(self.gateway.gateway.chat(ask).await.unwrap()).await;
        assert_eq!(error.map(|error| error.to_string()), None);
        said
    }

    pub(super) async fn promotion(&self, name: &str, id: u64) -> Promotion {
        self.prompts.promotion(&prompt(name), id).await.unwrap()
    }

    pub(super) async fn eval(
        &self,
        name: &str,
        change: impl FnOnce(&mut EvalAsk),
    ) -> Result<Eval, PromptError> {
        self.prompts.run_eval(&prompt(name), ask(change)).await
    }
}

/// An eval of version 2 over the set `greetings`.
pub(super) fn ask(change: impl FnOnce(&mut EvalAsk)) -> EvalAsk {
    let mut ask = EvalAsk {
        version: 2,
        golden_set: "greetings".to_owned(),
        baseline: None,
        limit: None,
        budget_micro_usd: None,
        by: "ann".to_owned(),
        caller: Caller { tenant: TENANT.to_owned(), ..Caller::default() },
        keeps_stopped: true,
        night: None,
    };
    change(&mut ask);
    ask
}

/// Another process over the same store.
pub(super) fn node(world: &Gateway, gateway: GatewayHandle) -> PromptsHandle {
    let metrics = PromptMetrics::register(&mut Registry::default());
    let runtime = world.site.node.runtime.clone();
    let scanner = Scanner::new(&[]).unwrap();
    let settings = PromptSettings::default();
    let prompts =
        PromptsHandle::new(runtime, world.retry(), settings, scanner, Vec::new(), metrics).unwrap();
    prompts.ask_gateway(gateway);
    prompts
}
