//! Records reach the lake once, whatever fails; what finds no room is counted.

use std::sync::Arc;

use headwater_storage::audit::{
    AuditError, AuditLake, AuditRecord, Content, MemoryAudit, Moment, Outcome, Scope,
};
use prometheus_client::registry::Registry;

use super::{
    AuditHandle, AuditMetrics, AuditSettings, ContentMode, ContentPolicy, CostProblem,
    CostQuestion, HashKey,
};
use crate::cluster::tests::world::environment;
use crate::runtime::Runtime;

struct World {
    lake: MemoryAudit,
    metrics: AuditMetrics,
    audit: AuditHandle,
}

impl World {
    fn new(settings: AuditSettings) -> World {
        let runtime = Runtime::tokio(environment(1), || 5_000);
        let (lake, metrics) =
            (MemoryAudit::new(), AuditMetrics::register(&mut Registry::default()));
        let policy = ContentPolicy {
            standard: ContentMode::None,
            by_team: Default::default(),
            key: HashKey::new(b"key"),
        };
        let shared: Arc<dyn AuditLake> = Arc::new(lake.clone());
        let audit = AuditHandle::new(runtime, shared, settings, policy, metrics.clone());
        World { lake, metrics, audit }
    }

    fn ids(&self) -> Vec<String> {
        self.lake.records().into_iter().map(|one| one.id).collect()
    }
}

fn record(id: usize) -> AuditRecord {
    AuditRecord::new(format!("{id}"), "acme", Outcome::Whole)
}

#[tokio::test(start_paused = true)]
async fn a_broken_disk_and_a_lake_that_is_away_cost_no_record() {
    let world = World::new(AuditSettings::default());
    world.lake.set_broken(true);
    world.lake.set_down(true);
    tokio::spawn(world.audit.clone().write());
    tokio::spawn(world.audit.clone().keep());
    (0..2_000).for_each(|id| world.audit.record(record(id)));
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(world.ids(), [""; 0]);
    world.lake.set_broken(false);
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let all: Vec<String> = (0..2_000).map(|id| id.to_string()).collect();
    assert_eq!((world.ids(), world.lake.backlog().records), (all.clone(), 2_000));
    world.lake.set_down(false);
    world.audit.drain(1_000).await;
    assert_eq!((world.ids(), world.lake.backlog().records), (all, 0));
    assert_eq!(world.metrics.dropped_records(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_counted_and_the_rest_arrives() {
    let world = World::new(AuditSettings { buffer_records: 10, ..AuditSettings::default() });
    (0..25).for_each(|id| world.audit.record(record(id)));
    assert_eq!(world.metrics.dropped_records(), 15);
    tokio::spawn(world.audit.clone().write());
    world.audit.drain(1_000).await;
    world.audit.record(record(100));
    world.audit.drain(1_000).await;
    let ids: Vec<String> = (0..10).chain([100]).map(|id| id.to_string()).collect();
    assert_eq!(world.ids(), ids);
}

#[tokio::test(start_paused = true)]
async fn a_record_without_room_for_what_was_said_goes_without_it() {
    let world = World::new(AuditSettings { buffer_bytes: 10, ..AuditSettings::default() });
    let content = Content::Full { request: "12345".to_owned(), response: "678".to_owned() };
    for id in 0..2 {
        world.audit.record(AuditRecord { content: Some(content.clone()), ..record(id) });
    }
    tokio::spawn(world.audit.clone().write());
    world.audit.drain(1_000).await;
    let kept = world.lake.records().into_iter().map(|one| (one.content.is_some(), one.flags));
    let expected = [(true, vec![]), (false, vec!["content_dropped".to_owned()])];
    assert_eq!(kept.collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_in_time_and_a_full_spill_waits_for_room() {
    let world = World::new(AuditSettings::default());
    world.lake.set_limit_bytes(10);
    tokio::spawn(world.audit.clone().write());
    world.audit.record(record(1));
    world.audit.drain(1_000).await;
    assert_eq!(world.ids(), [""; 0]);
    world.lake.set_limit_bytes(10_000);
    world.audit.drain(60_000).await;
    assert_eq!(world.ids(), ["1"]);
    let asked = world.audit.query("drop table audit".to_owned(), Scope::All).await;
    assert!(matches!(asked, Err(AuditError::Refused(_))), "{asked:?}");
}

#[test]
fn a_question_about_cost_is_read_from_closed_lists() {
    let now_ms = Moment::of_date("2026-12-01").expect("is one").ms + 5;
    let read = |from, to, by| CostQuestion::read(from, to, by, now_ms);
    let sql = read(None, None, None).expect("is good").sql();
    for part in [
        "date '2026-11-02'",
        "date '2026-12-01'",
        "team, project, model_asked as \"model\"",
        "group by day, team, project, model_asked",
    ] {
        assert!(sql.contains(part), "{sql}");
    }
    let sql = read(Some("2026-01-01"), Some("2026-01-31"), Some("user, user")).expect("is").sql();
    assert!(sql.contains("group by day, user_id order by day, user_id"), "{sql}");
    for (problem, field) in [
        (read(Some("yesterday"), None, None), "from"),
        (read(None, Some("2026-02-30"), None), "to"),
        (read(Some("2026-12-02"), Some("2026-12-01"), None), "from"),
        (read(None, None, Some("team;drop table audit")), "by"),
    ] {
        assert_eq!(problem.as_ref().map_err(CostProblem::field), Err(field), "{problem:?}");
    }
}
