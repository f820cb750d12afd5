//! The queue stays short, keeps `Down` once per `Up`, and ends after its last change.

use std::sync::Arc;

use headwater_cluster::{Incarnation, LinkChange, NodeId};

use super::Changes;

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn up(changes: &Changes, node: &str, incarnation: u64) {
    changes.up(id(node), Incarnation(incarnation), 1);
}

fn down(changes: &Changes, node: &str, incarnation: u64) {
    changes.down(id(node), Incarnation(incarnation), "why".to_owned());
}

async fn rest(changes: &Changes) -> Vec<String> {
    changes.close();
    let mut rest = Vec::new();
    while let Some(change) = changes.next().await {
        rest.push(match change {
            LinkChange::Up { node, incarnation, .. } => format!("up {node} {}", incarnation.0),
            LinkChange::Down { node, incarnation, .. } => format!("down {node} {}", incarnation.0),
        });
    }
    rest
}

#[tokio::test]
async fn unread_pairs_cancel_out() {
    let changes = Changes::default();
    up(&changes, "a", 1);
    up(&changes, "b", 1);
    assert!(changes.next().await.is_some());
    for incarnation in 1..100 {
        down(&changes, "a", incarnation);
        up(&changes, "a", incarnation + 1);
    }
    down(&changes, "b", 1);
    assert_eq!(rest(&changes).await, ["down a 1", "up a 100"]);
}

#[tokio::test]
async fn a_waiting_reader_is_woken() {
    let changes = Arc::new(Changes::default());
    let reader = {
        let changes = Arc::clone(&changes);
        tokio::spawn(
            async move { (changes.next().await.is_some(), changes.next().await.is_none()) },
        )
    };
    tokio::task::yield_now().await;
    up(&changes, "a", 1);
    tokio::task::yield_now().await;
    changes.close();
    assert_eq!(reader.await.unwrap(), (true, true));
}
