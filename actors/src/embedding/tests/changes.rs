//! Models that come and go, and aliases that change, while others serve.

use std::sync::Arc;

use super::gated::GatedModel;
use super::service::{Service, batching, call, double, expected, limits, served, until, within};
use crate::embedding::{
    AliasProblem, ChangeError, EmbedError, EmbeddingFleet, ModelLoader, ModelPools, NotOffered,
    Phase, Pool, ServedModel, Target,
};
use headwater_models::double::DoubleModel;

fn other(name: &str) -> DoubleModel {
    DoubleModel::new(name, 8, 32)
}

fn target(model: &str, percent: u32) -> Target {
    Target { model: model.to_owned(), percent }
}

async fn service() -> Service {
    Service::start(double(), 1, batching(), limits()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_offered_when_it_is_warm_and_not_before() {
    let service = service().await;
    let model = GatedModel::new(other("second"));
    model.shut_starts();
    let (handle, second) = (service.handle.clone(), served(model.clone(), &["two"]));
    let loading = tokio::spawn(async move { handle.load(second).await });
    until(|| service.handle.models().len() == 2).await;
    for name in ["second", "two"] {
        let found = service.handle.find(name, "tenant").map(|_| ());
        assert_eq!(found, Err(NotOffered::Loading("second".to_owned())));
    }
    assert!(service.handle.ready(), "the node goes on serving the others");
    assert!(service.embed(&["meanwhile"]).await.is_ok());
    model.open_gate();
    within(loading).await.expect("no panic").expect("loads");
    for name in ["second", "two"] {
        let found = service.handle.model(name).expect("offered");
        assert_eq!(found.phase(), Phase::Serving);
        assert!(within(found.embed(call(&["a text"]))).await.is_ok());
    }
    let again = within(service.handle.load(served(other("second"), &[]))).await;
    assert_eq!(again, Err(ChangeError::NameTaken("second".to_owned())));
    let alias = within(service.handle.load(served(other("third"), &["alias"]))).await;
    assert_eq!(alias, Err(ChangeError::NameTaken("alias".to_owned())));
    assert_eq!(service.handle.models().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unloaded_model_ends_what_it_has_and_takes_nothing_new() {
    let service = service().await;
    let model = GatedModel::new(other("second"));
    let pools = ModelPools::default();
    let second = ServedModel { pools, ..served(model.clone(), &[]) };
    within(service.handle.load(second)).await.expect("loads");
    let second = service.handle.model("second").expect("offered");
    assert!(service.page().contains("queue_tokens{model=\"second\",pool=\"query\"}"));
    model.shut();
    let embed = |pool: Pool| {
        let (second, call) = (Arc::clone(&second), call(&["a text"]));
        tokio::spawn(
            async move { second.embed(crate::embedding::EmbedCall { pool, ..call }).await },
        )
    };
    let tasks = [embed(Pool::Query), embed(Pool::Query), embed(Pool::Ingest)];
    until(|| second.permits(Pool::Query).available_permits() == 10_000 - 8).await;
    until(|| second.permits(Pool::Ingest).available_permits() == 10_000 - 4).await;
    let handle = service.handle.clone();
    let unloading = tokio::spawn(async move { handle.unload("second").await });
    until(|| second.phase() == Phase::Draining).await;
    let found = service.handle.find("second", "tenant").map(|_| ());
    assert_eq!(found, Err(NotOffered::Draining("second".to_owned())));
    assert_eq!(within(second.embed(call(&["late"]))).await, Err(EmbedError::Unloading));
    assert!(!unloading.is_finished());
    assert!(service.embed(&["meanwhile"]).await.is_ok());
    model.open_gate();
    for task in tasks {
        let embedded = within(task).await.expect("no panic").expect("answers");
        assert_eq!(embedded.vectors, expected(&["a text"]));
    }
    within(unloading).await.expect("no panic").expect("unloads");
    let found = service.handle.find("second", "tenant").map(|_| ());
    assert_eq!(found, Err(NotOffered::Unknown("second".to_owned())));
    assert!(!service.page().contains("queue_tokens{model=\"second\""));
    let again = within(service.handle.unload("second")).await;
    assert_eq!(again, Err(ChangeError::UnknownModel("second".to_owned())));
    // The name is free again.
    within(service.handle.load(served(other("second"), &[]))).await.expect("loads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_gets_its_share_of_the_callers_and_each_caller_stays() {
    let service = service().await;
    within(service.handle.load(served(other("canary"), &[]))).await.expect("loads");
    let targets = vec![target("double", 80), target("canary", 20)];
    within(service.handle.set_alias("embed", targets)).await.expect("points");
    assert_eq!(service.handle.model("embed").expect("offered").card().name, "double");
    let of = |caller: usize| {
        let found = service.handle.find("embed", &format!("tenant-{caller}")).expect("offered");
        found.card().name.clone()
    };
    let first: Vec<String> = (0..2_000).map(of).collect();
    let canary = first.iter().filter(|name| *name == "canary").count();
    assert!((300..500).contains(&canary), "{canary} of 2,000");
    assert_eq!(first, (0..2_000).map(of).collect::<Vec<_>>());
    // A model by its own name is that model, whatever aliases say.
    assert_eq!(service.handle.find("double", "tenant").expect("offered").card().name, "double");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_that_moves_takes_nothing_from_who_is_inside() {
    let model = GatedModel::new(double());
    let service = Service::start(model.clone(), 1, batching(), limits()).await;
    within(service.handle.load(served(other("second"), &[]))).await.expect("loads");
    let fleet = EmbeddingFleet::local(service.handle.clone());
    model.shut();
    let before = fleet.find("alias", "tenant").expect("offered");
    assert_eq!(before.card().name, "double");
    let inside = tokio::spawn(async move { before.embed(call(&["inside"])).await });
    until(|| model.batches().len() == 1).await;
    let held = within(fleet.unload("double")).await;
    let aliases = vec!["alias".to_owned()];
    assert_eq!(held, Err(ChangeError::IsTarget { model: "double".to_owned(), aliases }));
    within(fleet.set_alias("alias", vec![target("second", 100)])).await.expect("points");
    let after = fleet.find("alias", "tenant").expect("offered");
    assert_eq!(after.card().name, "second");
    assert!(within(after.embed(call(&["after"]))).await.is_ok());
    model.open_gate();
    let embedded = within(inside).await.expect("no panic").expect("answers");
    assert_eq!(embedded.vectors, expected(&["inside"]));
    within(fleet.unload("double")).await.expect("nothing points at it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_that_cannot_be_are_refused_and_the_others_stand() {
    let service = service().await;
    let model = GatedModel::new(other("slow"));
    model.shut_starts();
    let (handle, slow) = (service.handle.clone(), served(model.clone(), &[]));
    let loading = tokio::spawn(async move { handle.load(slow).await });
    until(|| service.handle.models().len() == 2).await;
    let not_serving = ChangeError::NotServing { model: "slow".to_owned(), phase: Phase::Loading };
    for (name, targets, problem) in [
        ("new", vec![], ChangeError::Alias(AliasProblem::NoTargets)),
        ("new", vec![target("double", 99)], ChangeError::Alias(AliasProblem::Sum(99))),
        ("new", vec![target("none", 100)], ChangeError::UnknownModel("none".to_owned())),
        // An alias of an alias would make a chain.
        ("new", vec![target("alias", 100)], ChangeError::UnknownModel("alias".to_owned())),
        ("new", vec![target("slow", 100)], not_serving),
        ("double", vec![target("double", 100)], ChangeError::NameTaken("double".to_owned())),
    ] {
        let refused = within(service.handle.set_alias(name, targets)).await;
        assert_eq!(refused, Err(problem));
    }
    let unknown = within(service.handle.remove_alias("new")).await;
    assert_eq!(unknown, Err(ChangeError::UnknownAlias("new".to_owned())));
    assert_eq!(service.handle.aliases().len(), 1);
    within(service.handle.remove_alias("alias")).await.expect("known");
    assert!(service.handle.model("alias").is_none());
    model.open_gate();
    within(loading).await.expect("no panic").expect("loads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_opens_what_the_settings_name_and_tells_why_it_cannot() {
    let service = service().await;
    let loader = ModelLoader::new(|name| {
        let name = name.to_owned();
        match name.as_str() {
            "second" => Some(Box::pin(async move { Ok(served(other(&name), &[])) })),
            "broken" => Some(Box::pin(async { Err("no such folder".to_owned()) })),
            "panics" => Some(Box::pin(async { panic!("the reader was told to") })),
            _ => None,
        }
    });
    let fleet = EmbeddingFleet::local(service.handle.clone()).with_loader(loader);
    within(fleet.load("second")).await.expect("loads");
    assert_eq!(fleet.status("second").phase, Some(Phase::Serving));
    assert_eq!(fleet.status("second").replicas, [(1, 1), (0, 0)]);
    let not_opened = |name: &str, why: &str| ChangeError::NotOpened(name.into(), why.into());
    for (name, problem) in [
        ("second", ChangeError::NameTaken("second".to_owned())),
        ("alias", ChangeError::NameTaken("alias".to_owned())),
        ("none", ChangeError::UnknownModel("none".to_owned())),
        ("broken", not_opened("broken", "no such folder")),
        ("broken", not_opened("broken", "no such folder")),
        ("panics", not_opened("panics", "its reader panicked")),
    ] {
        assert_eq!(within(fleet.load(name)).await, Err(problem));
    }
    let without = EmbeddingFleet::local(service.handle.clone());
    let unknown = within(without.load("third")).await;
    assert_eq!(unknown, Err(ChangeError::UnknownModel("third".to_owned())));
    assert_eq!(without.status("third").phase, None);
}
