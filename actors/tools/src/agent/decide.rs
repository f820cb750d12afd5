//! What an event is worth an entry, and what is to be done next.

use super::fold::RoundState;
use super::{Agent, Effect, Entry, Event, Finish, Notice, trim};

impl Agent {
    pub(super) fn hear(&mut self, event: Event, now_ms: u64, effects: &mut Vec<Effect>) {
        match event {
            Event::Answered { step, text, calls, usage } => {
                if step != self.step || !self.waits_for_model() {
                    return;
                }
                self.is_asking = false;
                let told = text.clone();
                self.note(Entry::Answered { step, text, calls, usage, at_ms: now_ms }, effects);
                if !told.is_empty() {
                    effects.push(Effect::Tell(Notice::Said { step, text: told }));
                }
                self.warn(effects);
            }
            Event::ModelFailed { step, why, is_refusal } => {
                if step == self.step && self.waits_for_model() {
                    let reason = if is_refusal { Finish::Refused } else { Finish::Error };
                    self.finish(reason, why, now_ms, effects);
                }
            }
            Event::CallEnded { call, text, is_error, microdollars } => {
                if !self.is_open(&call) {
                    return;
                }
                self.in_flight.remove(&call);
                let text = self.cut(text);
                let name = self.name_of(&call);
                let notice = Notice::CallEnded { call: call.clone(), name, is_error };
                let at_ms = now_ms;
                let entry = Entry::CallEnded { call, text, is_error, microdollars, at_ms };
                self.note(entry, effects);
                effects.push(Effect::Tell(notice));
                self.warn(effects);
            }
            Event::ApprovalNeeded { call, approval } => {
                self.wait(call, approval, now_ms, effects);
            }
            Event::Decided { call } => {
                let of_round = self.round.iter().find(|one| one.request.id == call);
                if of_round.is_some_and(|one| one.state == RoundState::Waiting) {
                    self.set(&call, RoundState::Open);
                }
            }
            Event::Cancelled { by } => {
                let text = format!("cancelled by {by}");
                self.finish(Finish::Cancelled, text, now_ms, effects);
            }
            Event::Tick => {}
        }
    }

    fn wait(&mut self, call: String, approval: String, now_ms: u64, effects: &mut Vec<Effect>) {
        if !self.is_open(&call) {
            return;
        }
        self.in_flight.remove(&call);
        let of_round = self.round.iter().find(|one| one.request.id == call);
        // After another node took the run over, the call was made again to see.
        if of_round.is_some_and(|one| one.approval.as_deref() == Some(&approval)) {
            return self.set(&call, RoundState::Waiting);
        }
        let notice = Notice::ApprovalNeeded { call: call.clone(), approval: approval.clone() };
        self.note(Entry::ApprovalNeeded { call, approval, at_ms: now_ms }, effects);
        effects.push(Effect::Tell(notice));
    }

    /// What is to be done next, as far as it is not under way.
    pub(super) fn go_on(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.finished.is_some() {
            return;
        }
        if let Some((reason, text)) = self.verdict.clone() {
            return self.finish(reason, text, now_ms, effects);
        }
        if now_ms >= self.deadline_ms {
            let text = format!("took longer than {} ms", self.settings.wall_ms_max);
            return self.finish(Finish::Deadline, text, now_ms, effects);
        }
        if self.waits_for_model() {
            return self.ask(now_ms, effects);
        }
        for call in &self.round {
            let id = &call.request.id;
            if self.in_flight.len() >= self.settings.parallel_max as usize {
                break;
            }
            if call.state != RoundState::Open || self.in_flight.contains(id) {
                continue;
            }
            self.in_flight.insert(id.clone());
            effects.push(Effect::Tell(Notice::Calling {
                call: id.clone(),
                name: call.request.name.clone(),
                arguments: call.request.arguments.clone(),
            }));
            effects.push(Effect::CallTool {
                call: id.clone(),
                name: call.request.name.clone(),
                arguments: call.arguments.clone(),
            });
        }
    }

    fn ask(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.is_asking {
            return;
        }
        let (step, settings) = (self.step, &self.settings);
        if step >= settings.iterations_max {
            let text = format!("{step} answers of the model led to no end");
            return self.finish(Finish::Iterations, text, now_ms, effects);
        }
        if self.spent_microdollars >= settings.microdollars_max {
            let text = format!(
                "{} of {} microdollars are spent",
                self.spent_microdollars, settings.microdollars_max
            );
            return self.finish(Finish::Money, text, now_ms, effects);
        }
        self.is_asking = true;
        effects.push(Effect::Tell(Notice::Asking { step }));
        let messages = trim(&self.messages, self.settings.context_bytes);
        effects.push(Effect::AskModel { step, messages });
    }

    fn finish(&mut self, reason: Finish, text: String, now_ms: u64, effects: &mut Vec<Effect>) {
        self.note(Entry::Finished { reason, text: text.clone(), at_ms: now_ms }, effects);
        for call in std::mem::take(&mut self.in_flight) {
            effects.push(Effect::CancelTool { call });
        }
        self.is_asking = false;
        effects.push(Effect::Tell(Notice::Finished { reason, text: text.clone() }));
        effects.push(Effect::Finish { reason, text });
    }

    /// Takes an entry that follows, and has it written.
    fn note(&mut self, entry: Entry, effects: &mut Vec<Effect>) {
        let index = self.entries;
        if self.apply(&entry).is_ok() {
            effects.push(Effect::Persist { index, entry });
        }
    }

    fn warn(&mut self, effects: &mut Vec<Effect>) {
        if let Some(text) = self.warning.take() {
            effects.push(Effect::Tell(Notice::Warned { text }));
        }
    }

    pub(super) fn name_of(&self, id: &str) -> String {
        let call = self.round.iter().find(|call| call.request.id == id);
        call.map(|call| call.request.name.clone()).unwrap_or_default()
    }

    fn cut(&self, mut text: String) -> String {
        let bytes = text.len();
        let most = self.settings.result_bytes as usize;
        if bytes > most {
            text.truncate(text.floor_char_boundary(most));
            text.push_str(&format!("\n[cut off: {} of {bytes} bytes]", text.len()));
        }
        text
    }
}
