//! The model of the agents: it draws what it says, is late, fails, and calls what there is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use headwater_actors::gateway::{
    Alias, Backend, ChatError, ChatEvent, ChatModel, ChatRequest, ChatStream, Chunk, Finish,
    GatewayConfig, GatewayHandle, GatewayMetrics, GatewaySettings, Part, Price, RetrySettings,
    Role, Target, Usage,
};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::TenancyHandle;
use headwater_actors::tools::{AgentFollower, ToolsHandle};
use headwater_models::chat::double::ScriptedChat;
use prometheus_client::registry::Registry;
use serde_json::json;

use super::book::{Runs, Wanted};
use super::tool_called;
use crate::tools::HEAL_MS;
use crate::tools::book::{Ask, Book, Place};
use crate::tools::catalog::Nature;
use crate::world::World;

pub(super) const CHAT: &str = "chat";
/// In millionths of a dollar for a million tokens of input and of output.
const PRICE: Price = Price::of(1_000_000, 10_000_000);
/// Tokens of every question, and of every answer.
const INPUT: u64 = 7;
const OUTPUT: u64 = 2;
/// The longest that the model is silent before its adapter gives up, in ms.
const SILENT_MS: u64 = 3_000;
/// The latest answer, in ms.
const LATE_MS: u64 = 9_000;
/// How a run's question begins; its id follows.
const QUESTION: &str = "do what is to be done in ";

/// What a run asks its model.
pub(super) fn question(id: &str) -> String {
    format!("{QUESTION}{id}")
}

/// What may go wrong, in percent of the questions, and from `wrong` on of the calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mood {
    broken: u64,
    silent: u64,
    late: u64,
    cut: u64,
    refuses: u64,
    says_nothing: u64,
    answers: u64,
    wrong: u64,
    garbled: u64,
    misfits: u64,
}

impl Mood {
    pub(super) fn draw(world: &World) -> Mood {
        let some = |most: u64| match world.percent(50) {
            true => world.between(1, most),
            false => 0,
        };
        Mood {
            broken: some(30),
            silent: some(15),
            late: some(30),
            cut: some(20),
            refuses: some(8),
            says_nothing: some(8),
            answers: world.between(5, 40),
            wrong: some(20),
            garbled: some(15),
            misfits: some(15),
        }
    }
}

/// Gives a process its models, and has it carry runs on.
pub(in crate::tools) fn serve(
    runtime: &Runtime,
    tools: &ToolsHandle,
    tenancy: TenancyHandle,
    runs: &Runs,
    book: &Book,
    place: Place,
) {
    let (world, runs, book) = (runs.world.clone(), runs.clone(), book.clone());
    let model = Arc::new(Model { world: world.clone(), runs, book, place });
    let alias =
        Alias { output_tokens: 100, ..Alias::of(CHAT, vec![Target::of("b0", CHAT, 1, PRICE)]) };
    let retry = RetrySettings { tries: 2, budget_ms: 1_000, ..RetrySettings::default() };
    let gateway = GatewayHandle::new(
        runtime.clone(),
        tenancy,
        vec![Backend { name: "b0".to_owned(), protocol: None, model }],
        GatewayConfig { aliases: vec![alias], ..GatewayConfig::default() },
        BTreeSet::new(),
        GatewaySettings { retry, ..GatewaySettings::default() },
        GatewayMetrics::register(&mut Registry::default()),
    );
    match gateway {
        Ok(gateway) => tools.ask_through(gateway),
        Err(problem) => world.violated("the_drawn_configuration_is_good", problem),
    }
    let tools = tools.clone();
    runtime.spawn(async move {
        // As a node does it: it goes on when it does not know its tools yet.
        if let Err(error) = tools.refresh().await {
            world.note(format_args!("{place:?} does not know its tools yet: {error}"));
        }
        AgentFollower::new(tools).run().await;
    });
}

/// See the module.
struct Model {
    world: World,
    runs: Runs,
    book: Book,
    /// The process that asks it.
    place: Place,
}

#[async_trait]
impl ChatModel for Model {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatStream, ChatError> {
        let (world, mood) = (&self.world, self.runs.options.mood);
        let step = request.messages.iter().filter(|one| one.role == Role::Assistant).count() as u64;
        let Some(wanted) = self.wanted(request) else {
            let message = "no run of this name".to_owned();
            return Err(ChatError::Refused { status: 400, code: None, message });
        };
        self.runs.asked(self.place, &wanted.id, step, &self.book);
        world.sleep(world.between(1, 60)).await;
        if self.fails(mood.broken, "model broken") {
            return Err(ChatError::Unavailable { status: Some(500), reason: "broken".to_owned() });
        }
        if self.fails(mood.silent, "model silent") {
            world.sleep(SILENT_MS).await;
            return Err(ChatError::TimedOut { after_ms: SILENT_MS });
        }
        if self.fails(mood.late, "model late") {
            world.sleep(world.between(500, LATE_MS)).await;
        }
        let mut chunks = vec![Ok(Chunk::of(vec![ChatEvent::Started { id: None, model: None }]))];
        if self.fails(mood.cut, "model broke off") {
            let text = ChatEvent::Text { choice: 0, text: "but".to_owned() };
            chunks.push(Ok(Chunk::of(vec![text])));
            chunks.push(Err(ChatError::Cut { reason: "the line is dead".to_owned() }));
        } else {
            chunks.push(Ok(Chunk::of(self.says(&wanted, request, step))));
        }
        ScriptedChat::new(vec![Ok(chunks)]).chat(request).await
    }
}

impl Model {
    /// The run whose question this is.
    fn wanted(&self, request: &ChatRequest) -> Option<Wanted> {
        let Some(Part::Text(text)) = request.messages.first()?.parts.first() else { return None };
        Some(self.runs.run(text.strip_prefix(QUESTION)?)?.wanted)
    }

    fn does(&self, share: u64, what: &'static str) -> bool {
        let does = self.world.percent(share);
        if does {
            self.world.count(what);
        }
        does
    }

    /// As long as there is trouble.
    fn fails(&self, share: u64, what: &'static str) -> bool {
        self.world.now_ms() < HEAL_MS && self.does(share, what)
    }

    /// A whole answer; asked again, the model says something else.
    fn says(&self, wanted: &Wanted, request: &ChatRequest, step: u64) -> Vec<ChatEvent> {
        let (world, mood) = (&self.world, self.runs.options.mood);
        let text = |text: String| ChatEvent::Text { choice: 0, text };
        let mut events = Vec::new();
        let mut reason = Finish::Stop;
        let own = format!("{} of step {step}", world.between(1, 1_000_000));
        if !wanted.is_stuck && self.does(mood.refuses, "model refused") {
            events.push(ChatEvent::Refusal { choice: 0, text: "I will not".to_owned() });
        } else if !wanted.is_stuck && self.does(mood.says_nothing, "model said nothing") {
            events.push(text(" ".to_owned()));
        } else if request.tools.is_empty() || (!wanted.is_stuck && world.percent(mood.answers)) {
            events.push(text(own));
        } else {
            reason = Finish::ToolCalls;
            if world.percent(50) {
                events.push(text(own));
            }
            let count = if wanted.is_stuck { 1 } else { world.between(1, 4) as u32 };
            if count > 1 {
                world.count("model asked for several calls at once");
            }
            events.extend((0..count).map(|index| {
                let (name, arguments) = self.call(wanted, request, step, index);
                let (id, name) = (Some(format!("m{index}")), Some(name));
                ChatEvent::ToolCall { choice: 0, index, id, name, arguments }
            }));
        }
        events.push(ChatEvent::Finished { choice: 0, reason, stop: None });
        let usage = Usage { input: INPUT, output: OUTPUT, ..Usage::default() };
        events.push(ChatEvent::Usage(usage));
        events
    }

    /// A function, and the arguments that it is called with.
    fn call(
        &self,
        wanted: &Wanted,
        request: &ChatRequest,
        step: u64,
        index: u32,
    ) -> (String, String) {
        let (world, mood) = (&self.world, self.runs.options.mood);
        let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
        let some = names.get(world.between(0, names.len().max(1) as u64 - 1) as usize);
        let reads = |name: &&&str| tool_called(name).is_some_and(|one| one.nature == Nature::Reads);
        let same = names.iter().find(reads).filter(|_| wanted.is_stuck);
        let name = same.or(some).copied().unwrap_or_default().to_owned();
        if !wanted.is_stuck {
            if self.does(mood.wrong, "model asked for unknown tools") {
                return ("fly_v1".to_owned(), json!({"n": 1}).to_string());
            }
            if self.does(mood.garbled, "model asked for garbled arguments") {
                return (name, "{\"n\": ".to_owned());
            }
            if self.does(mood.misfits, "model asked for arguments that do not fit") {
                return (name, json!({"n": "one"}).to_string());
            }
        }
        let number = match (wanted.is_stuck, world.percent(20)) {
            (true, _) => 1,
            (false, true) => world.between(1, 2),
            (false, false) => world.between(1, 1_000_000),
        };
        if let Some(tool) = tool_called(&name) {
            let id = format!("{}.{step}.{index}", wanted.id);
            self.book.add(Ask { id, tool, number, session: None, is_async: false });
        }
        (name, json!({"n": number}).to_string())
    }
}
