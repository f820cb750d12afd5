//! Models of other nodes: queries go to the least loaded one, ingest to idle ones only.

use prometheus_client::registry::Registry;

use super::gated::GatedModel;
use super::service::{Service, batching, call, double, expected, limits, served, until, within};
use crate::cluster::MembersSettings;
use crate::cluster::tests::world::{Node, World, meet};
use crate::embedding::{
    EmbedCall, EmbedError, EmbeddingFleet, EmbeddingMetrics, EmbeddingSettings, Pool,
    RemoteEmbedding, ServedElsewhere, Target, offer_of, serve_embedding, start,
};

/// A node that offers the service's model to the others.
fn offering(world: &World, name: &str, service: &Service) -> Node {
    let offer = offer_of(service.model.card());
    let node = world.start(name, 1, MembersSettings::default(), |me| {
        me.capacity = 2;
        me.offers = [offer].into();
    });
    let (caller, handle) = (node.caller.clone(), service.handle.clone());
    node.runtime.spawn(serve_embedding(caller, handle, ServedElsewhere::default()));
    node
}

/// What a node without models of its own asks.
async fn asking(node: &Node) -> EmbeddingFleet {
    let metrics = EmbeddingMetrics::register(&mut Registry::default());
    let none = start(Vec::new(), &limits(), &metrics).await.expect("starts");
    following(node, none)
}

fn following(node: &Node, local: crate::embedding::EmbeddingHandle) -> EmbeddingFleet {
    let (caller, members) = (node.caller.clone(), node.members.clone());
    let remote = RemoteEmbedding::new(caller, members, 60_000, 60_000);
    node.runtime.spawn(remote.clone().follow());
    EmbeddingFleet::with_remote(local, remote)
}

fn set_load(node: &Node, percent: u32) {
    node.members.update(|me| me.load = me.capacity * percent);
}

fn ingest() -> EmbedCall {
    EmbedCall { pool: Pool::Ingest, ..call(&["a text"]) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_goes_to_another_nodes_ingest_pool_and_only_while_that_one_idles() {
    let world = World::new();
    let service = Service::start(double(), 1, batching(), limits()).await;
    let (far, near) = (offering(&world, "far", &service), world.node("near"));
    meet(&[&far, &near]).await;
    let fleet = asking(&near).await;
    until(|| fleet.model("double").is_some()).await;
    let model = fleet.model("double").expect("offered");
    let done = within(model.embed(ingest())).await.expect("the other node idles");
    assert_eq!((done.vectors, done.served_by.as_deref()), (expected(&["a text"]), Some("far")));
    assert_eq!(service.metric_of(Pool::Ingest, "requests_total", ",outcome=\"ok\""), 1.0);
    set_load(&far, 60);
    until(|| near.members.view().iter().any(|seen| seen.member.load == 120)).await;
    let refused = within(model.embed(ingest())).await;
    assert!(matches!(refused, Err(EmbedError::Overloaded { .. })), "{refused:?}");
    assert!(within(model.embed(call(&["a text"]))).await.is_ok(), "queries go there all the same");
    assert_eq!((service.requests("ok"), service.requests("overloaded")), (1.0, 0.0));
    set_load(&far, 25);
    until(|| near.members.view().iter().any(|seen| seen.member.load == 50)).await;
    assert!(within(model.embed(ingest())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_that_finds_no_room_here_goes_to_an_idle_node() {
    let world = World::new();
    let there = Service::start(double(), 1, batching(), limits()).await;
    let model = GatedModel::new(double());
    let settings = EmbeddingSettings { queue_tokens: 4, ..limits() };
    let here = Service::serve(served(model.clone(), &["alias"]), settings).await;
    let (far, near) = (offering(&world, "far", &there), world.node("near"));
    meet(&[&far, &near]).await;
    let fleet = following(&near, here.handle.clone());
    model.shut();
    let first = here.ingest("a text");
    until(|| here.model.permits(Pool::Ingest).available_permits() == 0).await;
    let elsewhere = async |call| {
        let found = fleet.find("alias", "tenant").expect("offered");
        within(found.embed(call)).await.map(|embedded| embedded.served_by)
    };
    until(|| !near.members.offering(&offer_of(there.model.card())).is_empty()).await;
    // The cards of the other node are asked for after its offer is known.
    until(|| {
        let found = fleet.find("alias", "tenant").expect("offered");
        matches!(found, crate::embedding::FleetModel::Here(_, Some(_)))
    })
    .await;
    assert_eq!(elsewhere(ingest()).await, Ok(Some("far".to_owned())));
    set_load(&far, 90);
    until(|| near.members.view().iter().any(|seen| seen.member.load == 180)).await;
    let refused = elsewhere(ingest()).await;
    assert!(matches!(refused, Err(EmbedError::Overloaded { .. })), "{refused:?}");
    model.open_gate();
    assert!(within(first).await.expect("no panic").is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_the_other_node_unloads_is_not_waited_for_and_aliases_reach_other_nodes() {
    let world = World::new();
    let there = Service::serve(served(double(), &[]), limits()).await;
    let (far, near) = (offering(&world, "far", &there), world.node("near"));
    meet(&[&far, &near]).await;
    let fleet = asking(&near).await;
    until(|| fleet.model("double").is_some()).await;
    let target = Target { model: "double".to_owned(), percent: 100 };
    within(fleet.set_alias("embed", vec![target])).await.expect("points");
    let model = fleet.find("embed", "tenant").expect("offered");
    assert_eq!(model.card().name, "double");
    assert!(within(model.embed(call(&["a text"]))).await.is_ok());
    within(there.handle.unload("double")).await.expect("unloads");
    assert_eq!(within(model.embed(call(&["a text"]))).await, Err(EmbedError::Unavailable));
}
