//! `headwater keys`: virtual keys and revocations, at a running node.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::config::Settings;
use crate::failure::Failure;
use crate::operator::{OperatorFlags, ask};
use crate::store;

const DAY_S: u64 = 24 * 60 * 60;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make a key and print it, once.
    Create {
        /// Whom requests with this key are charged to.
        #[arg(long)]
        team: String,
        #[arg(long)]
        project: Option<String>,
        #[arg(long)]
        user: Option<String>,
        /// A model that the key allows; may be repeated. All models without it.
        #[arg(long = "model", value_name = "NAME")]
        models: Vec<String>,
        /// The team's service level.
        #[arg(long, default_value = "standard")]
        tier: String,
        /// How long the key is valid, in days; for ever without it.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: Option<u64>,
        /// What to remember it by.
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        operator: OperatorFlags,
    },
    /// List all keys, without their secrets.
    List {
        #[command(flatten)]
        operator: OperatorFlags,
    },
    /// Give a key a new secret and print it, once; the old one stays good for a while.
    Rotate {
        id: String,
        /// For how long the old secret stays good, in s.
        #[arg(long, default_value_t = 3_600)]
        grace_s: u64,
        #[command(flatten)]
        operator: OperatorFlags,
    },
    /// End a key on all nodes.
    Revoke {
        id: String,
        #[command(flatten)]
        operator: OperatorFlags,
    },
    /// End a signed token before its time, on all nodes.
    RevokeToken {
        /// The token's `jti`.
        jti: String,
        /// The token's issuer; this platform's own without it.
        #[arg(long)]
        issuer: Option<String>,
        /// When the token ends by itself, in s since 1970: the revocation is forgotten then.
        #[arg(long)]
        expires_at: Option<u64>,
        #[command(flatten)]
        operator: OperatorFlags,
    },
}

pub(crate) fn run(action: KeyAction, settings: &Settings) -> Result<(), Failure> {
    match action {
        KeyAction::Create { team, project, user, models, tier, days, note, operator } => {
            let now_s = store::since_1970().as_secs();
            let body = json!({
                "team": team,
                "project": project,
                "user": user,
                "models": (!models.is_empty()).then_some(models),
                "tier": tier,
                "expires_at": days.map(|days| now_s + days * DAY_S),
                "note": note,
            });
            let made = ask(&operator, settings, "POST", "/v1/keys", Some(&body))?;
            print_secret(&made);
        }
        KeyAction::List { operator } => list(&operator, settings)?,
        KeyAction::Rotate { id, grace_s, operator } => {
            let path = path(&id, "rotate")?;
            let body = json!({ "grace_s": grace_s });
            print_secret(&ask(&operator, settings, "POST", &path, Some(&body))?);
        }
        KeyAction::Revoke { id, operator } => {
            ask(&operator, settings, "POST", &path(&id, "revoke")?, None)?;
            println!("revoked {id}");
        }
        KeyAction::RevokeToken { jti, issuer, expires_at, operator } => {
            let body = json!({"jti": jti, "issuer": issuer, "expires_at": expires_at});
            ask(&operator, settings, "POST", "/v1/tokens/revoke", Some(&body))?;
            println!("revoked {jti}");
        }
    }
    Ok(())
}

/// The key alone on standard output, so that a script can take it.
fn print_secret(made: &Value) {
    eprintln!("key {} of {}; it is shown this once:", text(&made["id"]), text(&made["team"]));
    println!("{}", text(&made["key"]));
}

fn list(operator: &OperatorFlags, settings: &Settings) -> Result<(), Failure> {
    println!(
        "{:<16} {:<16} {:<12} {:<16} {:<10} {:<10} note",
        "id", "team", "project", "user", "tier", "state"
    );
    let now_s = store::since_1970().as_secs();
    let mut after = String::new();
    loop {
        let page = ask(operator, settings, "GET", &format!("/v1/keys{after}"), None)?;
        for key in page["data"].as_array().into_iter().flatten() {
            let state = match (&key["revoked_at"], key["expires_at"].as_u64()) {
                (Value::Number(_), _) => "revoked",
                (_, Some(end_s)) if end_s <= now_s => "expired",
                _ => "good",
            };
            println!(
                "{:<16} {:<16} {:<12} {:<16} {:<10} {state:<10} {}",
                text(&key["id"]),
                text(&key["team"]),
                text(&key["project"]),
                text(&key["user"]),
                text(&key["tier"]),
                text(&key["note"]),
            );
        }
        match page["next_after"].as_str() {
            Some(next) => after = format!("?after={next}"),
            None => return Ok(()),
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// An id of other letters would ask for something else.
fn path(id: &str, what: &str) -> Result<String, Failure> {
    match !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(format!("/v1/keys/{id}/{what}")),
        false => Err(Failure::settings(format!(
            "'{id}' is no key's id; see `headwater keys list` for those that there are"
        ))),
    }
}
