//! What a node believes about the others, and how it gets about.

use headwater_cluster::Member;

use super::super::records::encode_view;
use super::world::{Draws, Node, World, id, meet, member, pause, until, within};
use crate::caller::{CallError, Service};
use crate::cluster::{Incarnation, MemberState, MembersSettings, NodeId};

/// So seldom that only what is told at once arrives.
const NEVER: MembersSettings = MembersSettings { announce_ms: u64::MAX / 4 };

fn hear(node: &Node, rows: &[Member]) {
    node.members.hear(&encode_view(rows.iter()).expect("encodes"));
}

fn known(node: &Node, name: &str) -> Option<Member> {
    let view = node.members.view();
    view.into_iter().map(|seen| seen.member).find(|member| member.node == id(name))
}

fn names(nodes: &[NodeId]) -> Vec<&str> {
    nodes.iter().map(NodeId::as_str).collect()
}

fn changed(before: &Member, change: impl FnOnce(&mut Member)) -> Member {
    let mut member = before.clone();
    change(&mut member);
    member
}

#[tokio::test(start_paused = true)]
async fn what_is_newer_wins_and_what_is_older_changes_nothing() {
    let world = World::new();
    let a = world.start("a", 1, NEVER, |_| {});
    pause(1).await;
    let first = changed(&member("x", 3), |member| member.revision = 5);
    let newer_load = changed(&first, |member| (member.revision, member.load) = (6, 70));
    let draining = changed(&first, |member| member.state = MemberState::Draining);
    let restarted = changed(&first, |member| member.incarnation = Incarnation(4));
    for row in [&first, &newer_load, &draining, &restarted] {
        let mut changes = a.members.changes();
        hear(&a, std::slice::from_ref(row));
        assert_eq!(known(&a, "x").as_ref(), Some(row));
        assert!(changes.has_changed().expect("open"));
        changes.mark_unchanged();
        for older in [&first, &newer_load, row] {
            if older <= row {
                hear(&a, std::slice::from_ref(older));
            }
        }
        assert_eq!(known(&a, "x").as_ref(), Some(row));
        assert!(!changes.has_changed().expect("open"), "nothing was new");
    }
}

#[tokio::test(start_paused = true)]
async fn about_itself_a_node_believes_nobody() {
    let world = World::new();
    let a = world.start("a", 1, NEVER, |_| {});
    let before = a.members.me();
    hear(&a, &[changed(&member("a", 9), |member| member.state = MemberState::Left)]);
    assert_eq!(a.members.me(), before);
    assert_eq!(known(&a, "a"), Some(before));
    assert!(a.members.is_reachable(&a.id));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_left_is_forgotten_until_it_starts_anew() {
    let world = World::new();
    let (a, b) = (world.start("a", 1, NEVER, |_| {}), world.start("b", 1, NEVER, |_| {}));
    meet(&[&a, &b]).await;
    hear(&a, &[changed(&b.members.me(), |member| member.state = MemberState::Left)]);
    until(|| !a.members.is_reachable(&b.id)).await;
    let asked = within(a.caller.call(&b.id, Service::Membership, Vec::new(), 1000)).await;
    assert!(matches!(asked, Err(CallError::NotSent { .. })), "the link is closed: {asked:?}");
    pause(5000).await;
    assert!(!a.members.is_reachable(&b.id));
    assert_eq!(names(&a.members.candidates(b"key", 9)), ["a"]);
    b.kill();
    let b = world.start("b", 2, NEVER, |_| {});
    hear(&a, &[member("b", 2)]);
    until(|| a.members.is_reachable(&b.id)).await;
    assert_eq!(a.members.candidates(b"key", 9).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_row_of_another_life_than_the_links_is_not_within_reach() {
    let world = World::new();
    let offer = |member: &mut Member| _ = member.offers.insert("embedding/e5".into());
    let (a, b) = (world.start("a", 1, NEVER, |_| {}), world.start("b", 1, NEVER, offer));
    meet(&[&a, &b]).await;
    until(|| !a.members.offering("embedding/e5").is_empty()).await;
    // Somebody else met the next life of it before this node noticed the end of the first.
    hear(&a, &[changed(&b.members.me(), |member| member.incarnation = Incarnation(2))]);
    let seen = a.members.view().into_iter().find(|seen| seen.member.node == b.id);
    assert!(!seen.expect("known").is_reachable());
    assert_eq!(names(&a.members.offering("embedding/e5")), Vec::<&str>::new());
    assert_eq!(names(&a.members.candidates(b"key", 9)), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_view_change_nothing() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    meet(&[&a, &b]).await;
    let before = a.members.view();
    let draws = Draws::new(3);
    let changes = a.members.changes();
    a.members.hear(b"");
    for _ in 0..5000 {
        a.members.hear(&draws.record(draws.next() as u8 % 3, 100));
    }
    let half = encode_view([member("x", 1), member("y", 1)].iter()).expect("encodes");
    a.members.hear(&half[..half.len() - 1]);
    assert_eq!(a.members.view(), before);
    assert!(!changes.has_changed().expect("open"));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_comes_up_tells_both_views_at_once() {
    let world = World::new();
    let (a, b) = (world.start("a", 1, NEVER, |_| {}), world.start("b", 1, NEVER, |_| {}));
    hear(&a, &[member("far", 1)]);
    meet(&[&a, &b]).await;
    until(|| known(&b, "far").is_some() && known(&b, "a").is_some()).await;
    assert!(known(&a, "b").is_some());
    let c = world.start("c", 1, NEVER, |_| {});
    meet(&[&a, &b, &c]).await;
    until(|| known(&c, "far").is_some()).await;
    let far = c.members.view().into_iter().find(|seen| seen.member.node == id("far"));
    assert!(!far.expect("known").is_reachable(), "heard of, but without a link");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_its_own_is_told_at_once() {
    let world = World::new();
    let (a, b) = (world.start("a", 1, NEVER, |_| {}), world.start("b", 1, NEVER, |_| {}));
    meet(&[&a, &b]).await;
    let before = a.members.me();
    a.members.update(|_| {});
    assert_eq!(a.members.me(), before, "nothing changed, so nothing is told");
    a.members.update(|me| me.load = 50);
    let after = a.members.me();
    assert_eq!((after.load, after.revision), (50, before.revision + 1));
    until(|| known(&b, "a").as_ref() == Some(&after)).await;
}

#[tokio::test(start_paused = true)]
async fn a_view_that_was_lost_is_told_again() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    meet(&[&a, &b]).await;
    world.network.lose(|_| true);
    a.members.update(|me| me.load = 50);
    pause(100).await;
    assert_eq!(known(&b, "a").expect("known").load, 0);
    world.network.lose(|_| false);
    until(|| known(&b, "a").is_some_and(|member| member.load == 50)).await;
}

#[tokio::test(start_paused = true)]
async fn candidates_are_alive_within_reach_and_have_capacity() {
    let world = World::new();
    let nodes = ["a", "b", "c", "d"].map(|name| {
        world.start(name, 1, MembersSettings::default(), |me| {
            me.capacity = u32::from(name != "d");
        })
    });
    let [a, b, c, d] = &nodes;
    meet(&[a, b, c, d]).await;
    until(|| nodes.iter().all(|node| node.members.candidates(b"key", 9).len() == 3)).await;
    let all = a.members.candidates(b"key", 9);
    for node in &nodes {
        assert_eq!(node.members.candidates(b"key", 9), all, "all agree");
        assert_eq!(node.members.candidates(b"key", 1), all[..1]);
    }
    world.network.cut(&a.id, &b.id);
    until(|| !a.members.is_reachable(&b.id)).await;
    assert!(!a.members.candidates(b"key", 9).contains(&b.id));
    assert!(c.members.candidates(b"key", 9).contains(&b.id), "c still has its link");
    world.network.mend(&a.id, &b.id);
    until(|| a.members.candidates(b"key", 9) == all).await;
    b.members.update(|me| me.state = MemberState::Draining);
    until(|| nodes.iter().all(|node| !node.members.candidates(b"key", 9).contains(&b.id))).await;
    assert!(a.members.is_reachable(&b.id), "it drains, but answers");
    c.kill();
    until(|| names(&a.members.candidates(b"key", 9)) == ["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn who_offers_something_is_listed_by_load_per_capacity() {
    let world = World::new();
    let offering = |name: &str, load: u32, capacity: u32| {
        world.start(name, 1, MembersSettings::default(), |me| {
            (me.load, me.capacity) = (load, capacity);
            me.offers = ["embedding/e5".to_owned()].into();
        })
    };
    let (me, other) = (offering("me", 0, 1), world.node("other"));
    let (heavy, light) = (offering("heavy", 90, 1), offering("light", 90, 10));
    let (even, cut) = (offering("even", 9, 1), offering("cut", 0, 1));
    let all = [&me, &other, &heavy, &light, &even, &cut];
    meet(&all).await;
    let listed = || me.members.offering("embedding/e5");
    until(|| listed().len() == 4).await;
    assert_eq!(names(&listed()), ["cut", "even", "light", "heavy"]);
    assert_eq!(names(&me.members.offering("embedding/other")), Vec::<&str>::new());
    let idle = |percent| me.members.offering_below("embedding/e5", percent);
    assert_eq!(names(&idle(0)), ["cut"]);
    assert_eq!(names(&idle(9)), ["cut", "even", "light"], "9 of 1 is more than 9 percent");
    world.network.cut(&me.id, &cut.id);
    until(|| names(&listed()) == ["even", "light", "heavy"]).await;
    even.members.update(|even| even.load = 500);
    until(|| names(&listed()) == ["light", "heavy", "even"]).await;
    light.members.update(|light| light.state = MemberState::Draining);
    until(|| names(&listed()) == ["heavy", "even"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_ends_the_calls_that_wait_on_it() {
    let world = World::new();
    let (a, b) = (world.node("a"), world.node("b"));
    b.caller.serve(Service::Echo, |_, _| std::future::pending());
    meet(&[&a, &b]).await;
    let (caller, to) = (a.caller.clone(), b.id.clone());
    let waiting = tokio::spawn(async move {
        caller.call(&to, Service::Echo, Vec::new(), u64::from(u32::MAX)).await
    });
    pause(10).await;
    assert!(!waiting.is_finished());
    world.network.cut(&a.id, &b.id);
    let outcome = within(waiting).await.expect("no panic");
    assert!(matches!(outcome, Err(CallError::Unanswered { .. })), "{outcome:?}");
}
