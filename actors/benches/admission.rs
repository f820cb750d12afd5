//! What an admission costs at the edge: the decision alone, and with its entry in the ledger.
//!
//! The baseline is a counter for each tenant behind one lock: what a limiter costs that neither
//! shares its limit with other nodes nor keeps a ledger.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater_actors::caller::Caller;
use headwater_actors::cluster::{
    Claimant, Incarnation, KeeperSettings, Leases, Member, MemberState, Members, MembersSettings,
    NodeId, ProtocolRange,
};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::{
    Amounts, Limit, Limits, OwnerHost, Owners, OwnersSettings, TenancyHandle, TenancyMetrics,
    TenancySettings, Unit, Window,
};
use headwater_cluster::{MemoryLimits, MemoryNetwork};
use headwater_storage::Environment;
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;

const DECISIONS: u64 = 1_000_000;
const CHARGES: u64 = 100_000;
const CLIENTS: u64 = 64;
const ESTIMATE: Amounts = Amounts { requests: 1, tokens: 100, micro_usd: 0 };

/// Processor time of this process, in seconds, from the kernel's hundredths.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a line").split_whitespace().collect();
    let ticks = |place: usize| fields[place].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

struct Measured {
    what: &'static str,
    cpu_us: f64,
    per_s: f64,
}

fn measured(what: &'static str, count: u64, began: (Instant, f64)) -> Measured {
    let elapsed_s = began.0.elapsed().as_secs_f64();
    let cpu_us = (cpu_s() - began.1) * 1e6 / count as f64;
    Measured { what, cpu_us, per_s: count as f64 / elapsed_s }
}

fn baseline() -> Measured {
    let counters: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let began = (Instant::now(), cpu_s());
    for _ in 0..DECISIONS {
        let mut counters = counters.lock().expect("no panic");
        let counter = counters.entry(black_box("acme").to_owned()).or_default();
        *counter += black_box(100);
    }
    measured("baseline: one counter behind a lock", DECISIONS, began)
}

async fn handle() -> TenancyHandle {
    let origin = Instant::now();
    let draws = std::sync::atomic::AtomicU64::new(1);
    let environment = Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        move || draws.fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed),
    );
    let wall_ms = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let runtime = Runtime::tokio(environment.clone(), move || wall_ms() as u64);
    let node = NodeId::new("bench").expect("a name");
    let claimant = Claimant { node: node.clone(), incarnation: Incarnation(1) };
    let limits = MemoryLimits { queue_envelopes: 1, payload_bytes: 1, streams: 1, stream_bytes: 1 };
    let transport = MemoryNetwork::new(limits).join(node.clone(), Incarnation(1));
    let caller = Caller::new(node.clone(), Arc::new(transport), runtime.clone());
    let me = Member {
        node,
        incarnation: Incarnation(1),
        state: MemberState::Alive,
        revision: 0,
        address: String::new(),
        capacity: 1,
        load: 0,
        offers: Default::default(),
        versions: ProtocolRange { oldest: 1, newest: 1 },
    };
    let members = Members::new(caller.clone(), me, MembersSettings::default());
    let store = Arc::new(MemoryStore::new(environment.clone()));
    let retry = Retry::new(store, environment, RetryPolicy::default());
    let leases = Leases::new(runtime.clone(), retry.clone(), claimant, KeeperSettings::default());
    let host = OwnerHost::actors().await.expect("starts");
    let (calling, seen) = (caller.clone(), members.clone());
    Owners::new(calling, seen, leases.clone(), retry, host, OwnersSettings::default());
    let metrics = TenancyMetrics::register(&mut Registry::default());
    let handle = TenancyHandle::new(caller, members, TenancySettings::default(), metrics);
    runtime.spawn(leases.run());
    runtime.spawn(handle.clone().run());
    let limit = Limit { model: None, unit: Unit::Tokens, window: Window::Day, amount: 1 << 50 };
    handle.set_limits("acme", Limits { revision: 0, limits: vec![limit] }).await.expect("sets");
    handle
}

/// Reserves and gives back: no share leaves, so every decision finds an allowance.
async fn decisions(handle: &TenancyHandle) -> Measured {
    let began = (Instant::now(), cpu_s());
    for _ in 0..DECISIONS {
        drop(black_box(handle.reserve("acme", "model", ESTIMATE).await.expect("admitted")));
    }
    measured("decision at the edge, share given back", DECISIONS, began)
}

/// 64 clients reserve, settle and wait for the ledger's transaction, which they share.
async fn charges(handle: &TenancyHandle) -> Measured {
    let began = (Instant::now(), cpu_s());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move {
                for _ in 0..CHARGES / CLIENTS {
                    let share = handle.reserve("acme", "model", ESTIMATE).await.expect("admitted");
                    share.settle(ESTIMATE).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no panic");
    }
    measured("decision, settled and written down, 64 clients", CHARGES, began)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let rows = runtime.block_on(async {
        let handle = handle().await;
        vec![baseline(), decisions(&handle).await, charges(&handle).await]
    });
    let base = rows[0].cpu_us;
    println!("{:<52} {:>8} {:>12} {:>8}", "what", "CPU µs", "per s", "ratio");
    for row in &rows {
        let ratio = row.cpu_us / base;
        println!("{:<52} {:>8.2} {:>12.0} {:>7.1}×", row.what, row.cpu_us, row.per_s, ratio);
    }
}
