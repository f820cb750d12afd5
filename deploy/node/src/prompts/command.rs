//! `headwater prompts`: prompts as files, their versions, and their way to production, at a running
//! node.

mod diff;
mod document;
mod eval;
mod files;
mod findings;
mod folder;
mod golden;
mod judging;
mod look;
mod many;
mod node;
mod output;
mod promotion;
mod prompt_file;
mod pull;
mod push;
#[cfg(test)]
mod tests;

use std::io::stdout;

use clap::{Args, Subcommand};

use self::diff::DiffFlags;
use self::eval::EvalFlags;
use self::golden::GoldenAction;
use self::judging::{LabelFlags, ProposalAction};
use self::look::RenderFlags;
use self::node::NodeFlags;
use self::output::Output;
use self::promotion::{OverrideFlags, PromoteFlags, PromotionFlags, RollBackFlags};
use self::pull::PullFlags;
use self::push::PushFlags;
use crate::config::Settings;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct ShowFlags {
    /// Print the node's answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PromptAction {
    /// List all prompts, and which versions they serve.
    List {
        #[command(flatten)]
        show: ShowFlags,
    },
    /// Print a prompt: what it serves, and the newest version or another one.
    Show {
        name: String,
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        #[command(flatten)]
        show: ShowFlags,
    },
    /// List a prompt's versions: who made them, when and why.
    Versions {
        name: String,
        #[command(flatten)]
        show: ShowFlags,
    },
    /// List what a prompt served: who changed it, when and why.
    History {
        name: String,
        #[command(flatten)]
        show: ShowFlags,
    },
    /// Write prompts as files that git compares well; overwrites no changes.
    Pull(PullFlags),
    /// Commit files that differ from the versions they come from.
    Push(PushFlags),
    /// Compare files with the newest version, or two versions; fails when they differ.
    Diff(DiffFlags),
    /// Begin a version's way to production, or put one that is ready into production.
    Promote(PromoteFlags),
    /// Serve a version again that was in production.
    Rollback(RollBackFlags),
    /// Ask that a promotion's gates do not count; a second person approves it.
    Override(OverrideFlags),
    /// Approve what somebody else asked for by `override`.
    Approve(PromotionFlags),
    /// End a promotion that nobody wants any more.
    Withdraw(PromotionFlags),
    /// Look after golden sets as files.
    Golden {
        #[command(subcommand)]
        what: GoldenAction,
    },
    /// Ask a model the cases of a golden set, and judge its answers.
    Eval(EvalFlags),
    /// List a prompt's evals, or print one of them.
    Evals {
        name: String,
        id: Option<u64>,
        #[command(flatten)]
        show: ShowFlags,
    },
    /// Say what you think of an answer, beside its judge.
    Label(LabelFlags),
    /// Look after flagged answers that may become golden cases.
    Proposals {
        #[command(subcommand)]
        what: ProposalAction,
    },
    /// Print what a prompt says for these variables.
    Render(RenderFlags),
}

pub(crate) fn run(action: PromptAction, settings: &Settings) -> Result<(), Failure> {
    run_to(&action, settings, &mut Output::new(&mut stdout()))
}

fn run_to(action: &PromptAction, settings: &Settings, out: &mut Output<'_>) -> Result<(), Failure> {
    match action {
        PromptAction::List { show } => look::list_prompts(show, settings, out),
        PromptAction::Show { name, version, show } => {
            look::show(name, *version, show, settings, out)
        }
        PromptAction::Versions { name, show } => look::versions(name, show, settings, out),
        PromptAction::History { name, show } => look::history(name, show, settings, out),
        PromptAction::Pull(flags) => pull::run(flags, settings, out),
        PromptAction::Push(flags) => push::run(flags, settings, out),
        PromptAction::Diff(flags) => diff::run(flags, settings, out),
        PromptAction::Promote(flags) => promotion::promote(flags, settings, out),
        PromptAction::Rollback(flags) => promotion::roll_back(flags, settings, out),
        PromptAction::Override(flags) => promotion::override_gates(flags, settings, out),
        PromptAction::Approve(flags) => promotion::approve(flags, settings, out),
        PromptAction::Withdraw(flags) => promotion::withdraw(flags, settings, out),
        PromptAction::Golden { what } => golden::run(what, settings, out),
        PromptAction::Eval(flags) => eval::run(flags, settings, out),
        PromptAction::Evals { name, id, show } => eval::look(name, *id, show, settings, out),
        PromptAction::Label(flags) => judging::label(flags, settings, out),
        PromptAction::Proposals { what } => judging::proposals(what, settings, out),
        PromptAction::Render(flags) => look::render(flags, settings, out),
    }
}
