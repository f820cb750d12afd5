//! The node's side: the same shells that the real node starts, over the simulated links.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_actors::caller::Caller;
use headwater_actors::cluster::{
    Claimant, Control, ControlLink, KeeperSettings, Leases, Member, MemberState, Members,
    MembersSettings, ProtocolRange,
};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::{
    Amounts, EdgeSettings, GrantSettings, Limit, Limits, OwnerHost, Owners, OwnersSettings,
    Refusal, Share, TenancyHandle, TenancyMetrics, TenancySettings, Unit, Window, tenant_key,
};
use headwater_cluster::Transport;
use headwater_storage::remote::RemoteStore;
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;

use super::story::Story;
use super::{MODEL, Parameters, tenant};
use crate::lockstep::program::{Command, NodeContext, Program, Reporter, Running};

/// How often the node tells which tenants it owns, in ms.
const SAMPLE_MS: u64 = 10;
/// How long the last entries get to be written, in ms.
const DRAIN_MS: u64 = 800;

pub(super) struct QuotaNode {
    pub(super) parameters: Parameters,
}

impl Program for QuotaNode {
    fn start(&self, context: NodeContext) -> Running {
        Box::pin(live(context, self.parameters.clone()))
    }
}

/// What the tasks of one node share.
struct Shared {
    runtime: Runtime,
    handle: TenancyHandle,
    report: Reporter,
    unsettled: Mutex<u64>,
}

async fn live(mut context: NodeContext, parameters: Parameters) -> Result<(), String> {
    let story = Story { report: context.report.clone() };
    // One process is one node: nobody has set a subscriber before.
    let _ = tracing::subscriber::set_global_default(story);
    let wall = Arc::clone(&context.wall_ms);
    let runtime = Runtime::tokio(context.environment.clone(), move || wall());
    let claimant = Claimant { node: context.node.clone(), incarnation: context.incarnation };
    let store = RemoteStore::new(Arc::clone(&context.store), context.environment.clone());
    let store = Arc::new(store);
    let hasty = |total_ms| {
        let policy = RetryPolicy { total_ms, longest_pause_ms: 100, ..RetryPolicy::default() };
        Retry::new(Arc::clone(&store) as _, context.environment.clone(), policy)
    };
    let transport = Arc::clone(&context.transport);
    let caller = Caller::new(context.node.clone(), transport, runtime.clone());
    let members = Members::new(caller.clone(), member(&claimant), MembersSettings::default());
    let hearing = members.clone();
    let control = Control::start(&context.node, context.incarnation, "secret", move |view| {
        hearing.hear(view)
    });
    let control = control.await.map_err(|error| error.to_string())?;
    let announcing = control.clone();
    members.announce_by(move |node, view| announcing.announce(node, view));
    let keeper = KeeperSettings {
        ttl_ms: parameters.lease_ms,
        max_skew_ms: parameters.max_skew_ms,
        renew_ms: parameters.lease_ms / 3,
    };
    let leases = Leases::new(runtime.clone(), hasty(parameters.lease_ms / 3), claimant, keeper);
    let host = OwnerHost::actors().await.map_err(|error| error.to_string())?;
    let outage_share_percent = parameters.outage_share_percent;
    let grants = GrantSettings { outage_share_percent, ..GrantSettings::default() };
    let settings = OwnersSettings { grants, ..OwnersSettings::default() };
    let (calling, seen) = (caller.clone(), members.clone());
    let owners = Owners::new(calling, seen, leases.clone(), hasty(2_000), host, settings);
    let tokens = parameters.tokens_per_minute * parameters.outage_share_percent / 100;
    let outage_fallback = Amounts { requests: u64::MAX, tokens, micro_usd: u64::MAX };
    let edge = EdgeSettings { outage_ms: 5_000, outage_fallback, ..EdgeSettings::default() };
    let patience_ms = parameters.lease_ms + 1_000;
    let settings = TenancySettings {
        edge,
        patience_ms,
        wait_ms: patience_ms + 2_000,
        ..TenancySettings::default()
    };
    let metrics = TenancyMetrics::register(&mut Registry::default());
    let handle = TenancyHandle::new(caller.clone(), members.clone(), settings, metrics);
    runtime.spawn(caller.run());
    runtime.spawn(members.clone().follow_links());
    runtime.spawn(members.keep_telling());
    runtime.spawn(leases.clone().run());
    runtime.spawn(owners.run());
    runtime.spawn(handle.clone().run());
    runtime.spawn(attach_all(control, std::mem::replace(&mut context.control_links, no_links())));
    runtime.spawn(tell_leases(runtime.clone(), leases, parameters, context.report.clone()));
    for peer in &context.peers {
        context.transport.introduce(peer, "");
    }
    let report = context.report.clone();
    let shared = Arc::new(Shared { runtime, handle, report, unsettled: Mutex::default() });
    while let Some(command) = context.commands.recv().await {
        let shared = Arc::clone(&shared);
        match command {
            Command::Work(work) => shared.runtime.clone().spawn(work_on(shared, work)),
            Command::Finish => shared.runtime.clone().spawn(last_word(shared)),
        }
    }
    Ok(())
}

fn no_links() -> tokio::sync::mpsc::Receiver<crate::lockstep::ControlLink> {
    tokio::sync::mpsc::channel(1).1
}

fn member(claimant: &Claimant) -> Member {
    Member {
        node: claimant.node.clone(),
        incarnation: claimant.incarnation,
        state: MemberState::Alive,
        revision: 0,
        address: String::new(),
        capacity: 2,
        load: 0,
        offers: std::collections::BTreeSet::new(),
        versions: ProtocolRange { oldest: 1, newest: 1 },
    }
}

async fn attach_all(
    control: Control,
    mut links: tokio::sync::mpsc::Receiver<crate::lockstep::ControlLink>,
) {
    while let Some(link) = links.recv().await {
        let (read, write) = tokio::io::split(link.stream);
        let (read, write) = (Box::new(read), Box::new(write));
        control.attach(ControlLink { node: link.peer, dialled: link.dialled, read, write });
    }
}

/// Tells the checker for how long this node holds each tenant at most.
async fn tell_leases(runtime: Runtime, leases: Leases, parameters: Parameters, report: Reporter) {
    // Words overtake each other on their way; the number tells the later one.
    let mut number = 0_u64;
    let mut told: BTreeMap<Vec<u8>, (u64, u64)> = BTreeMap::new();
    let names: BTreeMap<Vec<u8>, String> =
        (0..parameters.tenants).map(tenant).map(|name| (tenant_key(&name), name)).collect();
    loop {
        let now_ms = runtime.now_ms();
        let held: BTreeMap<Vec<u8>, (u64, u64)> = leases
            .holdings()
            .into_iter()
            .map(|(key, epoch, left_ms)| (key, (epoch, now_ms + left_ms)))
            .collect();
        for (key, (epoch, until_ms)) in &held {
            if told.get(key) != Some(&(*epoch, *until_ms))
                && let Some(name) = names.get(key)
            {
                let left_ms = until_ms - now_ms;
                number += 1;
                report.result(format!("holds {name} {epoch} {number} {left_ms}").into_bytes());
            }
        }
        for (key, (epoch, _)) in &told {
            if held.get(key).is_none_or(|(now, _)| now != epoch)
                && let Some(name) = names.get(key)
            {
                number += 1;
                report.result(format!("lost {name} {epoch} {number}").into_bytes());
            }
        }
        told = held;
        runtime.pause(SAMPLE_MS).await;
    }
}

async fn work_on(shared: Arc<Shared>, work: Vec<u8>) {
    let text = String::from_utf8_lossy(&work).into_owned();
    let words: Vec<&str> = text.split(' ').collect();
    let number = |place: usize| {
        words.get(place).and_then(|word| word.parse::<u64>().ok()).unwrap_or_default()
    };
    match words.as_slice() {
        ["use", _, tenant, ..] => {
            let request = Request {
                tag: number(1),
                tenant: (*tenant).to_owned(),
                estimate: number(3),
                used: number(4),
                work_ms: number(5),
                leaves: number(6) == 1,
            };
            serve(&shared, request).await;
        }
        ["limit", tenant, amount] => {
            let amount = amount.parse().unwrap_or_default();
            let limit = Limit { model: None, unit: Unit::Tokens, window: Window::Minute, amount };
            let limits = Limits { revision: 0, limits: vec![limit] };
            let outcome = match shared.handle.set_limits(tenant, limits).await {
                Ok(revision) => format!("limited {tenant} {amount} {revision}"),
                Err(error) => format!("unlimited {tenant} {error}"),
            };
            shared.report.result(outcome.into_bytes());
        }
        _ => shared.report.violated("the_node_reads_its_work", text),
    }
}

struct Request {
    tag: u64,
    tenant: String,
    estimate: u64,
    used: u64,
    work_ms: u64,
    leaves: bool,
}

/// The tag travels as the entry's money, so that the checker can tell entries apart.
fn amounts(tokens: u64, tag: u64) -> Amounts {
    Amounts { requests: 1, tokens, micro_usd: tag }
}

async fn serve(shared: &Shared, request: Request) {
    let Request { tag, tenant, estimate, used, work_ms, leaves } = request;
    let share = shared.handle.reserve(tenant.as_str(), MODEL, amounts(estimate, tag)).await;
    let share: Share = match share {
        Ok(share) => share,
        Err(refusal) => {
            let why = match refusal {
                Refusal::UsedUp { .. } => "used_up",
                Refusal::Unanswered { .. } => "unanswered",
                Refusal::Overloaded { .. } => "overloaded",
            };
            return shared.report.result(format!("refused {tag} {why}").into_bytes());
        }
    };
    let verified = u8::from(!share.is_unverified());
    let admitted = format!("admitted {tag} {verified}");
    shared.report.result(admitted.into_bytes());
    shared.runtime.pause(work_ms).await;
    if leaves {
        drop(share);
        return shared.report.result(format!("left {tag}").into_bytes());
    }
    *shared.unsettled.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    let began_ms = shared.runtime.now_ms();
    share.settle(amounts(used, tag)).await;
    *shared.unsettled.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    let waited_ms = shared.runtime.now_ms() - began_ms;
    shared.report.result(format!("settled {tag} {used} {waited_ms}").into_bytes());
}

async fn last_word(shared: Arc<Shared>) {
    let written = shared.handle.drain(DRAIN_MS).await;
    let unsettled = *shared.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
    shared.report.report(format!("{} {unsettled}", u8::from(written)).into_bytes());
}
