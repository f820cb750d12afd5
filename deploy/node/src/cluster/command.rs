//! `headwater cluster`: the authority, the nodes' certificates, and what the cluster looks like.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use headwater_actors::cluster::NodeId;
use headwater_cluster_quic::authority;
use serde_json::Value;

use super::SECRET_FILE;
use crate::config::Settings;
use crate::failure::Failure;
use crate::operator::{OperatorFlags, ask};
use crate::secret_file;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterAction {
    /// Make the cluster's certificate authority. Keep its folder off the nodes.
    Init {
        /// Where the authority's files go.
        #[arg(long, value_name = "FOLDER")]
        authority: PathBuf,
        /// The cluster's id: 1 to 64 letters, digits, `-`, `_` or `.`.
        #[arg(long, default_value = "headwater")]
        id: String,
    },
    /// Make the folder that a node gets as cluster.identity_dir.
    Issue {
        /// The folder that `cluster init` made.
        #[arg(long, value_name = "FOLDER")]
        authority: PathBuf,
        /// The node's name.
        #[arg(long)]
        node: String,
        /// Where the node's files go.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// How long the certificate counts, in days.
        #[arg(long, default_value_t = 365)]
        days: u32,
    },
    /// Print members, leases and load, as a running node sees them.
    Status {
        #[command(flatten)]
        operator: OperatorFlags,
        /// Print the node's answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(action: ClusterAction, settings: &Settings) -> Result<(), Failure> {
    match action {
        ClusterAction::Init { authority, id } => init(&authority, &id),
        ClusterAction::Issue { authority, node, out, days } => issue(&authority, &node, &out, days),
        ClusterAction::Status { operator, json } => {
            let status = ask(&operator, settings, "GET", "/v1/cluster", None)?;
            if json {
                println!("{status:#}");
            } else {
                print!("{}", table(&status));
            }
            Ok(())
        }
    }
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::settings(format!("cannot make {}: {error}", folder.display())))
}

fn init(folder: &Path, id: &str) -> Result<(), Failure> {
    make_folder(folder)?;
    authority::create(id, folder).map_err(Failure::settings)?;
    secret_file::write_new(&folder.join(SECRET_FILE), &secret_file::draw()?)?;
    println!("made the authority of cluster '{id}' in {}", folder.display());
    println!(
        "next: headwater cluster issue --authority {} --node <name> --out <folder>",
        folder.display()
    );
    Ok(())
}

fn issue(folder: &Path, node: &str, out: &Path, days: u32) -> Result<(), Failure> {
    let id =
        NodeId::new(node).map_err(|problem| Failure::settings(format!("--node: {problem}")))?;
    make_folder(out)?;
    authority::issue(folder, &id, out, days).map_err(Failure::settings)?;
    let copied = |name: &str| {
        let from = folder.join(name);
        std::fs::read_to_string(&from)
            .map_err(|error| Failure::settings(format!("cannot read {}: {error}", from.display())))
    };
    let authority = out.join("ca.pem");
    std::fs::write(&authority, copied("ca.pem")?).map_err(|error| {
        Failure::settings(format!("cannot write {}: {error}", authority.display()))
    })?;
    let secret = out.join(SECRET_FILE);
    if !secret.exists() {
        secret_file::write_new(&secret, copied(SECRET_FILE)?.trim())?;
    }
    println!("wrote node {id}'s files to {}; set cluster.identity_dir to it", out.display());
    Ok(())
}

/// Members, then leases, a line each.
fn table(status: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let mut lines = format!(
        "{:<16} {:<12} {:<22} {:>8} {:>9} {:>6}  offers\n",
        "node", "state", "address", "version", "capacity", "load"
    );
    for member in status["members"].as_array().into_iter().flatten() {
        let offers: Vec<&str> = member["offers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|offer| offer.split_once('@').map_or(offer, |(name, _)| name))
            .collect();
        let here = if member["here"].as_bool() == Some(true) { " (asked)" } else { "" };
        lines.push_str(&format!(
            "{:<16} {:<12} {:<22} {:>8} {:>9} {:>5}%  {}\n",
            format!("{}{here}", text(&member["node"])),
            text(&member["state"]),
            text(&member["address"]),
            text(&member["version"]),
            text(&member["capacity"]),
            percent(member),
            offers.join(", "),
        ));
    }
    lines
        .push_str(&format!("\n{:<32} {:<16} {:>6} {:>10}\n", "lease", "owner", "epoch", "ends in"));
    for lease in status["leases"].as_array().into_iter().flatten() {
        lines.push_str(&format!(
            "{:<32} {:<16} {:>6} {:>7} ms\n",
            text(&lease["key"]),
            text(&lease["owner"]),
            text(&lease["epoch"]),
            text(&lease["remaining_ms"]),
        ));
    }
    lines
}

/// Load is told in hundredths of the capacity.
fn percent(member: &Value) -> u64 {
    let number = |name: &str| member[name].as_u64().unwrap_or(0);
    number("load") / number("capacity").max(1)
}
