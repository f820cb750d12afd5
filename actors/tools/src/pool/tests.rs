//! Ways through a pool step by step, and drawn ones with the invariants looked at after each event.

use std::collections::BTreeMap;

use super::{Effect, Event, Pool, PoolSettings, Reason, SlotId, Ticket, Watch};
use crate::draws::Draws;

fn wanted(tenant: &str, ticket: u64, deadline_ms: u64) -> Event {
    let (tenant, ticket) = (tenant.to_owned(), Ticket(ticket));
    Event::Wanted { tenant, ticket, is_session: false, deadline_ms }
}

fn refuse(ticket: u64, reason: Reason, retry_after_ms: u64) -> Effect {
    Effect::Refuse { ticket: Ticket(ticket), reason, retry_after_ms }
}

fn start(slot: u64) -> Effect {
    Effect::Start { slot: SlotId(slot) }
}

fn give(slot: u64, ticket: u64) -> Effect {
    Effect::Give { slot: SlotId(slot), ticket: Ticket(ticket) }
}

fn close(slot: u64) -> Effect {
    Effect::Close { slot: SlotId(slot) }
}

fn started(slot: u64) -> Event {
    Event::Started { slot: SlotId(slot) }
}

fn ended(slot: u64, is_clean: bool) -> Event {
    Event::Ended { slot: SlotId(slot), is_clean }
}

fn closed(slot: u64) -> Event {
    Event::Closed { slot: SlotId(slot) }
}

fn small() -> PoolSettings {
    PoolSettings {
        warm_min: 0,
        slots_max: 2,
        queue_max: 3,
        tenant_queue_max: 2,
        tenant_running_max: 2,
        ..PoolSettings::default()
    }
}

/// Feeds the events at their times to a pool, and compares what it does.
fn check(settings: PoolSettings, steps: &[(u64, Event, &[Effect])]) {
    let (mut pool, mut watch) = (Pool::new(settings.clone()).unwrap(), Watch::new(settings));
    for (place, (now_ms, event, expected)) in steps.iter().enumerate() {
        let effects = pool.take(event.clone(), *now_ms);
        assert_eq!(effects, *expected, "step {place}: {event:?}");
        pool.check().unwrap();
        watch.see(event, &effects).unwrap();
    }
}

#[test]
fn the_warm_minimum_is_kept() {
    let settings = PoolSettings { warm_min: 2, slots_max: 3, ..small() };
    check(
        settings,
        &[
            (0, Event::GotLease, &[start(1), start(2)]),
            (5, started(1), &[]),
            (6, wanted("a", 1, 100), &[give(1, 1), start(3)]),
            (7, started(2), &[]),
            (8, started(3), &[]),
            (9, ended(1, true), &[close(1)]),
            (10, Event::Closed { slot: SlotId(1) }, &[]),
            (90_000, Event::Tick, &[]),
        ],
    );
}

#[test]
fn idle_slots_beyond_the_minimum_are_closed() {
    let settings =
        PoolSettings { warm_min: 1, slots_max: 3, idle_ms: 50, recycles: true, ..small() };
    let recycle = Effect::Recycle { slot: SlotId(1) };
    check(
        settings,
        &[
            (0, Event::GotLease, &[start(1)]),
            (1, started(1), &[]),
            (2, wanted("a", 1, 100), &[give(1, 1), start(2)]),
            (3, started(2), &[]),
            (4, ended(1, true), &[recycle]),
            (9, Event::Recycled { slot: SlotId(1), is_clean: true }, &[]),
            (52, Event::Tick, &[]),
            (53, Event::Tick, &[close(2)]),
            (200, Event::Tick, &[]),
        ],
    );
}

#[test]
fn a_used_slot_is_closed_or_recycled() {
    let session = Event::Wanted {
        tenant: "a".to_owned(),
        ticket: Ticket(3),
        is_session: true,
        deadline_ms: 900,
    };
    check(
        PoolSettings { recycles: true, slots_max: 1, ..small() },
        &[
            (0, Event::GotLease, &[]),
            (0, wanted("a", 1, 900), &[start(1)]),
            (1, started(1), &[give(1, 1)]),
            (2, wanted("b", 2, 900), &[]),
            (3, ended(1, true), &[Effect::Recycle { slot: SlotId(1) }]),
            (4, Event::Recycled { slot: SlotId(1), is_clean: true }, &[give(1, 2)]),
            (5, session, &[]),
            (6, ended(1, false), &[close(1)]),
            (7, closed(1), &[start(2)]),
            (8, started(2), &[give(2, 3)]),
            (9, ended(2, true), &[close(2)]),
        ],
    );
    check(
        PoolSettings { recycles: true, ..small() },
        &[
            (0, Event::GotLease, &[]),
            (0, wanted("a", 1, 900), &[start(1)]),
            (1, started(1), &[give(1, 1)]),
            (2, ended(1, true), &[Effect::Recycle { slot: SlotId(1) }]),
            (3, Event::Recycled { slot: SlotId(1), is_clean: false }, &[close(1)]),
        ],
    );
}

#[test]
fn what_is_too_much_is_refused() {
    check(
        PoolSettings { slots_max: 1, ..small() },
        &[
            (0, wanted("a", 1, 900), &[refuse(1, Reason::Moved, 1_000)]),
            (0, Event::GotLease, &[]),
            (0, wanted("a", 2, 0), &[refuse(2, Reason::Deadline, 0)]),
            (0, wanted("a", 3, 900), &[start(1)]),
            (0, wanted("a", 4, 90), &[]),
            (0, wanted("a", 5, 900), &[refuse(5, Reason::TenantQueue, 300)]),
            (0, wanted("b", 6, 900), &[]),
            (0, wanted("c", 7, 900), &[refuse(7, Reason::Queue, 400)]),
            (90, Event::Tick, &[refuse(4, Reason::Deadline, 0)]),
            (91, Event::Gone { ticket: Ticket(6) }, &[]),
            (92, started(1), &[give(1, 3)]),
            (93, Event::Gone { ticket: Ticket(3) }, &[close(1)]),
        ],
    );
}

#[test]
fn tenants_have_turns() {
    let settings = PoolSettings { slots_max: 1, queue_max: 99, tenant_queue_max: 99, ..small() };
    let mut pool = Pool::new(PoolSettings { recycles: true, ..settings }).unwrap();
    pool.take(Event::GotLease, 0);
    for ticket in 0..20 {
        pool.take(wanted("flood", ticket, 1_000_000), 0);
    }
    pool.take(started(1), 0);
    pool.take(wanted("small", 50, 1_000_000), 0);
    pool.take(wanted("other", 60, 1_000_000), 0);
    let mut given = Vec::new();
    for _ in 0..4 {
        pool.take(ended(1, true), 1);
        let effects = pool.take(Event::Recycled { slot: SlotId(1), is_clean: true }, 1);
        given.extend(effects);
    }
    assert_eq!(given, [give(1, 1), give(1, 50), give(1, 60), give(1, 2)]);
}

#[test]
fn a_tenant_has_its_share_of_slots() {
    check(
        PoolSettings { slots_max: 3, tenant_running_max: 1, ..small() },
        &[
            (0, Event::GotLease, &[]),
            (0, wanted("a", 1, 900), &[start(1)]),
            (0, wanted("a", 2, 900), &[]),
            (1, started(1), &[give(1, 1)]),
            (2, wanted("b", 3, 900), &[start(2)]),
            (3, started(2), &[give(2, 3)]),
            (4, ended(1, true), &[close(1), start(3)]),
            (5, started(3), &[give(3, 2)]),
        ],
    );
}

#[test]
fn starts_that_fail_are_tried_less_and_less() {
    let failed = |slot| Event::StartFailed { slot: SlotId(slot) };
    let settings = PoolSettings {
        warm_min: 2,
        backoff_base_ms: 100,
        backoff_max_ms: 400,
        start_ms: 50,
        ..small()
    };
    check(
        settings,
        &[
            (0, Event::GotLease, &[start(1), start(2)]),
            (0, failed(1), &[]),
            (1, failed(2), &[]),
            (200, Event::Tick, &[]),
            (201, Event::Tick, &[start(3)]),
            (202, wanted("a", 1, 99_999), &[]),
            (251, Event::Tick, &[close(3)]),
            (252, closed(3), &[]),
            (253, wanted("a", 2, 600), &[refuse(2, Reason::StartsFail, 398)]),
            (651, Event::Tick, &[start(4)]),
            (652, started(4), &[give(4, 1), start(5)]),
            (653, started(5), &[]),
            // Dies young, before it was given.
            (654, closed(5), &[]),
            (655, ended(4, true), &[close(4), start(6)]),
        ],
    );
}

#[test]
fn without_the_lease_nothing_runs() {
    check(
        PoolSettings { warm_min: 1, ..small() },
        &[
            (0, Event::GotLease, &[start(1)]),
            (1, started(1), &[]),
            (2, wanted("a", 1, 900), &[give(1, 1), start(2)]),
            (3, wanted("a", 2, 900), &[]),
            (3, wanted("a", 3, 900), &[]),
            (
                4,
                Event::LostLease,
                &[
                    refuse(2, Reason::Moved, 1_000),
                    refuse(3, Reason::Moved, 1_000),
                    close(1),
                    close(2),
                ],
            ),
            (5, started(2), &[]),
            (6, ended(1, true), &[]),
            (7, closed(1), &[]),
            (8, Event::GotLease, &[start(3)]),
            (9, closed(2), &[]),
            // Nobody asked for it.
            (10, started(77), &[close(77)]),
        ],
    );
}

#[test]
fn settings_have_ranges() {
    for (settings, field) in [
        (PoolSettings { slots_max: 0, warm_min: 0, ..small() }, "slots_max"),
        (PoolSettings { warm_min: 3, ..small() }, "warm_min"),
        (PoolSettings { tenant_running_max: 0, ..small() }, "tenant_running_max"),
        (PoolSettings { waiting_per_start: 0, ..small() }, "waiting_per_start"),
        (PoolSettings { backoff_max_ms: 1, ..small() }, "backoff_max_ms"),
    ] {
        assert_eq!(Pool::new(settings).unwrap_err().field, field);
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Doing {
    Start,
    Idle,
    Run,
    Recycle,
    Close,
}

/// What carries the effects out.
struct World {
    pool: Pool,
    watch: Watch,
    slots: BTreeMap<SlotId, Doing>,
    now_ms: u64,
    given: u64,
    asked: u64,
}

impl World {
    fn new(draws: &mut Draws) -> World {
        let slots_max = 1 + draws.below(6) as u32;
        let settings = PoolSettings {
            slots_max,
            warm_min: draws.below(u64::from(slots_max) + 1) as u32,
            queue_max: draws.below(8) as u32,
            tenant_queue_max: draws.below(5) as u32,
            tenant_running_max: 1 + draws.below(4) as u32,
            waiting_per_start: 1 + draws.below(3) as u32,
            starts_max: 1 + draws.below(3) as u32,
            start_ms: 40,
            idle_ms: 60,
            young_ms: draws.below(30),
            backoff_base_ms: 10,
            backoff_max_ms: 200,
            recycles: draws.percent(60),
        };
        World {
            pool: Pool::new(settings.clone()).unwrap(),
            watch: Watch::new(settings),
            slots: BTreeMap::new(),
            now_ms: 0,
            given: 0,
            asked: 0,
        }
    }

    fn take(&mut self, event: Event) {
        let effects = self.pool.take(event.clone(), self.now_ms);
        self.pool.check().unwrap();
        self.watch.see(&event, &effects).unwrap();
        let wake_ms = self.pool.wake_ms();
        assert!(wake_ms.is_none_or(|at| at > self.now_ms), "{wake_ms:?} at {}", self.now_ms);
        for effect in effects {
            let (slot, doing) = match effect {
                Effect::Start { slot } => (slot, Doing::Start),
                Effect::Give { slot, .. } => {
                    self.given += 1;
                    (slot, Doing::Run)
                }
                Effect::Recycle { slot } => (slot, Doing::Recycle),
                Effect::Close { slot } => (slot, Doing::Close),
                Effect::Refuse { .. } => continue,
            };
            self.slots.insert(slot, doing);
        }
    }

    /// One slot gets on with what it does, or dies.
    fn work(&mut self, draws: &mut Draws, bad: u64) {
        let slots: Vec<(SlotId, Doing)> =
            self.slots.iter().map(|(id, what)| (*id, *what)).collect();
        let Some((slot, doing)) = draws.one_of(&slots).copied() else { return };
        let is_clean = !draws.percent(bad);
        let event = match doing {
            _ if draws.percent(bad / 4) => Event::Closed { slot },
            Doing::Start if !is_clean => Event::StartFailed { slot },
            Doing::Start => Event::Started { slot },
            Doing::Idle => return,
            Doing::Run => Event::Ended { slot, is_clean },
            Doing::Recycle => Event::Recycled { slot, is_clean },
            Doing::Close => Event::Closed { slot },
        };
        match event {
            Event::Closed { .. } | Event::StartFailed { .. } => drop(self.slots.remove(&slot)),
            _ => drop(self.slots.insert(slot, Doing::Idle)),
        }
        self.take(event);
    }

    fn step(&mut self, draws: &mut Draws, ticket: u64) {
        self.now_ms += draws.below(12);
        match draws.below(100) {
            0..35 => {
                let tenant = ["a", "b", "c", "d"][draws.below(4) as usize].to_owned();
                let is_session = draws.percent(20);
                let deadline_ms = self.now_ms + draws.below(150);
                let ticket = Ticket(ticket);
                self.asked += 1;
                self.take(Event::Wanted { tenant, ticket, is_session, deadline_ms });
            }
            35..75 => self.work(draws, 25),
            75..82 => self.take(Event::Gone { ticket: Ticket(draws.below(ticket + 1)) }),
            82..90 => self.take(Event::Tick),
            90..93 => self.take(if self.pool.has_lease() && draws.percent(50) {
                Event::LostLease
            } else {
                Event::GotLease
            }),
            // What comes twice, too late, or out of nowhere.
            kind => {
                let slot = SlotId(draws.below(20) + if draws.percent(30) { 1 << 40 } else { 0 });
                let is_clean = draws.percent(50);
                let open = self.watch.open();
                let again =
                    draws.one_of(&open).map(|ticket| wanted("a", ticket.0, self.now_ms + 50));
                self.take(match kind {
                    93..95 => Event::Ended { slot, is_clean },
                    95..97 => Event::Recycled { slot, is_clean },
                    97 => again.unwrap_or(Event::Tick),
                    _ => Event::Started { slot },
                });
            }
        }
    }
}

#[test]
fn whatever_happens_the_invariants_hold_and_every_ticket_is_answered() {
    let (mut given, mut asked) = (0, 0);
    for seed in 0..2_000 {
        let mut draws = Draws::new(seed);
        let mut world = World::new(&mut draws);
        world.take(Event::GotLease);
        for ticket in 0..80 {
            world.step(&mut draws, ticket);
        }
        // The faults stop: whoever still waits gets an answer, and the pool is warm again.
        world.take(Event::GotLease);
        for _ in 0..200 {
            world.now_ms += 5;
            world.work(&mut draws, 0);
            world.take(Event::Tick);
        }
        assert_eq!(world.watch.open(), [], "seed {seed}");
        let (counts, settings) = (world.pool.counts(), world.pool.settings());
        assert!(counts.idle >= settings.warm_min, "seed {seed}: {counts:?} of {settings:?}");
        given += world.given;
        asked += world.asked;
    }
    // The way through to a slot is no rare one.
    assert!(given * 7 > asked, "{given} of {asked}");
}
