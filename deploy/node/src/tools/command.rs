//! `headwater tools`: tools from elsewhere, published at a running node.

#[cfg(test)]
mod tests;

use std::io::{Read, Write, stdout};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use headwater_actors::tools::{Definition, ToolName};
use headwater_backends_http::openapi::{self, Choice, OpenApi};
use headwater_secrets::SecretName;
use serde_json::Value;

use crate::config::Settings;
use crate::failure::{Failure, FailureKind};
use crate::operator::{OperatorFlags, ask};

/// Longer ones would leave the operations' own names no room, in bytes.
const PREFIX_BYTES_MAX: usize = 24;

#[derive(Debug, Subcommand)]
pub(crate) enum ToolsAction {
    /// Publish what another description tells of, one version each.
    Import {
        #[command(subcommand)]
        what: ImportAction,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportAction {
    /// Publish the operations of an OpenAPI document (3.0 or 3.1, as JSON or YAML), one a tool.
    Openapi(OpenApiFlags),
}

#[derive(Debug, Args)]
pub(crate) struct OpenApiFlags {
    /// The document; `-` reads standard input.
    file: PathBuf,
    /// The team that owns the tools.
    #[arg(long, value_name = "NAME")]
    team: String,
    /// Stands ahead of all names, such as pets-.
    #[arg(long, default_value = "", value_parser = parse_prefix)]
    prefix: String,
    /// Ids of operations, or methods and paths as in 'GET /pets', with commas between them; all
    /// without it.
    #[arg(long, value_name = "OPERATION", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the service is; the document's first server without it.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The team's secret for one of the document's security schemes; the scheme's name in capitals
    /// without it. May be repeated.
    #[arg(long = "secret", value_name = "SCHEME=SECRET", value_parser = parse_secret)]
    secrets: Vec<(String, String)>,
    /// Print the definitions as JSON, a line each; asks no node.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    operator: OperatorFlags,
}

fn parse_prefix(text: &str) -> Result<String, String> {
    match text.is_empty() || (ToolName::new(text).is_ok() && text.len() <= PREFIX_BYTES_MAX) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "a prefix is at most {PREFIX_BYTES_MAX} of a-z, 0-9 and '-', a letter first"
        )),
    }
}

fn parse_secret(text: &str) -> Result<(String, String), String> {
    let (scheme, secret) = text.split_once('=').ok_or("write SCHEME=SECRET")?;
    let secret = SecretName::new(secret).map_err(|error| error.to_string())?;
    Ok((scheme.to_owned(), secret.as_str().to_owned()))
}

pub(crate) fn run(action: &ToolsAction, settings: &Settings) -> Result<(), Failure> {
    run_to(action, settings, &mut stdout())
}

fn run_to(action: &ToolsAction, settings: &Settings, out: &mut dyn Write) -> Result<(), Failure> {
    let ToolsAction::Import { what: ImportAction::Openapi(flags) } = action;
    let read = read(flags)?;
    let definitions = definitions(flags, &read)?;
    if flags.dry_run {
        for definition in &definitions {
            line(out, definition)?;
        }
        return tell(&read, &mut std::io::stderr());
    }
    tell(&read, out)?;
    publish(&definitions, flags, settings, out)
}

/// The document's operations, with the secrets that the flags name.
fn read(flags: &OpenApiFlags) -> Result<OpenApi, Failure> {
    let wrong = |problem: String| Failure::settings(format!("{}: {problem}", flags.file.display()));
    let text = match flags.file.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => std::fs::read_to_string(&flags.file),
    };
    let text = text.map_err(|error| wrong(error.to_string()))?;
    let (base, prefix, only) = (flags.base_url.as_deref(), flags.prefix.as_str(), &flags.only);
    let mut read = openapi::read(&text, &Choice { base, prefix, only })
        .map_err(|error| wrong(error.to_string()))?;
    for (scheme, secret) in &flags.secrets {
        let headers = read.tools.iter_mut().flat_map(|tool| &mut tool.headers);
        let mut is_known = false;
        for header in headers.filter(|header| header.scheme == *scheme) {
            header.secret.clone_from(secret);
            is_known = true;
        }
        if !is_known {
            let problem = format!("no tool needs the security scheme `{scheme}`; see --dry-run");
            return Err(wrong(problem));
        }
    }
    Ok(read)
}

/// All of them, or none: each is looked at as the node will.
fn definitions(flags: &OpenApiFlags, read: &OpenApi) -> Result<Vec<Value>, Failure> {
    let mut definitions = Vec::new();
    let mut problems = Vec::new();
    for tool in &read.tools {
        match Definition::read(&tool.definition(&flags.team)) {
            Ok(definition) => definitions.push(definition.to_json()),
            Err(problem) => problems.push(format!("{}: {problem}", tool.name)),
        }
    }
    if !problems.is_empty() {
        problems.push("nothing was published; choose the others with --only".to_owned());
        return Err(Failure::settings(problems.join("\n")));
    }
    if definitions.is_empty() {
        return Err(Failure::settings("the document has no operation that a tool can be"));
    }
    Ok(definitions)
}

/// What became no tool, and what to know of the others.
fn tell(read: &OpenApi, out: &mut dyn Write) -> Result<(), Failure> {
    for skipped in &read.skipped {
        line(out, format_args!("{}: is no tool: {}", skipped.operation, skipped.why))?;
    }
    for tool in &read.tools {
        for header in &tool.headers {
            let (name, header, secret) = (&tool.name, &header.header, &header.secret);
            line(
                out,
                format_args!("{name}: sends the calling team's secret {secret} in {header}"),
            )?;
        }
        if tool.deprecated {
            line(out, format_args!("{}: the document calls it deprecated", tool.name))?;
        }
        for note in &tool.notes {
            line(out, format_args!("{}: {note}", tool.name))?;
        }
    }
    Ok(())
}

/// Goes on after one that the node refuses; ends when there is no answer.
fn publish(
    definitions: &[Value],
    flags: &OpenApiFlags,
    settings: &Settings,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut failed: Vec<Failure> = Vec::new();
    for definition in definitions {
        let name = definition["name"].as_str().unwrap_or_default();
        match ask(&flags.operator, settings, "POST", "/v1/tools", Some(definition)) {
            Ok(told) => published(name, &told, out)?,
            Err(failure) => {
                let is_last = failure.kind == FailureKind::Unavailable;
                failed.push(Failure::new(failure.kind, format!("{name}: {}", failure.message)));
                if is_last {
                    break;
                }
            }
        }
    }
    let Some(first) = failed.first() else { return Ok(()) };
    let messages: Vec<&str> = failed.iter().map(|failure| failure.message.as_str()).collect();
    Err(Failure::new(first.kind, messages.join("\n")))
}

fn published(name: &str, told: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let version = &told["version"];
    if told["is_new"] == Value::Bool(false) {
        return line(out, format_args!("{name}: is version {version} already"));
    }
    line(out, format_args!("{name}: version {version} is published"))?;
    for one in told["differences"].as_array().into_iter().flatten() {
        let text = |field: &str| one[field].as_str().unwrap_or("-");
        let (path, what, severity) = (text("path"), text("what"), text("severity"));
        line(out, format_args!("  {path} {what} ({severity})"))?;
    }
    Ok(())
}

/// On one line, with nothing in it that moves a terminal's cursor.
fn line(out: &mut dyn Write, text: impl std::fmt::Display) -> Result<(), Failure> {
    let text = text.to_string().replace(char::is_control, " ");
    writeln!(out, "{text}").map_err(Failure::broken)
}
