//! The faults that users of other gateways report, as a table: each is provoked here in a cluster
//! of two nodes before simulated providers, and must not show.

mod peer_faults {
    pub(crate) mod honesty;
    pub(crate) mod limits;
    pub(crate) mod streams;
    pub(crate) mod world;
}

use peer_faults::{honesty, limits, streams, world::World};

/// A fault, who has it, and the check that it is not here.
struct Row {
    fault: &'static str,
    told_of: &'static str,
    check: fn(&mut World),
}

const fn row(fault: &'static str, told_of: &'static str, check: fn(&mut World)) -> Row {
    Row { fault, told_of, check }
}

const ROWS: [Row; 19] = [
    row("bad JSON becomes a 500", "Portkey, measured", honesty::bad_json),
    row("413 above 32 KiB", "Envoy AI Gateway PR #2227", honesty::large_body),
    row(
        "Retry-After is lost, a 429 becomes a 502",
        "LiteLLM #40130, TensorZero",
        honesty::upstream_limit,
    ),
    row("a missing price is $0", "LiteLLM #34801, #39501, PR #35913", honesty::missing_price),
    row("audit rows collide on `id: null`", "LiteLLM #13280, #39749", honesty::null_ids),
    row("a guard fails open or buffers the stream", "LiteLLM #30728, #14516", streams::guarded),
    row("usage of streams is 0, double or half", "Kong #14535, apisix #13662", streams::usage),
    row("streams are buffered", "Kong #12680, Higress #1080", streams::not_buffered),
    row("events split over reads are lost", "Envoy AI Gateway PR #2163", streams::split_events),
    row("a cut stream looks whole", "Portkey #1797", streams::cut),
    row("a client leaves, the provider runs on", "LiteLLM #17364, TensorZero", streams::leaver),
    row("spend is lost under concurrency", "LiteLLM #6895, #27989", limits::spend),
    row("limits become N x with N replicas", "LiteLLM #40291, Bifrost #3547", limits::replicas),
    row("a burst passes the budget", "LiteLLM #34732, #40095", limits::burst),
    row("tokens are charged after the answer", "Envoy AI Gateway #2394", limits::reserved),
    row("another route has no budget", "Bifrost #2873, LiteLLM #11083", limits::routes),
    row("memory grows", "LiteLLM #12685, #27954, #38193", limits::memory),
    row("revoked keys come back", "LiteLLM #25553, aisix #779", limits::revoked),
    // The last one: it takes the store away.
    row("a dead store hangs all requests", "LiteLLM PR #35273", limits::dead_store),
];

#[test]
fn the_faults_of_peers_are_not_here() {
    let mut world = World::start();
    for row in &ROWS {
        println!("{} ({})", row.fault, row.told_of);
        (row.check)(&mut world);
    }
}
