//! Ranges are learnt once, stand for all nodes, and are found again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_storage::Environment;
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::{Retry, RetryPolicy};

use super::service::{until, within};
use crate::embedding::{CalibrationSettings, Calibrations, Learnt};

const SAMPLE: CalibrationSettings = CalibrationSettings { sample: 10, cut: 0.0 };

pub(super) fn retry() -> Retry {
    let draws = AtomicU64::new(1);
    let environment = Environment::new(
        || 0,
        |_| Box::pin(tokio::task::yield_now()),
        move || draws.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed),
    );
    let store = Arc::new(MemoryStore::new(environment.clone()));
    Retry::new(store, environment, RetryPolicy::default())
}

/// Ten vectors whose first component goes from `low` to `low + 9`.
fn sample(low: i8) -> Vec<Vec<f32>> {
    (0..10).map(|step| vec![f32::from(low + step), 0.5]).collect()
}

async fn learnt(calibrations: &Calibrations, version: &str) -> Arc<Learnt> {
    let found = async {
        loop {
            if let Some(learnt) = calibrations.find(version, 2).await {
                return learnt;
            }
            tokio::task::yield_now().await;
        }
    };
    within(found).await
}

#[tokio::test]
async fn ranges_are_learnt_from_the_first_vectors_and_never_change() {
    let calibrations = Calibrations::new(retry(), SAMPLE);
    assert_eq!(calibrations.find("v1", 2).await, None);
    calibrations.observe("v1", &sample(0)[..9]);
    calibrations.observe("v1", &[]);
    calibrations.observe("v2", &sample(50)[..9]);
    assert_eq!(calibrations.find("v1", 2).await, None, "nine of ten");
    calibrations.observe("v1", &sample(9));
    let first = learnt(&calibrations, "v1").await;
    assert_eq!(
        (first.calibration.low(), first.calibration.high()),
        (&[0.0, 0.5][..], &[9.0, 0.5][..])
    );
    assert_eq!(first.sampled, 10);
    calibrations.observe("v1", &sample(100));
    assert_eq!(learnt(&calibrations, "v1").await, first);
    assert_eq!(calibrations.find("v2", 2).await, None, "another version has its own");
    assert_eq!(calibrations.find("v1", 3).await, None, "another length has its own");
}

#[tokio::test]
async fn the_first_nodes_ranges_stand_for_all_and_survive_a_restart() {
    let retry = retry();
    let nodes = [0, 20, 40].map(|low| {
        let node = Calibrations::new(retry.clone(), SAMPLE);
        node.observe("v1", &sample(low));
        node
    });
    let first = learnt(&nodes[0], "v1").await;
    for node in &nodes {
        assert_eq!(learnt(node, "v1").await, first);
    }
    let restarted = Calibrations::new(retry.clone(), SAMPLE);
    assert_eq!(restarted.find("v1", 2).await, Some(Arc::clone(&first)), "found at once");
    restarted.observe("v1", &sample(60));
    assert_eq!(learnt(&restarted, "v1").await, first);
    assert_eq!(first.id.len(), 16);
    let other = Calibrations::new(self::retry(), SAMPLE);
    other.observe("v1", &sample(80));
    assert_ne!(learnt(&other, "v1").await.id, first.id, "other ranges have another name");
}

#[tokio::test]
async fn what_is_no_number_is_not_learnt_from() {
    let calibrations = Calibrations::new(retry(), SAMPLE);
    calibrations.observe("v1", &vec![vec![f32::NAN, 0.0]; 10]);
    let begun = || {
        calibrations.observe("v1", &sample(0)[..1]);
        calibrations.sampled("v1", 2) > 0
    };
    until(begun).await;
    calibrations.observe("v1", &sample(0));
    assert!(learnt(&calibrations, "v1").await.calibration.high()[0].is_finite());
}
