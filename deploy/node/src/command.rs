//! The commands and their flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::audit::command::AuditAction;
use crate::cluster::command::ClusterAction;
use crate::config::{self, ConfigSource, Settings};
use crate::failure::Failure;
use crate::gateway::command::GatewayAction;
use crate::key::KeyAction;
use crate::prompts::command::PromptAction;
use crate::redaction::RedactionAction;
use crate::sandbox::command::SandboxAction;
use crate::tenant::TenantAction;
use crate::tools::command::ToolsAction;
use crate::{
    audit, bench, cluster, doctor, gateway, ingest, issuers, key, logging, plan, prompts,
    redaction, sandbox, server, simulate, tenant, token, tools,
};

/// Headwater: the upstream platform for organisations that run language models.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, after_help = EXIT_CODES)]
pub struct Command {
    #[command(flatten)]
    config: ConfigFlags,
    #[command(subcommand)]
    action: Action,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 something broke or a check did not hold; 2 wrong \
usage or settings; 3 the address cannot be bound; 4 the store or a model cannot be opened; 5 \
requests were still running when the drain's time was up; 6 somebody else was faster.";

#[derive(Debug, Args)]
struct ConfigFlags {
    /// Settings file (TOML); defaults without it.
    #[arg(long, short, global = true, env = "HEADWATER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment: --set server.threads=2
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Serve until SIGTERM or Ctrl-C, then finish what runs.
    Serve {
        /// Address and port; port 0 takes a free one.
        #[arg(long)]
        listen: Option<String>,
        /// Where the store, the weights and the keys live.
        #[arg(long)]
        data_dir: Option<String>,
    },
    /// Run the deterministic simulation over a range of seeds.
    Simulate(simulate::SimulateFlags),
    /// Measure this machine.
    Bench {
        #[command(subcommand)]
        what: bench::BenchAction,
    },
    /// Size a fleet: replicas, storage and cost.
    Plan {
        #[command(subcommand)]
        what: plan::PlanAction,
    },
    /// Make certificates, or look at the cluster.
    Cluster {
        #[command(subcommand)]
        what: ClusterAction,
    },
    /// Look at a tenant's limits and usage, or change its limits.
    Tenant {
        #[command(subcommand)]
        what: TenantAction,
    },
    /// Measure what is found of personal data, or train what finds names.
    Redaction {
        #[command(subcommand)]
        what: RedactionAction,
    },
    /// Look at what a cluster's gateways serve, or change it.
    Gateway {
        #[command(subcommand)]
        what: GatewayAction,
    },
    /// Look at prompts, keep them as files, commit, promote and measure them, at a running node.
    Prompts {
        #[command(subcommand)]
        what: PromptAction,
    },
    /// Publish tools at a running node.
    Tools {
        #[command(subcommand)]
        what: ToolsAction,
    },
    /// Make images for sandboxes, and see what holds a guest on this machine.
    Sandbox {
        #[command(subcommand)]
        what: SandboxAction,
    },
    /// Make, list, rotate and revoke virtual keys at a running node.
    Keys {
        #[command(subcommand)]
        what: KeyAction,
    },
    /// Ask the audit of a running node in SQL, or for what was spent.
    Audit {
        #[command(subcommand)]
        what: AuditAction,
    },
    /// Send documents to a running node, which embeds them into a collection.
    Ingest(ingest::IngestFlags),
    /// Make a tenant's token, or the node's key.
    Token(token::TokenFlags),
    /// Look at the settings.
    Config {
        #[command(subcommand)]
        what: ConfigAction,
    },
    /// Tell what this machine offers and what to do about what is missing.
    Doctor,
}

#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Read the settings and say whether a node would start with them.
    Check,
}

/// Runs one command to its end.
///
/// # Errors
/// A failure with its exit code.
pub fn run(command: Command) -> Result<(), Failure> {
    let Command { config, action } = command;
    if !matches!(action, Action::Serve { .. }) {
        end_quietly_with_the_reader();
    }
    let mut flags = config.set;
    if let Action::Serve { listen, data_dir } = &action {
        flags.extend(listen.iter().map(|value| format!("server.listen={value}")));
        flags.extend(data_dir.iter().map(|value| format!("data_dir={value}")));
    }
    let environment = ConfigSource::environment();
    let source = ConfigSource { file: config.config, environment, flags };
    if let Action::Simulate(flags) = action {
        return simulate::run(&flags);
    }
    let settings = config::load(&source)?;
    match action {
        Action::Serve { .. } => {
            logging::start(&settings.log)?;
            server::serve(settings)
        }
        Action::Bench { what } => bench::run(what, &settings, &source),
        Action::Plan { what } => plan::run(what, &settings, &source),
        Action::Cluster { what } => cluster::command::run(what, &settings),
        Action::Tenant { what } => tenant::run(what, &settings),
        Action::Redaction { what } => redaction::run(&what),
        Action::Gateway { what } => gateway::command::run(what, &settings),
        Action::Prompts { what } => prompts::command::run(what, &settings),
        Action::Tools { what } => tools::command::run(&what, &settings),
        Action::Sandbox { what } => sandbox::command::run(what, &settings),
        Action::Keys { what } => key::run(what, &settings),
        Action::Audit { what } => audit::command::run(what, &settings),
        Action::Ingest(flags) => ingest::run(&flags, &settings),
        Action::Token(flags) => token::run(&flags, &settings),
        Action::Config { what: ConfigAction::Check } => check(&source, &settings),
        Action::Doctor => doctor::run(&settings),
        Action::Simulate(_) => Ok(()),
    }
}

/// Lets `headwater simulate --trace | head` end as other programs do; Rust ignores SIGPIPE,
/// which turns the closed pipe into a panic. A server must not end so.
fn end_quietly_with_the_reader() {
    // SAFETY: sets a signal's default action before any thread is started.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

fn check(source: &ConfigSource, settings: &Settings) -> Result<(), Failure> {
    token::read_key(settings)?;
    issuers::read(settings)?;
    let said = match &source.file {
        Some(file) => file.display().to_string(),
        None => "no file, defaults".to_owned(),
    };
    println!("settings are good ({said})");
    println!("  listen    {}", settings.server.listen);
    println!("  data_dir  {}", config::data_dir(settings)?.display());
    println!("  storage   {:?}", settings.storage.engine);
    for issuer in &settings.auth.issuers {
        println!("  issuer    {} for {}", issuer.issuer, issuer.teams.join(", "));
    }
    for model in &settings.embedding.models {
        let (replicas, threads) = (model.replica_count(), model.thread_count());
        println!("  model     {} ({replicas} replicas × {threads} threads)", model.name);
    }
    Ok(())
}
