//! The quota workloads: nodes that run the real caller, members, leases, owners and quota
//! handles over a simulated network and one shared store that fails.

mod books;
mod chaos;
mod client;
mod diary;
mod finish;
mod links;
mod mail;
mod network;
mod node;
mod options;
mod receiver;
mod watch;
mod witness;

use std::sync::Arc;

use headwater_cluster::NodeId;

use crate::outcome::Outcome;
use crate::shared_store::SharedStore;
use crate::world::{End, World};

use client::Crowd;
use diary::Diary;
use mail::Mail;
use network::Net;
use node::{Cluster, Place};
use options::Options;
use receiver::Receiver;
use watch::OwnerWatch;
use witness::Books;

pub(crate) use options::{Kind, sometimes};

/// Runs one seed of this kind.
pub(crate) fn run(kind: Kind, seed: u64) -> Outcome {
    let world = World::new(seed);
    let options = Arc::new(Options::draw(&world, kind));
    let diary = Diary::new(&world);
    let mail = Mail::new(&world, options.heal_ms);
    let books = Books::new(&world, &diary, &mail, &options);
    let witness = books.clone();
    let store = SharedStore::draw(
        &world,
        options.mishaps,
        options.slow_ms,
        Arc::new(move |commit| witness.see(commit)),
    );
    let net = Net::new(&world, options.late_percent);
    let described = format!("{}; store: {}", options.describe(), store.describe());
    let places = (0..options.nodes).filter_map(|number| {
        let node = NodeId::new(format!("node-{number}")).ok()?;
        Some(Place::new(node, options.wall_base_ms(&world)))
    });
    let cluster = Cluster::new(&world, &net, &store, &options, &mail, places.collect());
    let receiver = Receiver::new(&world);
    let crowd = Crowd { world: world.clone(), cluster, diary, books, receiver };
    for place in crowd.cluster.places.iter() {
        crowd.start(place);
    }
    world.spawn(links::watch(net));
    world.spawn(finish::set_limits(crowd.clone()));
    world.spawn(chaos::make(crowd.clone()));
    world.spawn(watch::watch_waiting(crowd.clone()));
    world.spawn(finish::heal_and_check(crowd.clone()));
    let mut owners = OwnerWatch::new(&crowd);
    let end = world.run_watched(options.end_ms, || owners.look());
    // The nodes look for what is due for ever.
    if end != End::OutOfTime {
        world.violated("everything_comes_to_rest", format_args!("the world ended {end:?}"));
    }
    crowd.cluster.close();
    let (trace, counts, violations) = world.take_notes();
    world.clear();
    Outcome { seed, options: described, counts, violations, trace }
}
