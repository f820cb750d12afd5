//! Webhooks: notices of limits as signed POSTs.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headwater_actors::cluster::Leases;
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::{
    Messenger, NoticeHook, NoticeMetrics, NoticeSettings, Notices, PendingNotice,
};
use headwater_storage::retry::Retry;
use hmac::{Hmac, KeyInit, Mac};
use prometheus_client::registry::Registry;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use sha2::{Digest, Sha256};

use crate::config::{Settings, WebhookSection};
use crate::failure::Failure;

/// HMAC-SHA256 of the body under the webhook's secret: `sha256=` and hex digits.
const SIGNATURE: &str = "x-headwater-signature";
/// The notice's id: a repetition has the same.
const NOTICE_ID: &str = "x-headwater-notice-id";
/// Longest time for one POST.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the digest that names a webhook in the store.
const ID_BYTES: usize = 8;

/// The webhooks of the settings, with their secrets.
pub(crate) struct Webhooks {
    http: reqwest::Client,
    hooks: Vec<Webhook>,
}

struct Webhook {
    id: String,
    url: reqwest::Url,
    secret: Option<Vec<u8>>,
    team: Option<String>,
}

/// Reads the secrets.
///
/// # Errors
/// Kind `Settings`, naming the field.
pub(crate) fn read(settings: &Settings) -> Result<Webhooks, Failure> {
    let http = reqwest::Client::builder()
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
        .timeout(PATIENCE)
        // Another place than the one that was configured is not trusted.
        .redirect(Policy::none())
        .build()
        .map_err(|_| Failure::settings("notices: no HTTP client could be made".to_owned()))?;
    let sections = settings.notices.webhooks.iter().enumerate();
    let hooks = sections.map(|(at, section)| Webhook::read(at, section));
    Ok(Webhooks { http, hooks: hooks.collect::<Result<_, _>>()? })
}

/// Starts to deliver, where there is anybody to deliver to.
pub(crate) fn start(
    webhooks: Webhooks,
    runtime: &Runtime,
    store: &Retry,
    leases: &Leases,
    registry: &mut Registry,
) {
    if webhooks.hooks.is_empty() {
        return;
    }
    let hook = |hook: &Webhook| NoticeHook { id: hook.id.clone(), team: hook.team.clone() };
    let hooks = webhooks.hooks.iter().map(hook).collect();
    let (settings, metrics) = (NoticeSettings::default(), NoticeMetrics::register(registry));
    let (runtime, store, leases) = (runtime.clone(), store.clone(), leases.clone());
    let messenger = Arc::new(webhooks);
    let notices = Notices::new(runtime.clone(), store, leases, hooks, messenger, settings, metrics);
    runtime.spawn(notices.run());
}

impl Webhook {
    fn read(at: usize, section: &WebhookSection) -> Result<Webhook, Failure> {
        let wrong = |field: &str, problem: &str| {
            Failure::settings(format!("notices.webhooks.{at}.{field}: {problem}"))
        };
        let url = reqwest::Url::parse(&section.url).map_err(|_| wrong("url", "is no address"))?;
        let secret = section.secret_file.as_ref().map(|file| {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| {
                wrong("secret_file", &format!("cannot read {}: {error}", file.display()))
            })?;
            match text.trim() {
                "" => Err(wrong("secret_file", &format!("{} is empty", file.display()))),
                secret => Ok(secret.as_bytes().to_vec()),
            }
        });
        let secret = secret.transpose()?;
        let team = section.team.clone();
        let named = format!("{url}\n{}", team.as_deref().unwrap_or_default());
        let digest = Sha256::digest(named.as_bytes());
        let id = digest.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Ok(Webhook { id, url, secret, team })
    }

    /// None without a secret.
    fn signature(&self, body: &[u8]) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_ref()?).ok()?;
        mac.update(body);
        let digits: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("sha256={digits}"))
    }
}

#[async_trait]
impl Messenger for Webhooks {
    async fn deliver(&self, hook: usize, notice: &PendingNotice) -> Result<(), String> {
        let hook = self.hooks.get(hook).ok_or_else(|| "there is no such webhook".to_owned())?;
        let body = notice.body().to_string().into_bytes();
        let mut request = self
            .http
            .post(hook.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(NOTICE_ID, &notice.id);
        if let Some(signature) = hook.signature(&body) {
            request = request.header(SIGNATURE, signature);
        }
        let answer = request.body(body).send().await;
        // The address itself may be a secret.
        let answer = answer.map_err(|error| format!("no answer: {}", error.without_url()))?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(format!("it answered {}", answer.status())),
        }
    }
}
