//! Notices of limits: each threshold is told once, to whoever wants it, whatever fails meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use headwater_storage::memory::Fault;
use prometheus_client::registry::Registry;

use super::world::{MODEL, Setup, Site, TENANT, sites, usage};
use crate::cluster::tests::world::{World, pause, until, within};
use crate::tenancy::{
    About, Limit, Limits, Messenger, NoticeHook, NoticeMetrics, NoticeSettings, Notices,
    OwnersSettings, PendingNotice, Refusal, Thresholds, Unit, Window,
};

const USER: &str = "acme//ada";

/// Takes notices, unless it is broken.
#[derive(Default)]
struct Post {
    broken: AtomicBool,
    got: Mutex<Vec<(usize, PendingNotice)>>,
}

impl Post {
    /// Subject and percentage of what this hook got, with how often.
    fn told(&self, hook: usize) -> BTreeMap<(String, u8), usize> {
        let mut told = BTreeMap::new();
        for (_, notice) in self.got.lock().unwrap().iter().filter(|(to, _)| *to == hook) {
            let About::Limit(limit) = &notice.about else { continue };
            *told.entry((notice.subject.clone(), limit.percent)).or_default() += 1;
        }
        told
    }
}

#[async_trait]
impl Messenger for Post {
    async fn deliver(&self, hook: usize, notice: &PendingNotice) -> Result<(), String> {
        if self.broken.load(Ordering::Relaxed) {
            return Err("it answered 503".to_owned());
        }
        self.got.lock().unwrap().push((hook, notice.clone()));
        Ok(())
    }
}

fn setup() -> Setup {
    let thresholds = Thresholds::new([50, 80, 100]).unwrap();
    Setup { owners: OwnersSettings { thresholds, ..OwnersSettings::default() }, ..Setup::default() }
}

fn hooks() -> Vec<NoticeHook> {
    let other = Some("other".to_owned());
    vec![
        NoticeHook { id: "all".to_owned(), team: None },
        NoticeHook { id: "other".to_owned(), team: other },
    ]
}

fn deliver(world: &World, site: &Site, to: &Arc<Post>) {
    let notices = Notices::new(
        site.node.runtime.clone(),
        world.retry(1_000),
        site.node.leases.clone(),
        hooks(),
        to.clone(),
        NoticeSettings::default(),
        NoticeMetrics::register(&mut Registry::default()),
    );
    site.node.runtime.spawn(notices.run());
}

fn day(amount: u64) -> Limits {
    let limit = Limit { model: None, unit: Unit::Tokens, window: Window::Day, amount };
    Limits { revision: 0, limits: vec![limit] }
}

/// Uses so many tokens of a team or another subject, by its own name.
async fn spend(site: &Site, subject: &str, tokens: u64) {
    try_spend(site, subject, tokens).await.expect("within the limit");
}

async fn try_spend(site: &Site, subject: &str, tokens: u64) -> Result<(), Refusal> {
    let share = within(site.handle.reserve(subject, MODEL, usage(tokens))).await?;
    within(share.settle(usage(tokens))).await;
    Ok(())
}

fn expected(subjects: &[&str], percents: &[u8]) -> BTreeMap<(String, u8), usize> {
    let all = subjects.iter().flat_map(|subject| {
        percents.iter().map(move |percent| (((*subject).to_owned(), *percent), 1))
    });
    all.collect()
}

#[tokio::test(start_paused = true)]
async fn each_threshold_is_told_once_over_two_nodes_and_changed_limits() {
    let world = World::new();
    let sites = sites(&world, &["a", "b"], setup()).await;
    let post = Arc::new(Post::default());
    sites.iter().for_each(|site| deliver(&world, site, &post));
    sites[0].set_limits(day(1_000)).await;
    within(sites[0].handle.set_limits(USER, day(100))).await.unwrap();
    for site in &sites {
        spend(site, TENANT, 300).await;
        spend(site, USER, 40).await;
    }
    let mut first = expected(&[TENANT, USER], &[50]);
    first.extend(expected(&[USER], &[80]));
    until(|| post.told(0) == first).await;
    // The limit grows, and what is told is told.
    sites[0].set_limits(day(2_000)).await;
    spend(&sites[1], TENANT, 1_000).await;
    until(|| post.told(0).contains_key(&(TENANT.to_owned(), 80))).await;
    pause(60_000).await;
    assert_eq!(post.told(0), expected(&[TENANT, USER], &[50, 80]));
    assert!(post.told(1).is_empty(), "it wants another team's");
    let got = post.got.lock().unwrap();
    let body = got.iter().find(|(_, notice)| notice.subject == USER).unwrap().1.body();
    assert_eq!(body["team"], "acme");
    assert_eq!(body["user"], "ada");
    assert_eq!(body["limit"]["amount"], 100);
    assert!(body["text"].as_str().unwrap().starts_with("user 'ada' of team 'acme' has reached"));
    let ids: std::collections::BTreeSet<_> = got.iter().map(|(_, notice)| &notice.id).collect();
    assert_eq!(ids.len(), got.len());
}

#[tokio::test(start_paused = true)]
async fn a_broken_webhook_holds_up_nobody_and_hears_of_it_later() {
    let world = World::new();
    let site = Site::start(&world, "a", setup()).await;
    let post = Arc::new(Post::default());
    post.broken.store(true, Ordering::Relaxed);
    deliver(&world, &site, &post);
    site.set_limits(day(100)).await;
    spend(&site, TENANT, 60).await;
    pause(120_000).await;
    spend(&site, TENANT, 25).await;
    assert!(post.told(0).is_empty());
    post.broken.store(false, Ordering::Relaxed);
    until(|| post.told(0) == expected(&[TENANT], &[50, 80])).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_node_goes_on_where_one_died() {
    let world = World::new();
    let sites = sites(&world, &["a", "b"], setup()).await;
    let (first, second) = (Arc::new(Post::default()), Arc::new(Post::default()));
    first.broken.store(true, Ordering::Relaxed);
    deliver(&world, &sites[0], &first);
    sites[1].set_limits(day(100)).await;
    spend(&sites[1], TENANT, 60).await;
    pause(5_000).await;
    deliver(&world, &sites[1], &second);
    pause(10_000).await;
    assert!(second.told(0).is_empty(), "the first has the lease");
    sites[0].node.kill();
    until(|| second.told(0) == expected(&[TENANT], &[50])).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stumbles_loses_no_notice() {
    let world = World::new();
    let site = Site::start(&world, "a", setup()).await;
    let post = Arc::new(Post::default());
    deliver(&world, &site, &post);
    site.set_limits(day(1_000)).await;
    let mut step = 0_u32;
    world.fail(move |_| {
        step += 1;
        step.is_multiple_of(7).then_some(Fault::Unavailable)
    });
    for _ in 0..17 {
        // An owner whose store stumbles is silent, and more than a share of the limit waits for it.
        while let Err(refusal) = try_spend(&site, TENANT, 50).await {
            let Refusal::Unanswered { retry_after_ms } = refusal else { panic!("{refusal:?}") };
            pause(retry_after_ms).await;
        }
    }
    world.heal();
    until(|| post.told(0).len() == 2).await;
    assert!(post.told(0).contains_key(&(TENANT.to_owned(), 80)));
}
