//! Nodes that run agents over one store, a model that follows a script, and tools of one backend.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use headwater_backends::Backend;
use headwater_backends::memory::MemoryBackend;
use headwater_gateway::{Alias, GatewayConfig, GatewaySettings, Price, Target};
use headwater_models::chat::double::ScriptedChat;
use headwater_models::chat::{
    ChatError, ChatEvent, ChatModel, ChatRequest, ChatStream, Chunk, Finish, Role, Usage,
};
use headwater_tools::agent::{AgentSettings, Message, Notice};
use headwater_tools::{Definition, idempotency};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::cluster::tests::world::{Node, World as Cluster, within};
use crate::gateway::{Backend as Models, GatewayHandle, GatewayMetrics};
use crate::identity::{Holder, IdentityHandle, IdentityMetrics, IdentitySettings, NewKey};
use crate::tenancy::tests::world::{Setup, Site};
use crate::tools::{
    AgentFollower, AgentsSettings, RunAsk, RunEvent, RunTold, ToolCaller, ToolsHandle,
    ToolsMetrics, ToolsSettings,
};

pub(in crate::tools) const TEAM: &str = "acme";
pub(in crate::tools) const CHAT: &str = "chat";
/// What an answer of 7 tokens of input and 2 of output costs.
pub(in crate::tools) const ANSWER_MICRODOLLARS: u64 = 27;
pub(in crate::tools) const CALL_MICRODOLLARS: u64 = 5;
pub(in crate::tools) const LEASE_MS: u64 = 3_000;

/// What the model does when it is asked.
#[derive(Debug, Clone)]
pub(in crate::tools) enum Turn {
    Says(&'static str),
    /// Functions and their arguments.
    Calls(Vec<(&'static str, String)>),
    /// It never answers.
    Hangs,
    /// It says a word and breaks off.
    Breaks,
    Refuses,
}

/// A call of these functions with `query`.
pub(in crate::tools) fn calls(all: &[(&'static str, &str)]) -> Turn {
    let call = |(name, query): &(&'static str, &str)| (*name, json!({"query": query}).to_string());
    Turn::Calls(all.iter().map(call).collect())
}

/// Takes the turn of the answers that it has read, so that a question which is asked again gets the
/// same answer; after the last turn, that one. A turn that breaks off is over.
#[derive(Default)]
pub(in crate::tools) struct Talker {
    turns: Mutex<Vec<Turn>>,
    broken: AtomicUsize,
    asked: Mutex<Vec<ChatRequest>>,
}

impl Talker {
    pub(in crate::tools) fn asked(&self) -> Vec<ChatRequest> {
        self.asked.lock().unwrap().clone()
    }

    pub(in crate::tools) fn then(&self, turns: &[Turn]) {
        *self.turns.lock().unwrap() = turns.to_vec();
        self.broken.store(0, Ordering::SeqCst);
    }

    fn turn(&self, request: &ChatRequest) -> Turn {
        let answers = request.messages.iter().filter(|one| one.role == Role::Assistant).count();
        let place = answers + self.broken.load(Ordering::SeqCst);
        let turns = self.turns.lock().unwrap();
        turns.get(place).or(turns.last()).cloned().unwrap()
    }
}

#[async_trait]
impl ChatModel for Talker {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatStream, ChatError> {
        self.asked.lock().unwrap().push(request.clone());
        let mut events = vec![ChatEvent::Started { id: None, model: None }];
        let mut reason = Finish::Stop;
        match self.turn(request) {
            Turn::Hangs => pending().await,
            Turn::Breaks => {
                self.broken.fetch_add(1, Ordering::SeqCst);
                let text = ChatEvent::Text { choice: 0, text: "but".to_owned() };
                let broken = ChatError::Cut { reason: "the line is dead".to_owned() };
                let script = vec![Ok(Chunk::of(vec![text])), Err(broken)];
                return ScriptedChat::new(vec![Ok(script)]).chat(request).await;
            }
            Turn::Refuses => {
                events.push(ChatEvent::Refusal { choice: 0, text: "I will not".to_owned() });
            }
            Turn::Says(text) => {
                events.push(ChatEvent::Text { choice: 0, text: text.to_owned() });
            }
            Turn::Calls(all) => {
                reason = Finish::ToolCalls;
                for (index, (name, arguments)) in (0..).zip(all) {
                    let (id, name) = (Some(format!("m{index}")), Some(name.to_owned()));
                    events.push(ChatEvent::ToolCall { choice: 0, index, id, name, arguments });
                }
            }
        }
        events.push(ChatEvent::Finished { choice: 0, reason, stop: None });
        events.push(ChatEvent::Usage(Usage { input: 7, output: 2, ..Usage::default() }));
        ScriptedChat::new(vec![Ok(vec![Ok(Chunk::of(events))])]).chat(request).await
    }
}

pub(in crate::tools) struct World {
    pub(in crate::tools) cluster: Cluster,
    /// Of the quotas; it never dies.
    pub(in crate::tools) site: Site,
    pub(in crate::tools) model: Arc<Talker>,
    pub(in crate::tools) backend: Arc<MemoryBackend>,
    gateway: GatewayHandle,
}

/// A node that runs agents.
pub(in crate::tools) struct Running {
    pub(in crate::tools) node: Node,
    pub(in crate::tools) tools: ToolsHandle,
}

pub(in crate::tools) fn new_key() -> NewKey {
    let team = TEAM.to_owned();
    let holder = Holder {
        team,
        project: None,
        user: None,
        models: vec!["*".to_owned()],
        tier: "standard".to_owned(),
    };
    NewKey { holder, note: String::new(), expires_ms: None }
}

pub(in crate::tools) fn caller(user: &str) -> ToolCaller {
    ToolCaller {
        team: TEAM.to_owned(),
        project: None,
        user: Some(user.to_owned()),
        agent: None,
        key_id: None,
        subject: user.to_owned(),
        is_operator: false,
    }
}

pub(in crate::tools) fn definition(name: &str, kind: &str) -> Value {
    json!({
        "name": name,
        "description": format!("Does what {name} says"),
        "owner": TEAM,
        "kind": kind,
        "cost_microdollars": CALL_MICRODOLLARS,
        "input": {
            "type": "object",
            "properties": {"query": {"type": "string"}},
            "required": ["query"],
            "additionalProperties": false,
        },
        "backend": {"http": {"url": "https://tools.example.org/do", "method": "POST"}},
    })
}

pub(in crate::tools) fn ask(text: &str) -> RunAsk {
    RunAsk {
        id: None,
        model: CHAT.to_owned(),
        messages: vec![Message::User { text: text.to_owned() }],
        tools: None,
        session: None,
        settings: AgentSettings::default(),
        trace_parent: None,
    }
}

impl World {
    /// The tools `find`, which reads, and `pay` and `order`, which change something; `order` knows
    /// ids. `delete` waits for an approval.
    pub(in crate::tools) async fn new(turns: &[Turn]) -> World {
        let cluster = Cluster::new();
        let site = Site::start(&cluster, "quotas", Setup::default()).await;
        let model = Arc::new(Talker::default());
        model.then(turns);
        let target = Target::of("b0", "m", 1, Price::of(1_000_000, 10_000_000));
        let alias = Alias { output_tokens: 100, ..Alias::of(CHAT, vec![target]) };
        let config = GatewayConfig { aliases: vec![alias], ..GatewayConfig::default() };
        let gateway = GatewayHandle::new(
            site.node.runtime.clone(),
            site.handle.clone(),
            vec![Models { name: "b0".to_owned(), protocol: None, model: Arc::clone(&model) as _ }],
            config,
            BTreeSet::new(),
            GatewaySettings::default(),
            GatewayMetrics::register(&mut Registry::default()),
        )
        .unwrap();
        let backend = Arc::new(MemoryBackend::new().knows_calls());
        let world = World { cluster, site, model, backend, gateway };
        let first = world.node("first").await;
        let mut order = definition("order", "stateful");
        order["idempotent"] = true.into();
        let mut delete = definition("delete", "stateful");
        delete["confirmation"] = "always".into();
        for one in [definition("find", "read_only"), definition("pay", "stateful"), order, delete] {
            first.tools.publish(&caller("anna"), &one).await.unwrap();
        }
        world
    }

    /// The keys of a node.
    pub(in crate::tools) fn keys(&self, one: &Running) -> IdentityHandle {
        let (runtime, retry) = (one.node.runtime.clone(), self.cluster.retry(1_000));
        let metrics = IdentityMetrics::register(&mut Registry::default());
        let bits = Arc::new(|| Some([7; 32]));
        let keys =
            IdentityHandle::new(runtime.clone(), retry, bits, IdentitySettings::default(), metrics);
        runtime.spawn(keys.clone().run());
        keys
    }

    /// A node without a follower; it knows all tools that there are.
    pub(in crate::tools) async fn node(&self, name: &str) -> Running {
        let node = self.cluster.node(name);
        let agents = AgentsSettings { lease_ms: LEASE_MS, runs_max: 3, team_runs_max: 2 };
        let idempotency =
            idempotency::Settings { lease_ms: 2_000, ..idempotency::Settings::default() };
        let settings = ToolsSettings { agents, idempotency, ..ToolsSettings::default() };
        let backend = Arc::clone(&self.backend);
        let find = move |_: &Definition| Ok(Arc::clone(&backend) as Arc<dyn Backend>);
        let metrics = ToolsMetrics::register(&mut Registry::default());
        let tools = ToolsHandle::new(
            node.runtime.clone(),
            self.cluster.retry(1_000),
            self.site.handle.clone(),
            settings,
            Arc::new(find),
            metrics,
        );
        tools.ask_through(self.gateway.clone());
        tools.refresh().await.unwrap();
        Running { node, tools }
    }
}

impl Running {
    /// From now on it takes runs over.
    pub(in crate::tools) fn follow(&self) {
        self.node.runtime.spawn(AgentFollower::new(self.tools.clone()).run());
    }

    pub(in crate::tools) async fn begin(&self, ask: RunAsk) -> RunTold {
        within(self.tools.begin_run(&caller("anna"), ask)).await.unwrap()
    }

    /// The run once it has ended.
    pub(in crate::tools) async fn end(&self, id: &str) -> RunTold {
        let told = within(self.tools.ended_run(&caller("anna"), id, 3_600_000)).await.unwrap();
        assert!(told.finish.is_some(), "{told:?}");
        told
    }

    /// All events of a run that has ended, or those up to an entry.
    pub(in crate::tools) async fn events(&self, id: &str, until: u64) -> Vec<RunEvent> {
        let mut events = within(self.tools.run_events(&caller("anna"), id, None)).await.unwrap();
        let mut all = Vec::new();
        while let Some(event) = within(events.next()).await {
            let event = event.unwrap();
            let is_there = event.index >= until;
            all.push(event);
            if is_there {
                break;
            }
        }
        all
    }

    /// What the run's tools answered.
    pub(in crate::tools) async fn results(&self, id: &str) -> Vec<String> {
        let messages = within(self.tools.run_messages(&caller("anna"), id)).await.unwrap();
        let result = |message| match message {
            Message::Tool { text, .. } => Some(text),
            _ => None,
        };
        messages.into_iter().filter_map(result).collect()
    }
}

pub(in crate::tools) fn word(event: &RunEvent) -> &'static str {
    match event.notice {
        Notice::Began { .. } => "began",
        Notice::Recovered { .. } => "recovered",
        Notice::Asking { .. } => "asking",
        Notice::Said { .. } => "said",
        Notice::Calling { .. } => "calling",
        Notice::CallEnded { .. } => "call_ended",
        Notice::ApprovalNeeded { .. } => "approval_needed",
        Notice::Warned { .. } => "warned",
        Notice::Finished { .. } => "finished",
    }
}
