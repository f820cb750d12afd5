//! The way out of sandboxes: each tool's hosts as rules of the forward proxy, and every refusal as
//! a record of the audit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use headwater_actors::gateway::{AuditHandle, AuditOutcome, AuditRecord};
use headwater_actors::tools::HostNeed;
use headwater_actors::tools::sandbox::{OpenWay, WayOut, Ways};
use headwater_sandbox_egress::{
    Egress, EgressEvent, Grant, GrantLimits, HostPattern, Labels, Parts, Rule, Secret, SecretError,
    SecretFor, SecretHeader, Settings, SystemResolver, Transport, Verdict,
};
use headwater_secrets::{SecretName, SecretSource};

use crate::failure::Failure;

/// Names that are looked up at once.
const LOOKUPS: usize = 16;

struct Values(Option<Arc<dyn SecretSource>>);

#[async_trait]
impl SecretFor for Values {
    async fn value(&self, labels: &Labels, secret: &str) -> Result<Secret, SecretError> {
        let source = self.0.as_ref().ok_or(SecretError)?;
        let name = SecretName::new(secret).map_err(|_| SecretError)?;
        let value = source.get(&labels.tenant, &name).await.map_err(|_| SecretError)?;
        Ok(Secret::new(value.expose().as_bytes()))
    }
}

struct Way(headwater_sandbox_egress::OpenWay);

impl OpenWay for Way {
    fn way_out(&self) -> WayOut {
        WayOut { proxy: self.0.proxy(), names: self.0.names() }
    }
}

/// Opens ways in this folder, which is emptied first: nobody uses what is in it.
///
/// # Errors
/// Kind `Settings` when the folder cannot be used.
pub(super) fn open(
    folder: PathBuf,
    secrets: Option<Arc<dyn SecretSource>>,
    audit: Option<AuditHandle>,
) -> Result<Ways, Failure> {
    let wrong =
        |error: &dyn std::fmt::Display| Failure::settings(format!("sandbox.egress: {error}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| wrong(&error))?;
    let parts = Parts {
        resolver: Arc::new(SystemResolver::new(LOOKUPS)),
        secrets: Arc::new(Values(secrets)),
        events: Arc::new(move |event: EgressEvent| heard(audit.as_ref(), &event)),
    };
    let egress = Egress::open(Settings::new(folder), parts).map_err(|error| wrong(&error))?;
    Ok(Arc::new(move |team: &str, tool: &str, needs: &[HostNeed]| {
        let rules: Result<Vec<Vec<Rule>>, String> = needs.iter().map(rules).collect();
        let labels =
            Labels { tenant: team.to_owned(), session: String::new(), tool: tool.to_owned() };
        let limits = GrantLimits::default();
        let grant = Grant { labels, rules: rules?.into_iter().flatten().collect(), limits };
        let way = egress.open_way(grant).map_err(|error| error.to_string())?;
        Ok(Box::new(Way(way)) as Box<dyn OpenWay>)
    }))
}

/// A host that a tool needs: with TLS of its own or the proxy's, and in the clear at port 80.
fn rules(need: &HostNeed) -> Result<Vec<Rule>, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let host = HostPattern::new(&need.host).map_err(|error| told(&error))?;
    let methods = need.methods.iter().map(|method| method.parse());
    let methods: Result<Vec<_>, _> = methods.collect();
    let methods = methods.map_err(|error: http::method::InvalidMethod| told(&error))?;
    let mut secrets = Vec::new();
    for one in &need.headers {
        let header = one.header.parse();
        let header = header.map_err(|error: http::header::InvalidHeaderName| told(&error))?;
        let prefix = if one.header == "authorization" { "Bearer " } else { "" };
        secrets.push(SecretHeader {
            header,
            secret: one.secret.clone(),
            prefix: prefix.to_owned(),
        });
    }
    let rule = |ports: Vec<u16>, transport: Transport| Rule {
        host: host.clone(),
        ports,
        methods: if transport == Transport::Tunnel { Vec::new() } else { methods.clone() },
        paths: Vec::new(),
        transport,
        secrets: if transport == Transport::Originate { secrets.clone() } else { Vec::new() },
        internal: None,
    };
    if need.originates_tls {
        return Ok(vec![rule(need.ports.clone(), Transport::Originate)]);
    }
    let (clear, tls): (Vec<u16>, Vec<u16>) = need.ports.iter().partition(|port| **port == 80);
    let mut rules = Vec::new();
    if !clear.is_empty() {
        rules.push(rule(clear, Transport::Plain));
    }
    if !tls.is_empty() {
        rules.push(rule(tls, Transport::Tunnel));
    }
    Ok(rules)
}

/// A refused connection is a record of the audit; what was allowed stands with its call.
fn heard(audit: Option<&AuditHandle>, event: &EgressEvent) {
    let (Some(audit), Verdict::Refused(refusal)) = (audit, &event.verdict) else { return };
    let mut id = [0_u8; 16];
    if getrandom::fill(&mut id).is_err() {
        return;
    }
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    audit.record(AuditRecord {
        time_ms: u64::try_from(now_ms).unwrap_or(u64::MAX),
        route: "egress".to_owned(),
        protocol: format!("{:?}", event.kind).to_lowercase(),
        model_asked: format!("{}:{}", event.asked.host, event.asked.port),
        model_served: event.labels.tool.clone(),
        flags: vec![format!("egress_refused: {refusal}")],
        ..AuditRecord::new(id, &event.labels.tenant, AuditOutcome::Blocked)
    });
}
