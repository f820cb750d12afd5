//! Where Vault is, where secrets lie in it, and how the node proves itself.

use std::path::PathBuf;

use serde::Deserialize;

/// Settings of one Vault or OpenBao.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultSettings {
    /// `https://host:8200`, without a path. Plain `http` shows tokens and values to the network.
    pub address: String,
    /// Where the KV engine of version 2 is mounted.
    #[serde(default = "default_mount")]
    pub mount: String,
    /// Below the mount, without `data/`: parts between `/`, of which one is `{team}` and one may
    /// be `{name}`.
    #[serde(default = "default_path")]
    pub path: String,
    /// The field that holds the value; `{name}` takes the secret's name, so that one entry of
    /// Vault holds all secrets of a team.
    #[serde(default = "default_field")]
    pub field: String,
    pub auth: AuthSettings,
    /// Sent as `x-vault-namespace`; none without it.
    pub namespace: Option<String>,
    /// File with the only certificate authorities to trust, as PEM; the system's without it.
    pub ca_file: Option<PathBuf>,
    /// Longest time for one question, with a login where it needs one, in ms.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// After a login that a refusal had asked for and that did not help, refusals are believed for
    /// so long, in ms. Without it each forbidden secret would cost a login at every question.
    #[serde(default = "default_login_pause_ms")]
    pub login_pause_ms: u64,
}

/// How the node gets its token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
pub enum AuthSettings {
    /// A token that somebody else makes and renews, such as Vault's agent; read anew where Vault
    /// refuses. Exactly one of the two.
    Token {
        /// The environment variable with the token.
        variable: Option<String>,
        /// The file with the token.
        file: Option<PathBuf>,
    },
    AppRole {
        role_id: String,
        secret_id_file: PathBuf,
        #[serde(default = "default_approle_mount")]
        mount: String,
    },
    Kubernetes {
        role: String,
        /// The file with the service account's token.
        #[serde(default = "default_token_file")]
        token_file: PathBuf,
        #[serde(default = "default_kubernetes_mount")]
        mount: String,
    },
}

fn default_mount() -> String {
    "secret".to_owned()
}

fn default_path() -> String {
    "{team}/{name}".to_owned()
}

fn default_field() -> String {
    "value".to_owned()
}

fn default_timeout_ms() -> u64 {
    2_000
}

fn default_login_pause_ms() -> u64 {
    10_000
}

fn default_approle_mount() -> String {
    "approle".to_owned()
}

fn default_kubernetes_mount() -> String {
    "kubernetes".to_owned()
}

fn default_token_file() -> PathBuf {
    "/var/run/secrets/kubernetes.io/serviceaccount/token".into()
}
