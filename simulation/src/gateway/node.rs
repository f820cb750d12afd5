//! One node: the real quotas over the failing store, and the real gateway over them.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use headwater_actors::caller::Caller;
use headwater_actors::cluster::{
    Claimant, KeeperSettings, Leases, Member, MemberState, Members, MembersSettings, ProtocolRange,
};
use headwater_actors::gateway::{
    Action, Alias, AuditHandle, AuditMetrics, AuditSettings, Backend as Answers, ContentMode,
    ContentPolicy, Entity, GatewayConfig, GatewayHandle, GatewayMetrics, GatewayProblem, HashKey,
    MemoryAudit, NearQuestions, Offload, Price, REDACTION_BUDGET_MS, Redaction, RedactionKey,
    RedactionMetrics, RedactionPolicies, RedactionPolicy, Redactor, Target,
};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::{
    Limit, Limits, OwnerHost, Owners, OwnersSettings, TenancyHandle, TenancyMetrics,
    TenancySettings, Unit, Window,
};
use headwater_cluster::{Incarnation, NodeId};
use headwater_cluster::{MemoryLimits, MemoryNetwork};
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;

use super::backend::Backend;
use super::book::Book;
use super::lake::Lake;
use super::options::Options;
use super::wording::{WordingEncoder, semantic};
use crate::shared_store::{Door, DoorStore, SharedStore};
use crate::world::{Group, World};

pub(super) const TENANT: &str = "acme";
pub(super) const CHAT: &str = "chat";
/// In millionths of a dollar for a million tokens: one for an input token, two for one of output.
pub(super) const PRICE: Price = Price::of(1_000_000, 2_000_000);
/// 2026-01-01, in ms since 1970: the world's time 0.
const BASE_MS: u64 = 1_767_225_600_000;

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) world: World,
    pub(super) options: Arc<Options>,
    pub(super) gateway: GatewayHandle,
    /// What the audit lake holds.
    pub(super) records: MemoryAudit,
    group: Group,
    door: Arc<Door>,
}

impl Node {
    pub(super) fn start(
        world: &World,
        options: &Arc<Options>,
        store: &SharedStore,
        book: &Book,
    ) -> Result<Node, GatewayProblem> {
        let group = world.new_group();
        let (wall, spawner) = (world.clone(), world.clone());
        let runtime = Runtime::new(
            world.environment(),
            move || BASE_MS + wall.now_ms(),
            move |task| spawner.spawn_in(group, task),
        );
        let door = store.door(1);
        let policy =
            RetryPolicy { tries: 20, first_pause_ms: 5, longest_pause_ms: 200, total_ms: 1_500 };
        let retry = Retry::new(
            Arc::new(DoorStore(Arc::clone(&door))),
            runtime.environment().clone(),
            policy,
        );
        let wrong = |problem: String| GatewayProblem { field: "node".to_owned(), problem };
        let name = NodeId::new("one").map_err(|error| wrong(error.to_string()))?;
        let tenancy = tenancy(name, &runtime, &retry);
        if let Some(amount) = options.limit {
            let limit = Limit { model: None, unit: Unit::Tokens, window: Window::Minute, amount };
            let limits = Limits { revision: 0, limits: vec![limit] };
            let (handle, pause) = (tenancy.clone(), runtime.clone());
            runtime.spawn(async move {
                while handle.set_limits(TENANT, limits.clone()).await.is_err() {
                    pause.pause(200).await;
                }
            });
        }
        let answers = |(number, mood): (usize, &super::options::Mood)| Answers {
            name: format!("b{number}"),
            protocol: None,
            model: Arc::new(Backend {
                world: world.clone(),
                book: book.clone(),
                mood: *mood,
                tells_always: options.tells_always,
            }),
        };
        let backends: Vec<Answers> = options.backends.iter().enumerate().map(answers).collect();
        let kept = runtime.clone();
        let gateway = GatewayHandle::new(
            runtime,
            tenancy,
            backends,
            config(options),
            BTreeSet::new(),
            options.settings,
            GatewayMetrics::register(&mut Registry::default()),
        )?;
        let gateway = gateway.redacting(redaction()?);
        if let Some(fails) = options.compares {
            gateway.compare_by(comparing(world, fails));
        }
        let records = MemoryAudit::new();
        gateway.record_to(audit(world, options, &kept, &records));
        Ok(Node {
            world: world.clone(),
            options: Arc::clone(options),
            gateway,
            records,
            group,
            door,
        })
    }

    /// The world has ended: what the node still holds keeps nothing of it alive.
    pub(super) fn close(&self) {
        self.world.kill(self.group);
        self.door.close();
    }
}

/// The audit of the node, over a lake that fails.
fn audit(
    world: &World,
    options: &Options,
    runtime: &Runtime,
    records: &MemoryAudit,
) -> AuditHandle {
    let lake = Lake { world: world.clone(), inner: records.clone(), fails: options.audit_fails };
    let flush_interval_ms = options.audit_flush_ms;
    let handle = AuditHandle::new(
        runtime.clone(),
        Arc::new(lake),
        AuditSettings { flush_interval_ms, ..AuditSettings::default() },
        ContentPolicy {
            standard: ContentMode::Hash,
            by_team: Default::default(),
            key: HashKey::new(b"simulated"),
        },
        AuditMetrics::register(&mut Registry::default()),
    );
    runtime.spawn(handle.clone().write());
    runtime.spawn(handle.clone().keep());
    handle
}

fn config(options: &Options) -> GatewayConfig {
    let target = |number: usize| Target::of(&format!("b{number}"), CHAT, 1, PRICE);
    let alias = Alias {
        fallbacks: (options.targets..options.backends.len()).map(target).collect(),
        choice: options.choice,
        output_tokens: 20,
        cache_ttl_ms: 5_000,
        semantic: options.compares.map(|_| semantic()),
        ..Alias::of(CHAT, (0..options.targets).map(target).collect())
    };
    let policy = RedactionPolicy::of(Action::Token, &[Entity::Email]);
    let redaction = RedactionPolicies { standard: Some(Arc::new(policy)), ..Default::default() };
    GatewayConfig { aliases: vec![alias], redaction }
}

/// Compares questions, and cannot do so in this percentage of cases.
fn comparing(world: &World, fails: u64) -> NearQuestions {
    let encoder = Arc::new(WordingEncoder { world: world.clone(), fails });
    NearQuestions::new(encoder, 20_000, &mut Registry::default())
}

/// Emails become tokens. The patterns take longer to compile than a seed takes to run.
pub(crate) fn redaction() -> Result<Redaction, GatewayProblem> {
    static REDACTOR: LazyLock<Result<Arc<Redactor>, String>> =
        LazyLock::new(|| Redactor::new(RedactionKey::new("key"), None).map(Arc::new));
    let problem = |problem: &String| GatewayProblem {
        field: "redaction".to_owned(),
        problem: problem.clone(),
    };
    let redactor = REDACTOR.as_ref().map_err(problem)?;
    let metrics = RedactionMetrics::register(&mut Registry::default());
    let budget_ms = REDACTION_BUDGET_MS;
    Ok(Redaction::new(Arc::clone(redactor), budget_ms, Offload::Inline, metrics))
}

/// The quotas of a node that is alone.
pub(crate) fn tenancy(node: NodeId, runtime: &Runtime, retry: &Retry) -> TenancyHandle {
    let incarnation = Incarnation(1);
    let limits =
        MemoryLimits { queue_envelopes: 100, payload_bytes: 1 << 16, streams: 1, stream_bytes: 1 };
    let transport = MemoryNetwork::new(limits).join(node.clone(), incarnation);
    let caller = Caller::new(node.clone(), Arc::new(transport), runtime.clone());
    let me = Member {
        node: node.clone(),
        incarnation,
        state: MemberState::Alive,
        revision: 0,
        address: "one:1".to_owned(),
        capacity: 1,
        load: 0,
        offers: BTreeSet::new(),
        versions: ProtocolRange { oldest: 1, newest: 1 },
    };
    let members = Members::new(caller.clone(), me, MembersSettings::default());
    let claimant = Claimant { node, incarnation };
    let keeper = KeeperSettings::default();
    let leases = Leases::new(runtime.clone(), retry.clone(), claimant, keeper);
    let owners = Owners::new(
        caller.clone(),
        members.clone(),
        leases.clone(),
        retry.clone(),
        OwnerHost::Tasks,
        OwnersSettings::default(),
    );
    let metrics = TenancyMetrics::register(&mut Registry::default());
    let handle = TenancyHandle::new(caller.clone(), members, TenancySettings::default(), metrics);
    runtime.spawn(caller.run());
    runtime.spawn(leases.run());
    runtime.spawn(owners.run());
    runtime.spawn(handle.clone().run());
    handle
}
