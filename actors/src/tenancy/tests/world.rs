//! Nodes with an edge and owners.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use ractor::ActorRef;

use super::super::actor::SupervisorMessage;
use crate::cluster::tests::world::{Node, World, until, within};
use crate::cluster::{Member, MembersSettings};
use crate::tenancy::{
    Amounts, LedgerRow, Limit, Limits, OwnerHost, Owners, OwnersSettings, Refusal, Share,
    TenancyHandle, TenancyMetrics, TenancySettings, Unit, Window, ledger_rows, tenant_key,
    usage_rows,
};

pub(crate) const TENANT: &str = "acme";
pub(crate) const MODEL: &str = "large";

/// How a node is set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) as_tasks: bool,
    pub(crate) edge: TenancySettings,
    pub(crate) owners: OwnersSettings,
    /// Without it the edge does nothing by itself.
    pub(crate) edge_runs: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            as_tasks: false,
            edge: TenancySettings::default(),
            owners: OwnersSettings::default(),
            edge_runs: true,
        }
    }
}

pub(crate) struct Site {
    pub(crate) node: Node,
    pub(crate) owners: Owners,
    pub(crate) handle: TenancyHandle,
    /// None where the owners are tasks.
    pub(crate) supervisor: Option<ActorRef<SupervisorMessage>>,
    registry: Registry,
}

impl Site {
    pub(crate) async fn start(world: &World, name: &str, setup: Setup) -> Site {
        Site::start_as(world, name, setup, |_| {}).await
    }

    pub(crate) async fn start_as(
        world: &World,
        name: &str,
        setup: Setup,
        change: impl FnOnce(&mut Member),
    ) -> Site {
        let node = world.start(name, 1, MembersSettings::default(), change);
        let host = match setup.as_tasks {
            true => OwnerHost::Tasks,
            false => OwnerHost::actors().await.expect("the supervisor starts"),
        };
        let supervisor = match &host {
            OwnerHost::Actors(supervisor) => Some(supervisor.clone()),
            OwnerHost::Tasks => None,
        };
        let (caller, members) = (node.caller.clone(), node.members.clone());
        let owners = Owners::new(
            caller.clone(),
            members.clone(),
            node.leases.clone(),
            world.retry(1000),
            host,
            setup.owners,
        );
        let mut registry = Registry::default();
        let metrics = TenancyMetrics::register(&mut registry);
        let handle = TenancyHandle::new(caller, members, setup.edge, metrics);
        node.runtime.spawn(owners.clone().run());
        if setup.edge_runs {
            node.runtime.spawn(handle.clone().run());
        }
        Site { node, owners, handle, supervisor, registry }
    }

    pub(crate) async fn reserve(&self, tokens: u64) -> Result<Share, Refusal> {
        within(self.handle.reserve(TENANT, MODEL, usage(tokens))).await
    }

    /// Reserves and settles the same amount.
    pub(crate) async fn charge(&self, tokens: u64) -> Result<(), Refusal> {
        let share = self.reserve(tokens).await?;
        assert!(!share.is_unverified());
        within(share.settle(usage(tokens))).await;
        Ok(())
    }

    pub(crate) async fn set_limits(&self, limits: Limits) -> u64 {
        within(self.handle.set_limits(TENANT, limits)).await.expect("the owner answers")
    }

    pub(crate) fn owns(&self, tenant: &str) -> bool {
        self.owners.tenants().iter().any(|(owned, _)| owned == tenant)
    }

    /// The value of a metric; 0 when it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("encodes");
        let start = format!("headwater_tenancy_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

/// Sites of these names that know each other.
pub(crate) async fn sites(world: &World, names: &[&str], setup: Setup) -> Vec<Site> {
    let mut sites = Vec::new();
    for name in names {
        sites.push(Site::start(world, name, setup).await);
    }
    know_each_other(&sites.iter().collect::<Vec<_>>()).await;
    sites
}

/// Waits until each of these may place a tenant on any of them.
pub(crate) async fn know_each_other(sites: &[&Site]) {
    let candidates = |site: &Site| site.node.members.candidates(b"any", usize::MAX).len();
    until(|| sites.iter().all(|site| candidates(site) == sites.len())).await;
}

/// A tenant whose best place is this node.
pub(crate) fn tenant_at(site: &Site) -> String {
    let is_best = |tenant: &String| {
        let best = site.node.members.candidates(&tenant_key(tenant), 1);
        best == std::slice::from_ref(&site.node.id)
    };
    (0..).map(|number| format!("tenant-{number}")).find(is_best).expect("one in a few")
}

/// One request of so many tokens.
pub(crate) fn usage(tokens: u64) -> Amounts {
    Amounts { requests: 1, tokens, micro_usd: 0 }
}

pub(crate) fn minute(amount: u64) -> Limit {
    Limit { model: None, unit: Unit::Tokens, window: Window::Minute, amount }
}

/// Tokens a minute, over all models.
pub(crate) fn minute_limits(amount: u64) -> Limits {
    Limits { revision: 0, limits: vec![minute(amount)] }
}

/// The whole ledger of a tenant, read in pages.
pub(crate) async fn ledger(world: &World, tenant: &str) -> Vec<LedgerRow> {
    let retry = world.retry(5000);
    let mut rows: Vec<LedgerRow> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.entry.id.0);
        let page = ledger_rows(&retry, tenant, after, 7).await.expect("reads");
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

pub(crate) fn tokens_of(rows: &[LedgerRow]) -> u64 {
    rows.iter().map(|row| row.entry.used.tokens).sum()
}

/// The sum over the rows by day and model, which must say the same as the ledger.
pub(crate) async fn used(world: &World, tenant: &str) -> Amounts {
    let rows = usage_rows(&world.retry(5000), tenant, 1000).await.expect("reads");
    rows.into_iter().fold(Amounts::ZERO, |sum, (_, _, used)| sum.plus(used))
}
