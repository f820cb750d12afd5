//! Versions of what is served: followed by every node, a canary's end, and damaged rows.

use std::sync::Arc;
use std::time::Duration;

use headwater_models::chat::ChatModel;
use headwater_models::chat::double::ScriptedChat;
use headwater_storage::retry::OperationId;
use headwater_storage::tuple::{self, Element};
use serde_json::json;

use super::world::{CHAT, World, broken, hear, says};
use crate::gateway::{
    Change, ConfigDocument, GatewayHandle, GatewayVersions, Version, VersionError,
};

fn versions_of(world: &World, gateway: &GatewayHandle) -> GatewayVersions {
    let (runtime, none) = (world.site.node.runtime.clone(), ConfigDocument::default());
    GatewayVersions::new(runtime, world.retry(), gateway.clone(), none)
}

fn versions(world: &World) -> GatewayVersions {
    versions_of(world, &world.gateway)
}

/// Nine tenths to the first model, and one to the second one, on trial.
fn trial() -> ConfigDocument {
    let target = |backend: &str, weight: u32, canary: bool| json!({"backend": backend, "weight": weight, "free": true, "canary": canary});
    let targets = [target("b0", 1, false), target("b1", 1, true)];
    let model = json!({"name": CHAT, "targets": targets, "sticky": false});
    serde_json::from_value(json!({"models": [model]})).expect("a document")
}

fn change(expected: Option<u64>) -> Change {
    Change { author: "ops".to_owned(), reason: "a trial".to_owned(), expected }
}

/// Waits for a version, and returns it as it is stored.
async fn served(gateway: &GatewayHandle, versions: &GatewayVersions, number: u64) -> Version {
    for _ in 0..2_000 {
        if gateway.version() == number {
            return versions.get(None).await.expect("a version");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("version {} is served, not {number}", gateway.version());
}

async fn world(second: ScriptedChat) -> World {
    let first = ScriptedChat::new(vec![says(&["Deep."])]);
    World::over(vec![Arc::new(first) as Arc<dyn ChatModel>, Arc::new(second)]).await
}

#[tokio::test]
async fn a_canary_that_fails_is_taken_back_and_its_clients_notice_nothing() {
    // Always, so that its breaker leaves it alone after a few; and every second time.
    for scripts in [vec![broken()], vec![broken(), says(&["Deep."])]] {
        let scripts = scripts.iter().cycle().take(400).cloned().collect();
        taken_back(ScriptedChat::new(scripts)).await;
    }
}

async fn taken_back(canary: ScriptedChat) {
    let world = world(canary).await;
    let versions = versions(&world);
    tokio::spawn(versions.clone().guard());
    versions.put(trial(), change(Some(0))).await.expect("is served");
    for _ in 0..400 {
        let (said, ended) = hear(world.chat().await.expect("an answer")).await;
        assert_eq!((said.as_str(), ended), ("Deep.", None));
    }
    let after = served(&world.gateway, &versions, 2).await;
    assert_eq!(after.author, "headwater");
    assert!(after.reason.starts_with("canary b1/chat of chat taken back: "), "{}", after.reason);
    let target = &after.document.models[0].targets[1];
    assert_eq!((target.weight, target.canary), (0, false));
}

#[tokio::test]
async fn a_canary_that_is_as_good_stays() {
    let world = world(ScriptedChat::new(vec![says(&["Deep."])])).await;
    let versions = versions(&world);
    versions.put(trial(), change(None)).await.expect("is served");
    for _ in 0..200 {
        hear(world.chat().await.expect("an answer")).await;
    }
    assert_eq!(world.gateway.condemned(), []);
}

#[tokio::test]
async fn every_node_follows_and_one_that_cannot_serve_a_version_keeps_its_own() {
    let one = world(ScriptedChat::new(vec![says(&["Deep."])])).await;
    // Another gateway over the same store, without the second backend.
    let other = one.beside(Arc::new(ScriptedChat::new(vec![says(&["Deep."])])));
    let (versions, others) = (versions(&one), versions_of(&one, &other));
    tokio::spawn(others.clone().follow());
    let mut simple = trial();
    simple.models[0].targets.truncate(1);
    versions.put(simple.clone(), change(None)).await.expect("is served");
    served(&other, &others, 1).await;
    versions.put(trial(), change(None)).await.expect("is served");
    simple.models[0].name = "talk".to_owned();
    versions.put(simple, change(Some(2))).await.expect("is served");
    served(&other, &others, 3).await;
    let moved = versions.put(trial(), change(Some(2))).await;
    assert_eq!(moved, Err(VersionError::Moved { expected: 2, current: 3 }));
}

#[tokio::test]
async fn damaged_rows_change_nothing_that_is_served_and_another_version_takes_their_place() {
    let world = world(ScriptedChat::new(vec![says(&["Deep."])])).await;
    let versions = versions(&world);
    tokio::spawn(versions.clone().follow());
    versions.put(trial(), change(None)).await.expect("is served");
    versions.put(trial(), change(None)).await.expect("is served");
    let place =
        |rest: &[Element]| tuple::pack(&[&["gateway".into(), "config".into()], rest].concat());
    let two = || Element::Integer(2);
    let damages = [
        place(&["document".into(), two(), Element::Integer(0)]),
        place(&["version".into(), two()]),
        place(&["current".into()]),
    ];
    for (done, key) in damages.into_iter().enumerate() {
        let id = OperationId::draw(0, world.site.node.runtime.environment());
        let retry = world.retry();
        let written = retry.write(id, |transaction| {
            let key = key.clone();
            Box::pin(async move { transaction.set(&key, b"garbage") })
        });
        written.await.expect("is written");
        let read = versions.get(None).await;
        assert!(read.as_ref().is_err_and(VersionError::is_damage), "{done} {read:?}");
        assert_eq!(world.gateway.version(), 2);
        let (said, ended) = hear(world.chat().await.expect("an answer")).await;
        assert_eq!((said.as_str(), ended), ("Deep.", None));
        assert_eq!(versions.list().await.expect("a list").len(), 2);
    }
    let healed = versions.roll_back(None, change(None)).await.expect("is served");
    assert_eq!((healed.number, healed.restores, healed.document), (3, Some(1), trial()));
    served(&world.gateway, &versions, 3).await;
}
