//! `headwater gateway`: what the gateways of a cluster serve, at a running node.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use headwater_actors::gateway::Moment;
use serde_json::{Value, json};

use super::what_if::{self, WhatIfFlags};
use crate::config::Settings;
use crate::failure::Failure;
use crate::operator::{OperatorFlags, ask};

const CONFIG: &str = "/v1/gateway/config";

#[derive(Debug, Subcommand)]
pub(crate) enum GatewayAction {
    /// Print what is served, or an old version of it, as JSON.
    Show {
        version: Option<u64>,
        #[command(flatten)]
        operator: OperatorFlags,
    },
    /// List the newest versions: who made them, when and why.
    Versions {
        #[command(flatten)]
        operator: OperatorFlags,
    },
    /// Say whether a file could be served; changes nothing.
    Check {
        /// JSON as `show` prints it, or TOML as `[[gateway.models]]` in the settings; `-` reads
        /// standard input.
        file: PathBuf,
        #[command(flatten)]
        operator: OperatorFlags,
    },
    /// Serve a file from now on, on every node.
    Apply {
        /// JSON as `show` prints it, or TOML as `[[gateway.models]]` in the settings; `-` reads
        /// standard input.
        file: PathBuf,
        #[command(flatten)]
        change: ChangeFlags,
        #[command(flatten)]
        operator: OperatorFlags,
    },
    /// Tell what past requests would have cost under a file's prices and weights.
    WhatIf(WhatIfFlags),
    /// Serve an old version again: the one before without --to.
    Rollback {
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
        #[command(flatten)]
        change: ChangeFlags,
        #[command(flatten)]
        operator: OperatorFlags,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ChangeFlags {
    /// Why; stands in the list of versions.
    #[arg(long, default_value = "")]
    reason: String,
    /// The version that must be served now, so that nobody's change is overwritten.
    #[arg(long, value_name = "VERSION")]
    expect: Option<u64>,
}

pub(crate) fn run(action: GatewayAction, settings: &Settings) -> Result<(), Failure> {
    match action {
        GatewayAction::Show { version, operator } => {
            let path = version.map_or(CONFIG.to_owned(), |one| format!("{CONFIG}/versions/{one}"));
            let told = ask(&operator, settings, "GET", &path, None)?;
            println!("{:#}", told["document"]);
        }
        GatewayAction::Versions { operator } => {
            let told = ask(&operator, settings, "GET", &format!("{CONFIG}/versions"), None)?;
            println!("{:<8} {:<9} {:<25} {:<12} reason", "version", "restores", "made", "author");
            for version in told["data"].as_array().into_iter().flatten() {
                let restores =
                    version["restores"].as_u64().map_or(String::new(), |n| n.to_string());
                // Padding is for texts; a JSON number has none.
                let number = version["version"].to_string();
                let made = Moment { ms: version["created_ms"].as_u64().unwrap_or(0) }.text();
                println!(
                    "{number:<8} {restores:<9} {made:<25} {:<12} {}",
                    version["author"].as_str().unwrap_or("-"),
                    version["reason"].as_str().unwrap_or(""),
                );
            }
        }
        GatewayAction::Check { file, operator } => {
            let body = json!({"document": document(&file)?});
            ask(&operator, settings, "POST", &format!("{CONFIG}/check"), Some(&body))?;
            println!("{} can be served", file.display());
        }
        GatewayAction::Apply { file, change, operator } => {
            let ChangeFlags { reason, expect } = change;
            let body =
                json!({"document": document(&file)?, "reason": reason, "expected_version": expect});
            let told = ask(&operator, settings, "PUT", CONFIG, Some(&body))?;
            println!("version {} is served", told["version"]);
        }
        GatewayAction::WhatIf(flags) => what_if::run(&flags, settings)?,
        GatewayAction::Rollback { to, change, operator } => {
            let ChangeFlags { reason, expect } = change;
            let body = json!({"to_version": to, "reason": reason, "expected_version": expect});
            let path = format!("{CONFIG}/rollback");
            let told = ask(&operator, settings, "POST", &path, Some(&body))?;
            println!("version {} is served; it restores {}", told["version"], told["restores"]);
        }
    }
    Ok(())
}

/// A file's document; the node looks at what it says.
pub(super) fn document(file: &Path) -> Result<Value, Failure> {
    let name = file.display();
    let wrong = |problem: String| Failure::settings(format!("{name}: {problem}"));
    let text = match file.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| wrong(error.to_string()))?;
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|error| wrong(error.to_string()));
    }
    let mut settings: Value = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    // A settings file has it in a section, beside the backends, which each node knows itself.
    let section = settings.get_mut("gateway").map(Value::take).unwrap_or(settings);
    match section {
        Value::Object(mut section) => {
            section.retain(|key, _| key != "backends");
            Ok(Value::Object(section))
        }
        _ => Err(wrong("holds no document; write it as `headwater gateway show` does".to_owned())),
    }
}
