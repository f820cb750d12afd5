//! The ingest workload: several nodes' workers over one store and one sink that fail, clients that
//! break off, jobs that are paused and cancelled, documents that are written again. In the end
//! every document has exactly the vectors of its last write.

mod book;
mod chaos;
mod checks;
mod client;
mod embedder;
mod lines;
mod node;
mod options;
mod sink;

use std::sync::Arc;

use headwater_actors::collection::{CollectionSettings, Policy};
use headwater_vectors::memory::MemorySink;

use book::Book;
use client::{COLLECTION, Client, TENANT};
use embedder::{WordEmbedder, model};
use node::Cluster;
use options::Options;
use sink::FarSink;

use crate::outcome::Outcome;
use crate::shared_store::SharedStore;
use crate::world::{End, World};

/// What must happen in some of many seeds.
pub(crate) const SOMETIMES: &[&str] = &[
    "body sent",
    "client broke off",
    "commit unknown, done",
    "commit unknown, late",
    "commit unknown, lost",
    "dead letter queued again",
    "document began",
    "document begun again",
    "document died",
    "document done",
    "document dropped",
    "document superseded",
    "duplicates counted by hand",
    "embedder failed",
    "embedder full",
    "embedder slow",
    "everything checked",
    "job cancelled",
    "job cancelled and ended",
    "job ended",
    "job paused",
    "node cut from the store",
    "node stalled on its way to the store",
    "node drained",
    "node killed",
    "sink answer lost",
    "sink failed",
    "sink request late",
    "store conflict",
    "store down",
    "store slow",
    "two clients sent one body",
];

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let world = World::new(seed);
    let options = Arc::new(Options::draw(&world));
    let book = Book::new(&world);
    let witness = book.clone();
    let store = SharedStore::draw(
        &world,
        25,
        options::LATE_MS,
        Arc::new(move |commit| witness.see(commit)),
    );
    let memory = MemorySink::default();
    let sink = FarSink::new(&world, &memory, options.sink);
    let embedder = WordEmbedder::new(&world, options.versions, options.embedder);
    let described = format!("{}; store: {}", options.describe(), store.describe());
    let cluster = Cluster::new(&world, &options, &store, &sink, &embedder);
    for place in 1..=options.nodes {
        cluster.start(place);
    }
    world.spawn(set_up(cluster.clone(), book.clone()));
    world.spawn(chaos::make(cluster.clone()));
    world.spawn(checks::check(cluster.clone(), book, memory));
    let end = world.run(options.end_ms);
    if end != End::Quiet {
        world.violated("everything_comes_to_rest", format_args!("the world ended {end:?}"));
    }
    cluster.close();
    let (trace, counts, violations) = world.take_notes();
    world.clear();
    Outcome { seed, options: described, counts, violations, trace }
}

/// Creates the collection with its versions, then lets the clients loose.
async fn set_up(cluster: Cluster, book: Book) {
    let (world, options) = (cluster.world.clone(), cluster.options.clone());
    let outside = cluster.outside();
    let collections = outside.collections();
    while collections.get(TENANT, COLLECTION).await.is_err() {
        let settings = CollectionSettings::default();
        let _ = collections.create(TENANT, COLLECTION, &model(1), settings).await;
    }
    if options.versions > 1 {
        let is_building = || async {
            let collection = collections.get(TENANT, COLLECTION).await;
            collection.is_ok_and(|collection| collection.targets().len() > 1)
        };
        while !is_building().await {
            let policy = Policy::default();
            let second = model(2);
            let _ = collections.start_build(TENANT, COLLECTION, &second, policy, None).await;
        }
    }
    let mut next = 0;
    for number in 1..=options.jobs {
        let (client, body) = Client::draw(&cluster, &book, number, &mut next);
        if !options.plain && world.percent(25) {
            world.spawn(client.clone().stream(body.bytes.clone()));
        }
        world.spawn(client.clone().stream(body.bytes));
        if world.percent(60) {
            world.spawn(client.steer(!options.plain));
        }
    }
}
