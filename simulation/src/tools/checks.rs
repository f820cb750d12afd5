//! After the world has healed: every call has ended, and what was done is what was charged.

use std::collections::{BTreeMap, BTreeSet};

use headwater_actors::tenancy::ledger_rows;
use headwater_actors::tools::{Ending, Refusal, WaitingState};
use headwater_storage::retry::Retry;

use super::agent;
use super::book::Ask;
use super::catalog::{CATALOG, Entry, Nature, TEAM};
use super::{ASK_AFTER_MS, CHECK_MS, HEAL_MS, Stage};
use crate::shared_store::SharedStore;

/// A call that was cancelled is made no more after so long, in ms.
pub(super) const STOPS_MS: u64 = 30_000;
/// Longest wait for one answer, in ms.
const PATIENCE_MS: u64 = 15_000;
/// Longest pause between two questions, in ms.
const PAUSE_MS: u64 = 1_000;
/// Rows in one read of a ledger.
const PAGE: usize = 50;

/// Heals the world, asks after every call, and checks everything.
pub(super) async fn check(stage: Stage, store: SharedStore) {
    let Stage { world, book, nodes, .. } = &stage;
    world.sleep(HEAL_MS).await;
    world.note("the world heals");
    store.heal();
    nodes.iter().for_each(super::Node::heal);
    world.sleep(ASK_AFTER_MS - HEAL_MS).await;
    let ended = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let asks = book.asks();
    for ask in asks.iter().filter(|ask| ask.tool.nature != Nature::Reads) {
        let (stage, ask, ended) = (stage.clone(), ask.clone(), ended.clone());
        world.spawn(async move {
            match ask.is_async {
                true => ends_later(&stage, &ask).await,
                false => ends(&stage, &ask).await,
            }
            ended.lock().unwrap_or_else(|held| held.into_inner()).insert(ask.id);
        });
    }
    world.sleep(CHECK_MS - ASK_AFTER_MS).await;
    let ended = ended.lock().unwrap_or_else(|held| held.into_inner()).clone();
    for ask in asks.iter().filter(|ask| ask.tool.nature != Nature::Reads) {
        if !ended.contains(&ask.id) {
            world.violated("a_call_ends", format_args!("{ask:?} has not"));
        }
    }
    for (place, id) in book.open() {
        world.violated("a_call_ends", format_args!("{id} is still under way on {place:?}"));
    }
    sessions(&stage, &asks);
    charges(&stage, &asks).await;
    world.count("everything checked");
}

/// Asks for a call until it has ended, and compares the end with what was told before.
async fn ends(stage: &Stage, ask: &Ask) {
    loop {
        let ending = agent::call(stage, ask, PATIENCE_MS).await;
        let pause_ms = match &ending {
            Some(Err(refusal)) => refusal.retry_after_ms(),
            Some(Ok(_)) => None,
            None => Some(PAUSE_MS),
        };
        let waits = matches!(&ending, Some(Err(Refusal::ApprovalNeeded { .. })));
        match (pause_ms, ending) {
            (None, Some(ending)) if !waits => return keeps(stage, ask, &ending),
            (pause_ms, _) => {
                let pause_ms = pause_ms.unwrap_or(PAUSE_MS).clamp(1, PAUSE_MS);
                stage.world.sleep(pause_ms).await;
            }
        }
    }
}

/// What was answered once is answered again, unless the process that did has died before it had
/// written it down.
fn keeps(stage: &Stage, ask: &Ask, ending: &Ending) {
    let told = stage.book.told(&ask.id);
    let is_lost = told.by.iter().any(|place| stage.book.is_dead(place));
    if let (Some(answer), Err(refusal), false) = (&told.answer, ending, is_lost) {
        let seen = format!("{ask:?}: {answer}, then {refusal}");
        stage.world.violated("an_answered_call_keeps_its_answer", seen);
    }
    if let Err(Refusal::NotPermitted { .. } | Refusal::UnknownTool { .. }) = ending {
        let seen = format!("{ask:?}: {ending:?}");
        stage.world.violated("every_node_follows_the_registry", seen);
    }
}

/// Waits until an asynchronous call has ended.
async fn ends_later(stage: &Stage, ask: &Ask) {
    while !agent::begin(stage, ask).await {
        stage.world.sleep(PAUSE_MS).await;
    }
    let told = loop {
        match agent::look(stage, ask).await {
            Some(told) if told.state.is_end() => break told,
            _ => stage.world.sleep(PAUSE_MS).await,
        }
    };
    let (world, known) = (&stage.world, stage.book.told(&ask.id));
    let code = told.error.as_ref().map(|(code, ..)| code.as_str());
    world.note(format_args!("{} is {}: {code:?}", ask.id, told.state.name()));
    let is_cancelled = told.state == WaitingState::Cancelled && code == Some("cancelled");
    if known.cancelled_ms.is_some() && !(is_cancelled && told.result.is_none()) {
        world.violated("a_cancelled_call_says_so", format_args!("{ask:?} is {told:?}"));
    }
    let answer = told.result.as_ref().map(|result| &result.content);
    match (told.state, answer, &known.answer) {
        (WaitingState::Done, None, _) => {
            world.violated("a_call_ends", format_args!("{ask:?} is done without an answer"));
        }
        (WaitingState::Done, Some(answer), Some(other)) if answer != other => {
            let seen = format!("{ask:?}: {answer} and {other}");
            world.violated("an_answered_call_keeps_its_answer", seen);
        }
        _ => {}
    }
}

/// Whether a call counts: it was answered, or the tool did it and cannot be asked again.
fn counts(stage: &Stage, ask: &Ask) -> bool {
    let is_done = ask.tool.nature == Nature::Forgets && stage.book.done(&ask.id).effects > 0;
    is_done || stage.book.told(&ask.id).answer.is_some()
}

fn sessions(stage: &Stage, asks: &[Ask]) {
    for budget in stage.book.sessions() {
        let own = |ask: &&Ask| ask.session.as_deref() == Some(budget.session.as_str());
        let made: Vec<&Ask> = asks.iter().filter(own).filter(|ask| counts(stage, ask)).collect();
        let money: u64 = made.iter().map(|ask| ask.tool.price).sum();
        let ids: Vec<&str> = made.iter().map(|ask| ask.id.as_str()).collect();
        if made.len() as u64 > budget.calls {
            let seen = format!("{} of {}: {ids:?}", made.len(), budget.calls);
            stage.world.violated("a_session_stays_within_its_calls", seen);
        }
        if money > budget.money {
            let seen = format!("{money} of {}: {ids:?}", budget.money);
            stage.world.violated("a_session_stays_within_its_money", seen);
        }
    }
}

/// The ledgers of all processes together hold each call once that was done, and none that was not;
/// a process that died may not have written down what it did last.
async fn charges(stage: &Stage, asks: &[Ask]) {
    let (world, book) = (&stage.world, &stage.book);
    let mut charged: BTreeMap<String, u64> = BTreeMap::new();
    for books in book.books() {
        for (model, money) in ledger(stage, &books).await {
            world.note(format_args!("{money} for {model}"));
            let tool = model.strip_prefix("tool:").and_then(Entry::named);
            match tool {
                Some(tool) if tool.price == money => *charged.entry(model).or_default() += 1,
                Some(_) if money == 0 => {}
                _ => {
                    let seen = format!("{money} for {model}");
                    world.violated("what_is_charged_was_done", seen);
                }
            }
        }
    }
    for tool in CATALOG {
        let (mut least, mut most) = (0, 0);
        for ask in asks.iter().filter(|ask| ask.tool == tool) {
            let (done, told) = (book.done(&ask.id), book.told(&ask.id));
            most += match tool.nature {
                Nature::Reads => u64::from(!done.reached.is_empty()) * told.asked,
                Nature::KnowsIds | Nature::Forgets => u64::from(!done.reached.is_empty()),
            };
            let all_live = !done.reached.iter().any(|place| book.is_dead(place));
            least += u64::from(all_live && counts(stage, ask));
        }
        let charged = charged.get(&format!("tool:{}", tool.name)).copied().unwrap_or_default();
        world.note(format_args!("{}: {charged} charged of {least} to {most}", tool.name));
        if !(least..=most).contains(&charged) {
            let seen = format!("{}: {charged} and not {least} to {most}", tool.name);
            world.violated("what_is_charged_was_done", seen);
        }
    }
}

/// What for and how much each row of a ledger is.
async fn ledger(stage: &Stage, books: &Retry) -> Vec<(String, u64)> {
    let (mut rows, mut last) = (Vec::new(), None);
    loop {
        match ledger_rows(books, TEAM, last, PAGE).await {
            Ok(page) => {
                let Some(end) = page.last() else { return rows };
                last = Some(end.entry.id.0);
                rows.extend(
                    page.into_iter().map(|row| (row.entry.model, row.entry.used.micro_usd)),
                );
            }
            Err(error) => {
                stage.world.violated("the_ledger_can_be_read", error);
                return rows;
            }
        }
    }
}
