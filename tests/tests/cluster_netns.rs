//! Three nodes in network namespaces of their own, with real partitions; skipped, with the
//! reason, where this user may make no namespaces.

use std::process::Command;
use std::time::Duration;

use headwater_tests::cluster::{
    Cluster, Home, STORE, Shape, alive, await_left_of_minute, member, minute,
};
use headwater_tests::load::{Edges, Load, Tally, Work};

const NODES: u8 = 3;
const LIMIT: u64 = 1_000;
const OUTAGE_BUDGET: u64 = LIMIT / 10;
const QUIC_PORT: u16 = 9400;
/// An upper bound of its tokens is reserved: a token for each letter, and two.
const TEXT: &str = "a ledger of paper in the garden";
const CALM: Duration = Duration::from_secs(2);
const CUT: Duration = Duration::from_secs(8);
const RUN_LONGEST: Duration = Duration::from_secs(30);

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {arguments}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Two bridges with a leg of every namespace on each: one for the cluster, one for clients.
/// Taken away when it is dropped.
struct Networks {
    tag: String,
}

impl Networks {
    /// # Errors
    /// What `ip` refused.
    fn make() -> Result<Networks, String> {
        // Names of interfaces are short, and other runs may have networks too.
        let networks = Networks { tag: format!("hw{:x}", std::process::id() & 0xf_ffff) };
        let tag = &networks.tag;
        for (net, address) in [('c', "10.231.7.254/24"), ('h', "10.231.8.254/24")] {
            ip(&format!("link add {tag}{net} type bridge"))?;
            ip(&format!("addr add {address} dev {tag}{net}"))?;
            ip(&format!("link set {tag}{net} up"))?;
        }
        for node in 1..=NODES {
            ip(&format!("netns add {tag}n{node}"))?;
            ip(&format!("-n {tag}n{node} link set lo up"))?;
            for (net, subnet) in [('c', 7), ('h', 8)] {
                let (outer, inner) = (format!("{tag}{net}{node}"), format!("{net}{node}"));
                ip(&format!("link add {outer} type veth peer name {inner} netns {tag}n{node}"))?;
                ip(&format!("link set {outer} master {tag}{net} up"))?;
                let address = format!("10.231.{subnet}.{node}/24");
                ip(&format!("-n {tag}n{node} addr add {address} dev {inner}"))?;
                ip(&format!("-n {tag}n{node} link set {inner} up"))?;
            }
        }
        Ok(networks)
    }

    fn home(&self, node: u8) -> Home {
        let within = ["ip", "netns", "exec"].map(str::to_owned).to_vec();
        Home {
            within: [within, vec![format!("{}n{node}", self.tag)]].concat(),
            http: [10, 231, 8, node].into(),
            quic: ([10, 231, 7, node], QUIC_PORT).into(),
        }
    }

    /// Takes the cable of a node's cluster leg out, or puts it in again.
    fn cable(&self, node: u8, state: &str) {
        ip(&format!("link set {}c{node} {state}", self.tag)).unwrap();
    }

    /// Whether this kernel loses and delays packets when asked to.
    fn make_lossy(&self) -> Result<(), String> {
        for node in 1..=NODES {
            let device = format!("{}c{node}", self.tag);
            let arguments = ["qdisc", "add", "dev", &device, "root", "netem"];
            let netem = [&arguments[..], &["loss", "10%", "delay", "20ms"]].concat();
            let output = Command::new("tc").args(netem).output();
            let output = output.map_err(|error| format!("tc: {error}"))?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            }
        }
        Ok(())
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for node in 1..=NODES {
            // The legs go with their namespace; what was not made cannot be removed.
            let _ = ip(&format!("netns del {}n{node}", self.tag));
        }
        for net in ['c', 'h'] {
            let _ = ip(&format!("link del {}{net}", self.tag));
        }
    }
}

/// A run over all edges with a disturbance in its midst; the bound holds and the books agree.
fn run(cluster: &Cluster, tenant: &str, disturb: impl FnOnce()) {
    let edges = Edges::new(cluster.addresses().unwrap());
    let work = Work {
        clients: 24,
        token: cluster.token(tenant, "standard").unwrap(),
        text: TEXT.to_owned(),
        pause: Duration::from_millis(800),
    };
    let first = minute();
    let load = Load::start(&work, &edges);
    std::thread::sleep(CALM);
    disturb();
    let samples = load.stop().unwrap();
    // One, unless this machine is very busy.
    let minutes = minute() - first + 1;
    cluster.until_written().unwrap();
    let (requests, tokens) = cluster.usage(STORE, tenant).unwrap();
    println!("  edge   {}   unverified", Tally::HEAD);
    for (edge, tally) in Tally::by_edge(&samples) {
        let start = "headwater_tenancy_admissions_total{outcome=\"unverified\"}";
        let unverified = cluster.metric(&edge, start).unwrap();
        println!("  {edge:<6} {tally}   {unverified}");
        let reserved = unverified * (TEXT.len() as u64 + 2);
        assert!(reserved <= OUTAGE_BUDGET * minutes, "{edge} admitted {unverified} by itself");
    }
    let all = Tally::of(&samples);
    println!("  all    {all}\n  ledger: {requests} requests, {tokens} tokens");
    assert!(all.odd.is_empty(), "{:?}", all.odd);
    assert!(all.admitted > 0 && all.cut == 0, "{all}");
    assert_eq!((requests, tokens), (all.admitted, all.tokens));
    let bound = (LIMIT + OUTAGE_BUDGET * u64::from(NODES)) * minutes;
    assert!(tokens <= bound, "{tokens} tokens, {bound} are the bound");
}

#[test]
fn members_leave_and_come_back_over_a_real_network() {
    let networks = match Networks::make() {
        Ok(networks) => networks,
        Err(reason) => {
            println!("skipped: no network namespaces here: {reason}");
            return;
        }
    };
    let mut shape = Shape::loopback(0).unwrap();
    shape.homes = (1..=NODES).map(|node| networks.home(node)).collect();
    let cluster = Cluster::start(shape).unwrap();
    let all = |status: &serde_json::Value| alive(status) == usize::from(NODES);

    await_left_of_minute(RUN_LONGEST);
    let tenant = cluster.tenant_of("n3", "cable", LIMIT).unwrap();
    run(&cluster, &tenant, || {
        networks.cable(3, "down");
        for node in [STORE, "n2"] {
            let gone = |status: &serde_json::Value| member(status, "n3")["state"] == "unreachable";
            let took = cluster.until_status(node, "n3 unreachable", gone).unwrap();
            println!("{node} missed n3 {} ms after its cable went", took.as_millis());
        }
        std::thread::sleep(CUT);
        networks.cable(3, "up");
        for node in [STORE, "n2", "n3"] {
            let took = cluster.until_status(node, "all alive", all).unwrap();
            println!("{node} saw all {} ms after the cable was back", took.as_millis());
        }
        std::thread::sleep(CALM);
    });

    match networks.make_lossy() {
        Err(reason) => println!("no loss was tried: tc has no netem here: {reason}"),
        Ok(()) => {
            await_left_of_minute(RUN_LONGEST);
            let tenant = cluster.tenant_of("n2", "lossy", LIMIT).unwrap();
            run(&cluster, &tenant, || std::thread::sleep(CUT));
            cluster.until_status(STORE, "all alive", all).unwrap();
        }
    }
}
