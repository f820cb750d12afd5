//! The same suite over doubles of `firecracker` and `jailer`: it proves the agent, the frames and the
//! engine's own steps. It proves nothing about the wall, which the doubles do not have.

use headwater_sandbox_firecracker::Settings;

#[allow(dead_code, reason = "each file of tests uses a part of it")]
#[path = "support/bench.rs"]
mod bench;
#[path = "support/image.rs"]
mod image;
#[path = "support/witness.rs"]
mod witness;

use bench::{bench, guest_image};
use witness::{Host, suite};

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_holds_attackers_to_what_it_promises() {
    let Some(bench) = bench("") else { return };
    // Without a guest's cgroup, attackers of many processes would meet the limit of the machine, and
    // the double would die of it.
    let roomy = |settings: &mut Settings| settings.overhead_bytes = 4 << 30;
    let engine = bench.with(roomy);
    let state = bench.folder.path().join("state").canonicalize().unwrap();
    let mut host = Host::new(bench.folder.path(), &state);
    suite(&engine, &guest_image(), &mut host).await;
    bench.is_empty().await;
}
