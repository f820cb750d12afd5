//! What answers calls: HTTP, servers of the Model Context Protocol, databases, and the platform's
//! own fetch and search.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_actors::tools::{
    ArgumentsIn, Backend, Backends, Builtin, Definition, HttpArguments, HttpParameter, HttpPlace,
    HttpRest, Runs, VectorSearches,
};
use headwater_backends::{
    BackendError, Egress, Invocation, Refusal, SecretHeader, SecretHeaders, no_headers,
};
use headwater_backends_http::{
    Body, DryRun, FetchLimits, HttpClient, HttpSettings, Method, Operation, Parameter,
    ParameterPlace,
};
use headwater_backends_mcp::{ClientSettings, McpBackend};
use headwater_backends_sql::{SqlBackend, SqlDatabase};
use headwater_sandbox_egress::is_public;
use headwater_secrets::{SecretName, SecretSource};

use crate::config::{DatabaseSection, McpServerSection, ToolsSection};
use crate::failure::Failure;

/// Backends that are kept; one is made anew for a definition that was not called for long.
const KEPT: usize = 2_000;

/// What all definitions share.
struct Shared {
    client: HttpClient,
    databases: BTreeMap<String, SqlDatabase>,
    searches: VectorSearches,
    secrets: Secrets,
}

type Secrets = Option<Arc<dyn SecretSource>>;

/// Header and secret of each.
type Names = Vec<(String, String)>;

/// Finds backends by definitions.
///
/// # Errors
/// Kind `Settings` for a server or a database that cannot be used.
pub(super) fn find(
    section: &ToolsSection,
    searches: VectorSearches,
    secrets: Secrets,
) -> Result<Backends, Failure> {
    let internal: BTreeSet<String> =
        section.internal_hosts.iter().map(|host| host.to_lowercase()).collect();
    let egress = rules(internal);
    let wrong = |error: &dyn std::fmt::Display| Failure::settings(format!("tools: {error}"));
    let client =
        HttpClient::new(&HttpSettings::default(), egress).map_err(|error| wrong(&error))?;
    let mut servers: BTreeMap<String, Arc<dyn Backend>> = BTreeMap::new();
    for server in &section.mcp_servers {
        let backend = mcp(server, &secrets).map_err(|error| wrong(&error))?;
        servers.insert(server.name.clone(), backend);
    }
    let mut databases = BTreeMap::new();
    for one in &section.databases {
        let made = database(one, &secrets)
            .map_err(|error| wrong(&format_args!("databases: {}: {error}", one.name)))?;
        databases.insert(one.name.clone(), made);
    }
    let shared = Shared { client, databases, searches, secrets };
    let kept: Mutex<BTreeMap<String, Arc<dyn Backend>>> = Mutex::default();
    Ok(Arc::new(move |definition: &Definition| {
        if let Runs::Mcp { server, .. } = &definition.backend {
            let known = || format!("this node knows no MCP server {server}; see tools.mcp_servers");
            return servers.get(server).cloned().ok_or_else(known);
        }
        let hash = definition.hash().to_string();
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backend) = kept.get(&hash) {
            return Ok(Arc::clone(backend));
        }
        let backend = backend(definition, &shared)?;
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(hash, Arc::clone(&backend));
        Ok(backend)
    }))
}

/// Any host at a public address, and the operator's own at any.
fn rules(internal: BTreeSet<String>) -> Egress {
    let internal = Arc::new(internal);
    let names: BTreeSet<String> = internal
        .iter()
        .map(|host| host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name).to_owned())
        .collect();
    let host = move |host: &str, port: u16| {
        let Ok(address) = host.parse::<IpAddr>() else { return Ok(()) };
        match is_public(address) || internal.contains(&format!("{host}:{port}")) {
            true => Ok(()),
            false => Err(private(host)),
        }
    };
    let address =
        move |host: &str, address: IpAddr| match is_public(address) || names.contains(host) {
            true => Ok(()),
            false => Err(private(host)),
        };
    Egress::new(host, address)
}

fn private(host: &str) -> Refusal {
    let why = format!(
        "{host} stands for an address that is not public; an operator may name it in \
         tools.internal_hosts"
    );
    Refusal { why }
}

fn mcp(
    server: &McpServerSection,
    secrets: &Secrets,
) -> Result<Arc<dyn Backend>, headwater_backends_mcp::SettingsError> {
    let names = server.secret.iter().map(|secret| ("authorization".to_owned(), secret.clone()));
    let headers = headers(names.collect(), secrets);
    // An operator has named it.
    let backend =
        McpBackend::new(ClientSettings::http(&server.url), headers, Egress::everywhere())?;
    Ok(Arc::new(backend))
}

fn database(
    section: &DatabaseSection,
    secrets: &Secrets,
) -> Result<SqlDatabase, headwater_backends_sql::SettingsError> {
    let password = headers(vec![("password".to_owned(), section.secret.clone())], secrets);
    SqlDatabase::new(section.settings(), password)
}

fn backend(definition: &Definition, shared: &Shared) -> Result<Arc<dyn Backend>, String> {
    match &definition.backend {
        Runs::Http { url, method, arguments } => {
            let operation = operation(method, url, arguments)?;
            let named = definition.egress.iter().flat_map(|egress| &egress.headers);
            let names = named.map(|one| (one.header.clone(), one.secret.clone())).collect();
            let backend = shared.client.backend(operation, headers(names, &shared.secrets));
            Ok(Arc::new(backend.map_err(|error| error.to_string())?))
        }
        Runs::Builtin { builtin: Builtin::HttpFetch, settings } => {
            let bytes_max = settings.get("bytes_max").and_then(serde_json::Value::as_u64);
            let own = FetchLimits::default();
            let limits = FetchLimits { bytes_max: bytes_max.unwrap_or(own.bytes_max), ..own };
            Ok(Arc::new(shared.client.fetcher(limits)))
        }
        Runs::Builtin { builtin: Builtin::SqlRead, settings } => {
            let name = settings.get("database").and_then(serde_json::Value::as_str);
            let name = name.unwrap_or_default();
            let database = shared.databases.get(name).ok_or_else(|| {
                format!("this node knows no database {name}; see tools.databases")
            })?;
            let rows_max = settings.get("rows_max").and_then(serde_json::Value::as_u64);
            let rows_max = rows_max.and_then(|rows_max| u32::try_from(rows_max).ok());
            Ok(Arc::new(database.backend(rows_max.unwrap_or(SqlBackend::ROWS_MAX))))
        }
        Runs::Builtin { builtin: Builtin::VectorSearch, settings } => {
            Ok(Arc::new(shared.searches.backend(settings)))
        }
        other => Err(format!("this node has nothing that answers {}", other.word())),
    }
}

/// The request that a definition tells of.
fn operation(method: &str, url: &str, arguments: &HttpArguments) -> Result<Operation, String> {
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        _ => Method::Post,
    };
    let (parameters, rest, dry_run) = match arguments {
        HttpArguments::All(place) => {
            let rest = match place {
                ArgumentsIn::Json => Body::Rest,
                ArgumentsIn::Query | ArgumentsIn::Path => Body::Query,
            };
            return Operation::of(method, url, rest).map_err(|error| error.to_string());
        }
        HttpArguments::Each { parameters, rest, dry_run } => (parameters, rest, dry_run),
    };
    let dry_run = dry_run.as_ref().map(|one| DryRun {
        place: place(one.place),
        name: one.name.clone(),
        value: one.value.clone(),
    });
    let body = match rest {
        HttpRest::None => Body::None,
        HttpRest::Query => Body::Query,
        HttpRest::Body => Body::Rest,
        HttpRest::Argument(argument) => Body::Argument { argument: argument.clone() },
    };
    let parameters = parameters.iter().map(parameter).collect();
    Ok(Operation { method, url: url.to_owned(), parameters, body, dry_run })
}

fn parameter(one: &HttpParameter) -> Parameter {
    Parameter {
        argument: one.argument.clone(),
        place: place(one.place),
        name: one.name.clone(),
        commas: one.commas,
    }
}

fn place(place: HttpPlace) -> ParameterPlace {
    match place {
        HttpPlace::Path => ParameterPlace::Path,
        HttpPlace::Query => ParameterPlace::Query,
        HttpPlace::Header => ParameterPlace::Header,
    }
}

/// Headers with values of the calling team's secrets, fetched for each call.
fn headers(names: Names, secrets: &Secrets) -> SecretHeaders {
    if names.is_empty() {
        return no_headers();
    }
    let (names, secrets) = (Arc::new(names), secrets.clone());
    Arc::new(move |invocation: Option<&Invocation>| {
        let (names, secrets) = (Arc::clone(&names), secrets.clone());
        let team = invocation.map(|one| one.tenant.clone());
        Box::pin(async move {
            let refused = |why: String| BackendError::Refused { why };
            let Some(team) = team else { return Ok(Vec::new()) };
            let Some(secrets) = secrets else {
                return Err(refused("this node has no source of secrets".to_owned()));
            };
            let mut all = Vec::new();
            for (header, secret) in names.iter() {
                let name = SecretName::new(secret).map_err(|error| refused(error.to_string()))?;
                let value = secrets.get(&team, &name).await;
                let value = value.map_err(|error| refused(error.to_string()))?;
                let value = match header.as_str() {
                    "authorization" => format!("Bearer {}", value.expose()),
                    _ => value.expose().to_owned(),
                };
                all.push(SecretHeader::new(header.clone(), value));
            }
            Ok(all)
        })
    })
}
