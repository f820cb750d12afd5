//! What a seed of the quota workloads draws: nodes, tenants, clocks, times and troubles.

use headwater_actors::tenancy::{OwnersSettings, TenancySettings};
use headwater_cluster::KeeperSettings;
use headwater_tenancy::{
    Amounts, EdgeSettings, GrantSettings, Limit, OwnerSettings, Thresholds, Unit, Window,
};

use super::chaos::Episode;
use crate::world::World;

/// A set of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Many requests, and every trouble there is.
    QuotaStorm,
    /// Owners lose their leases all the time.
    LeaseThrash,
    /// One node after the other leaves in good order and comes back.
    RollingRestart,
    /// The nodes and the store fall apart.
    SplitBrain,
}

const STORM: &[Episode] = &[
    Episode::Isolated,
    Episode::Split,
    Episode::OneWay,
    Episode::StoreCut,
    Episode::Alone,
    Episode::StoreDown,
    Episode::StoreSlow,
    Episode::Kill,
    Episode::Freeze,
    Episode::Drain,
    Episode::LimitsChange,
    Episode::ClockJump,
];

const THRASH: &[Episode] = &[
    Episode::StoreCut,
    Episode::StoreSlow,
    Episode::Kill,
    Episode::Freeze,
    Episode::Isolated,
    Episode::ClockJump,
];

const ROLLING: &[Episode] = &[Episode::Drain];

const SPLIT: &[Episode] =
    &[Episode::Split, Episode::OneWay, Episode::Alone, Episode::StoreCut, Episode::Isolated];

impl Kind {
    fn troubles(self, world: &World) -> Vec<Episode> {
        let (all, percent) = match self {
            Kind::QuotaStorm => (STORM, 50),
            Kind::LeaseThrash => (THRASH, 60),
            Kind::RollingRestart => (ROLLING, 100),
            Kind::SplitBrain => (SPLIT, 70),
        };
        all.iter().copied().filter(|_| world.percent(percent)).collect()
    }
}

/// Thresholds of limits that are told of.
const THRESHOLDS: [u8; 3] = [50, 80, 100];

/// A team, or a project or user of one; without limits there is no bound.
#[derive(Debug, Clone)]
pub(super) struct Tenant {
    pub(super) name: String,
    pub(super) limits: Vec<Limit>,
    /// Whether its limits admit something in every window of a run.
    pub(super) probed: bool,
}

/// See the module. Times without another word are virtual ms.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) nodes: usize,
    /// In each process.
    pub(super) clients: u64,
    /// In each process: those who fight for leases of their own.
    pub(super) slot_holders: u64,
    /// From one request of a client to the next.
    pub(super) pause_ms: (u64, u64),
    pub(super) tenants: Vec<Tenant>,
    pub(super) episodes: Vec<Episode>,
    /// From one episode to the next.
    pub(super) calm_ms: (u64, u64),
    pub(super) one_by_one: bool,
    /// Most thousandths of the store's steps in which each mishap strikes.
    pub(super) mishaps: u64,
    /// Longest slow step of the store.
    pub(super) slow_ms: u64,
    pub(super) late_percent: u64,
    pub(super) keeper: KeeperSettings,
    pub(super) owners: OwnersSettings,
    pub(super) tenancy: TenancySettings,
    pub(super) outage_share_percent: u64,
    /// What an edge may admit in an outage for a tenant that it never met.
    pub(super) fallback: Amounts,
    /// The true time at virtual 0, in ms since 1970.
    pub(super) base_ms: u64,
    pub(super) heal_ms: u64,
    /// Clients stop.
    pub(super) stop_ms: u64,
    /// In a new window everybody is served.
    pub(super) probe_ms: u64,
    /// Everything is written down.
    pub(super) drain_ms: u64,
    pub(super) end_ms: u64,
}

/// 1 October 2026, 00:00 UTC: a minute, a day and a month begin.
const MONTH_BEGINS_MS: u64 = 1_790_812_800_000;
const NOON_MS: u64 = 12 * 60 * 60 * 1000;
/// The most by which a clock jumps in all, in ms: longer than a lease, and short enough that the
/// window of the last requests is over for every clock when everybody must be served.
pub(super) const JUMPS_MS: u64 = 6_000;

impl Options {
    pub(super) fn draw(world: &World, kind: Kind) -> Options {
        let boundary_ms = world.between(12_000, 30_000);
        let begins_ms = MONTH_BEGINS_MS + if world.percent(70) { NOON_MS } else { 0 };
        let heal_ms = boundary_ms + 38_000;
        let is_storm = kind == Kind::QuotaStorm;
        let is_thrash = kind == Kind::LeaseThrash;
        let grants = GrantSettings {
            allowance_ms: world.between(1_000, 3_000),
            share: world.between(2, 8),
            outage_share_percent: world.between(5, 15),
        };
        let outage_share_percent = grants.outage_share_percent;
        let fallback = Amounts { requests: 3, tokens: 120, micro_usd: Amounts::UNLIMITED };
        let pauses = if is_storm { (20, world.between(100, 800)) } else { (100, 1_500) };
        Options {
            nodes: world.between(2, 4) as usize,
            clients: if is_thrash { 1 } else { world.between(1, 3) },
            slot_holders: if is_thrash { 2 } else { 0 },
            pause_ms: pauses,
            tenants: tenants(world),
            episodes: kind.troubles(world),
            calm_ms: if is_thrash { (200, 3_000) } else { (500, 6_000) },
            one_by_one: kind == Kind::RollingRestart,
            mishaps: if is_storm || is_thrash { 30 } else { 8 },
            slow_ms: 6_000,
            late_percent: world.between(0, 8),
            keeper: KeeperSettings {
                ttl_ms: world.between(2_000, 3_500),
                max_skew_ms: 500,
                renew_ms: world.between(500, 1_000),
            },
            owners: OwnersSettings {
                grants,
                owner: OwnerSettings {
                    batch_operations: world.between(1, 16) as usize,
                    batch_entries: 16,
                    queue_operations: 256,
                },
                thresholds: Thresholds::new(THRESHOLDS).unwrap_or_default(),
                idle_ms: world.between(3_000, 30_000),
                rebalance_ms: world.between(1_000, 5_000),
                adopt_ms: 1_000,
            },
            tenancy: TenancySettings {
                edge: EdgeSettings {
                    outage_ms: 6_000,
                    outage_fallback: fallback,
                    waiting_max: 64,
                    entries_max: 1_000,
                    report_entries: 256,
                    retry_ms: 200,
                    used_up_ms: 200,
                },
                patience_ms: world.between(2_000, 4_500),
                wait_ms: 6_000,
                written_ms: 2_000,
            },
            outage_share_percent,
            fallback,
            base_ms: begins_ms - boundary_ms,
            heal_ms,
            stop_ms: boundary_ms + 52_000,
            probe_ms: boundary_ms + 62_000,
            drain_ms: boundary_ms + 72_000,
            end_ms: boundary_ms + 90_000,
        }
    }

    /// Those that are whole teams.
    pub(super) fn teams(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.iter().filter(|tenant| !tenant.name.contains('/'))
    }

    /// Whether clocks differ by more than they may.
    pub(super) fn clocks_jump(&self) -> bool {
        self.episodes.contains(&Episode::ClockJump)
    }

    /// The most by which a wall clock is off, in ms.
    pub(super) fn most_skew_ms(&self) -> u64 {
        let jumps_ms = if self.clocks_jump() { JUMPS_MS } else { 0 };
        self.keeper.max_skew_ms + jumps_ms
    }

    /// What one node's wall clock reads at virtual 0.
    pub(super) fn wall_base_ms(&self, world: &World) -> u64 {
        self.base_ms - self.keeper.max_skew_ms / 2 + world.between(0, self.keeper.max_skew_ms)
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "{} nodes × {} clients every {:?} ms, ttl {} ms, allowances {} ms, 1/{} of the rest, \
             batches of {}, patience {} ms, {} % of envelopes late; troubles: {:?}",
            self.nodes,
            self.clients,
            self.pause_ms,
            self.keeper.ttl_ms,
            self.owners.grants.allowance_ms,
            self.owners.grants.share,
            self.owners.owner.batch_operations,
            self.tenancy.patience_ms,
            self.late_percent,
            self.episodes,
        )
    }
}

fn limit(model: Option<&str>, unit: Unit, window: Window, amount: u64) -> Limit {
    Limit { model: model.map(str::to_owned), unit, window, amount }
}

fn tenants(world: &World) -> Vec<Tenant> {
    let minute = Window::Minute;
    let tenant = |name: &str, limits: Vec<Limit>, probed: bool| Tenant {
        name: name.to_owned(),
        limits,
        probed,
    };
    let mut tenants = vec![
        tenant(
            "plain",
            vec![
                limit(None, Unit::Requests, minute, world.between(20, 200)),
                limit(None, Unit::Tokens, minute, world.between(400, 4_000)),
            ],
            true,
        ),
        tenant(
            "modelled",
            vec![
                limit(None, Unit::Requests, minute, world.between(40, 300)),
                limit(Some("large"), Unit::Requests, minute, world.between(10, 40)),
                limit(Some("large"), Unit::Tokens, minute, world.between(100, 800)),
            ],
            true,
        ),
    ];
    if world.percent(60) {
        let limits = vec![
            limit(None, Unit::Requests, minute, world.between(20, 200)),
            limit(None, Unit::Requests, Window::Day, world.between(40, 400)),
            limit(None, Unit::Tokens, Window::Month, world.between(1_000, 9_000)),
        ];
        tenants.push(tenant("capped", limits, false));
        let limits = vec![limit(None, Unit::Tokens, Window::Month, world.between(300, 3_000))];
        tenants.push(tenant("capped//ann", limits, false));
    }
    if world.percent(50) {
        let limits = vec![limit(None, Unit::Requests, minute, world.between(10, 100))];
        tenants.push(tenant("plain/search", limits, true));
    }
    if world.percent(50) {
        let limits = vec![limit(None, Unit::Requests, Window::Day, world.between(10, 100))];
        tenants.push(tenant("plain//ann", limits, false));
    }
    if world.percent(30) {
        tenants.push(tenant("free", Vec::new(), true));
    }
    tenants
}

const SEEN_IN_STORMS: &[&str] = &[
    "a limit of a project or user used up",
    "a project or user paid",
    "admitted",
    "admitted in an outage",
    "allowance returned",
    "ask repeated",
    "client left while waiting",
    "clock jumped",
    "commit unknown, done",
    "commit unknown, late",
    "commit unknown, lost",
    "entry reported again",
    "envelope lost",
    "everything written down",
    "limits changed",
    "link lost by silence",
    "node cut from the store",
    "node drained",
    "node frozen",
    "node killed",
    "nodes cut off",
    "nodes cut off one way",
    "notice not taken",
    "notice told",
    "notice told again",
    "owner changed at once",
    "served after healing",
    "settled and written",
    "settled without a word",
    "share given back unused",
    "store conflict",
    "store down",
    "store slow",
    "stale owner refused",
    "takeover after expiry",
    "unanswered",
    "used up",
];

/// What must happen in some of many seeds of this kind.
pub(crate) fn sometimes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::QuotaStorm => SEEN_IN_STORMS,
        Kind::LeaseThrash => &[
            "claim unanswered",
            "lease handed over",
            "lease held by another",
            "lease lost while held",
            "node frozen",
            "node killed",
            "owner changed at once",
            "stale effect refused",
            "stale owner refused",
            "store answer late",
            "takeover after expiry",
        ],
        Kind::RollingRestart => &[
            "everything written down",
            "node drained",
            "owner changed at once",
            "served after healing",
            "tenants handed over by a leaving node",
        ],
        Kind::SplitBrain => &[
            "admitted in an outage",
            "link lost by silence",
            "link up",
            "node alone",
            "node cut from the store",
            "nodes cut off",
            "nodes cut off one way",
            "served after healing",
            "takeover after expiry",
            "unanswered",
        ],
    }
}
