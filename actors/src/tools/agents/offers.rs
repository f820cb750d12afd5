//! Which tools a run's model is offered.

use std::collections::BTreeSet;

use headwater_tools::agent::Message;
use headwater_tools::{
    Caller, Decision, Filter, Problem, Tool, ToolReference, decide, tool_called,
};

use crate::tools::handle::ToolsHandle;
use crate::tools::nouns::{ToolCaller, ToolsError};
use crate::tools::records::OfferedRow;

/// Tools that somebody may name for one run.
pub const TOOLS_MAX: usize = 128;
/// Tools that a run is offered which names none: all that its caller may call, or those of them that
/// fit its question best.
pub const OFFERED_MAX: usize = 32;
/// Bytes of the question that tools are searched by.
const QUESTION_BYTES: usize = 2_000;

impl ToolsHandle {
    /// The tools of a run, each as one version from then on.
    ///
    /// # Errors
    /// [`ToolsError::Invalid`] that names the tool.
    pub(super) async fn offered(
        &self,
        caller: &ToolCaller,
        wanted: Option<&[String]>,
        messages: &[Message],
    ) -> Result<Vec<OfferedRow>, ToolsError> {
        match wanted {
            Some(wanted) => self.named(caller, wanted),
            None => Ok(self.found(caller, messages).await),
        }
    }

    fn named(&self, caller: &ToolCaller, wanted: &[String]) -> Result<Vec<OfferedRow>, ToolsError> {
        if wanted.len() > TOOLS_MAX {
            let problem = format!("are {}; name at most {TOOLS_MAX}", wanted.len());
            return Err(Problem::new("tools", problem).into());
        }
        let (served, now_ms) = (self.shared.served(), self.shared.runtime.wall_ms());
        let mut functions = BTreeSet::new();
        let mut offered = Vec::new();
        for (place, text) in wanted.iter().enumerate() {
            let wrong = |problem: String| Problem::new(format!("tools[{place}]"), problem);
            let reference = match text.parse::<ToolReference>() {
                Ok(reference) => reference,
                // What models call.
                Err(problem) => tool_called(text).map_err(|_| wrong(problem.problem))?,
            };
            let tool = served.registry.resolve(&reference, now_ms);
            let tool = tool.map_err(|error| wrong(error.to_string()))?;
            if !self.may_call(caller, tool) {
                let problem = format!(
                    "{} may not call {reference}; ask the team {} for a grant",
                    caller.team, tool.definition.owner
                );
                return Err(wrong(problem).into());
            }
            if !functions.insert(tool.function_name()) {
                return Err(wrong(format!("{text} is named twice; name it once")).into());
            }
            let pin = reference.pin.clone();
            let version = Some(tool.version);
            let reference = ToolReference { name: tool.name().clone(), version, pin };
            offered
                .push(OfferedRow { function: tool.function_name(), tool: reference.to_string() });
        }
        Ok(offered)
    }

    /// A few of all tools that the caller may call.
    async fn found(&self, caller: &ToolCaller, messages: &[Message]) -> Vec<OfferedRow> {
        let (served, now_ms) = (self.shared.served(), self.shared.runtime.wall_ms());
        let visible = |tool: &Tool| self.may_call(caller, tool);
        let page = served.registry.list(&Filter::default(), None, OFFERED_MAX + 1, now_ms, visible);
        let row = |tool: &Tool| OfferedRow {
            function: tool.function_name(),
            tool: ToolReference::to(tool.name().clone(), tool.version).to_string(),
        };
        if page.tools.len() <= OFFERED_MAX {
            return page.tools.into_iter().map(row).collect();
        }
        let question = messages.iter().rev().find_map(|message| match message {
            Message::User { text } => text.get(..text.floor_char_boundary(QUESTION_BYTES)),
            _ => None,
        });
        // Where nothing can be compared the first ones are as good as any.
        let found = match question {
            Some(question) => self.search(caller, question, OFFERED_MAX).await.ok(),
            None => None,
        };
        match found.filter(|found| !found.is_empty()) {
            Some(found) => {
                let found = found.iter().filter(|(tool, _)| self.may_call(caller, tool));
                found.map(|(tool, _)| row(tool)).collect()
            }
            None => page.tools.into_iter().take(OFFERED_MAX).map(row).collect(),
        }
    }

    /// Whether some call of this caller would be let through.
    fn may_call(&self, caller: &ToolCaller, tool: &Tool) -> bool {
        let (served, now_ms) = (self.shared.served(), self.shared.runtime.wall_ms());
        let agent = caller.agent.as_deref().unwrap_or_default();
        let who = Caller { team: &caller.team, agent };
        let of = (&*tool.definition, tool.version);
        matches!(decide(&served.grants, who, of, None, now_ms), Decision::Allowed(_))
    }
}
