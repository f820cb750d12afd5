//! `headwater prompts list`, `show`, `versions`, `history` and `render`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::ShowFlags;
use super::node::{Node, checked_name, list};
use super::output::{Output, cell, moment, one_line};
use super::promotion::tell;
use super::pull::Label;
use crate::config::Settings;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct RenderFlags {
    name: String,
    /// A variable: JSON where the value is JSON, a text otherwise, so that the text 5 is
    /// NAME='"5"'; may be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = parse_variable)]
    variables: Vec<(String, Value)>,
    /// For whom, when an experiment runs.
    #[arg(long)]
    user: Option<String>,
    /// What production serves without it.
    #[arg(long, value_name = "N", conflicts_with = "label")]
    version: Option<u64>,
    /// The version that this label points to.
    #[arg(long, value_enum)]
    label: Option<Label>,
    #[command(flatten)]
    show: ShowFlags,
}

fn parse_variable(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            Ok((name.to_owned(), value))
        }
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

pub(super) fn list_prompts(
    show: &ShowFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let heads = Node::new(&show.node, settings)?.heads()?;
    if show.json {
        return out.json(&json!({"data": heads, "next_after": null}));
    }
    let row = |head: &Value| {
        let columns = ["name", "newest", "production", "staging"].map(|name| cell(&head[name]));
        let rest = [canary(&head["canary"]), cell(&head["promotion"]), moment(&head["updated_ms"])];
        columns.into_iter().chain(rest).collect()
    };
    let rows: Vec<Vec<String>> = heads.iter().map(row).collect();
    let head = ["name", "newest", "production", "staging", "canary", "promotion", "updated"];
    out.table(&head, &rows)
}

fn canary(canary: &Value) -> String {
    match canary["version"].as_u64() {
        Some(version) => format!("{version} ({} per mille)", canary["per_mille"]),
        None => "-".to_owned(),
    }
}

pub(super) fn show(
    name: &str,
    number: Option<u64>,
    show: &ShowFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let (node, name) = (Node::new(&show.node, settings)?, checked_name(name)?);
    if let Some(number) = number {
        let version = node.version(name, number)?;
        return match show.json {
            true => out.json(&version),
            false => whole_version(&version, out),
        };
    }
    let head = node.get(&format!("/v1/prompts/{name}"))?;
    if show.json {
        return out.json(&head);
    }
    let gates = &head["gates"];
    let mut lines = vec![
        ("name", cell(&head["name"])),
        ("team", cell(&head["team"])),
        ("your role", cell(&head["role"])),
        ("newest", cell(&head["newest"])),
        ("production", cell(&head["production"])),
        ("staging", cell(&head["staging"])),
        ("canary", canary(&head["canary"])),
        ("protected", cell(&head["protected"])),
        ("shared", cell(&head["shared"])),
        ("golden set", cell(&gates["golden_set"])),
        ("updated", moment(&head["updated_ms"])),
    ];
    if gates["golden_set"].is_string() {
        lines.push(("least score", cell(&gates["min_score"])));
    }
    for (what, value) in lines {
        out.line(format_args!("{what:<12} {value}"))?;
    }
    if let Some(id) = head["promotion"].as_u64() {
        out.line("")?;
        tell(&node.get(&format!("/v1/prompts/{name}/promotions/{id}"))?, out)?;
    }
    out.line("")?;
    let newest = head["newest"].as_u64().unwrap_or_default();
    whole_version(&node.version(name, newest)?, out)
}

fn whole_version(version: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    out.line(format_args!(
        "version {} ({}) by {}, {}: {}",
        version["version"],
        cell(&version["state"]),
        cell(&version["author"]),
        moment(&version["created_ms"]),
        cell(&version["message"]),
    ))?;
    texts(&version["document"], out)?;
    for field in ["variables", "partials", "tools", "model"] {
        let value = &version["document"][field];
        if !value.is_null() {
            out.line(format_args!("--- {field}\n{value:#}"))?;
        }
    }
    Ok(())
}

/// The messages or the text, as they stand.
fn texts(of: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    for message in list(&of["messages"]) {
        out.line(format_args!("--- {}", cell(&message["role"])))?;
        out.text(message["content"].as_str().unwrap_or_default())?;
    }
    match of["text"].as_str() {
        Some(text) => out.text(text),
        None => Ok(()),
    }
}

pub(super) fn versions(
    name: &str,
    show: &ShowFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let node = Node::new(&show.node, settings)?;
    let told = node.get(&format!("/v1/prompts/{}/versions", checked_name(name)?))?;
    if show.json {
        return out.json(&told);
    }
    let row = |version: &Value| {
        let made = moment(&version["created_ms"]);
        let columns = ["version", "state", "parent"].map(|name| cell(&version[name]));
        let rest = ["author", "tags", "message"].map(|name| cell(&version[name]));
        columns.into_iter().chain([made]).chain(rest).collect()
    };
    let rows: Vec<Vec<String>> = list(&told["data"]).iter().map(row).collect();
    let head = ["version", "state", "parent", "made", "author", "tags", "message"];
    out.table(&head, &rows)
}

pub(super) fn history(
    name: &str,
    show: &ShowFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let node = Node::new(&show.node, settings)?;
    let told = node.get(&format!("/v1/prompts/{}/history", checked_name(name)?))?;
    if show.json {
        return out.json(&told);
    }
    let row = |one: &Value| {
        let columns = ["number", "pointer", "from", "to"].map(|name| cell(&one[name]));
        let rest = ["promotion", "by", "reason"].map(|name| cell(&one[name]));
        columns.into_iter().chain([moment(&one["at_ms"])]).chain(rest).collect()
    };
    let rows: Vec<Vec<String>> = list(&told["data"]).iter().map(row).collect();
    out.table(&["number", "pointer", "from", "to", "at", "promotion", "by", "reason"], &rows)
}

pub(super) fn render(
    flags: &RenderFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let node = Node::new(&flags.show.node, settings)?;
    let variables: Map<String, Value> = flags.variables.iter().cloned().collect();
    // What is not asked for is not sent: null is no label.
    let mut body = json!({ "variables": variables });
    if let Some(version) = flags.version {
        body["version"] = version.into();
    }
    if let Some(label) = flags.label {
        body["label"] = label.name().into();
    }
    if let Some(user) = &flags.user {
        body["user"] = user.as_str().into();
    }
    let path = format!("/v1/prompts/{}/render", checked_name(&flags.name)?);
    let told = node.post(&path, &body)?;
    if flags.show.json {
        return out.json(&told);
    }
    let variant = match told["variant"].as_str() {
        Some(variant) => {
            format!(", {} of the experiment {}", one_line(variant), cell(&told["experiment"]))
        }
        None => String::new(),
    };
    // Beside the text, which alone a script takes.
    eprintln!("version {} ({}){variant}", told["version"], cell(&told["source"]));
    texts(&told, out)
}
