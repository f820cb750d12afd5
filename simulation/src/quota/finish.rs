//! After the world has healed: a new window admits again, everybody is served, and everything is
//! written down.

use headwater_tenancy::{Amounts, Payer, Subject};

use super::client::{Crowd, MODELS};
use super::node::Life;
use super::watch::somebody_waits;

/// Within so long after the window's beginning a node admits again, in ms.
const SERVED_MS: u64 = 8_000;
/// So long after the healing nothing of the troubles is under way any more, in ms.
const SETTLED_MS: u64 = 6_000;
/// Within so long everything is written down, in ms.
const WRITTEN_MS: u64 = 8_000;

/// Sets the limits before the clients begin.
pub(super) async fn set_limits(crowd: Crowd) {
    for tenant in &crowd.cluster.options.tenants {
        while !tenant.limits.is_empty() && !crowd.books.are_limits_set(&tenant.name) {
            let limits = headwater_tenancy::Limits { revision: 0, limits: tenant.limits.clone() };
            if let Some(life) = crowd.cluster.lives().first() {
                let set = life.handle.set_limits(&tenant.name, limits.clone());
                let _ = crowd.world.within(10_000, set).await;
            }
            crowd.world.sleep(100).await;
        }
    }
}

/// Heals the world, then checks that it lives.
pub(super) async fn heal_and_check(crowd: Crowd) {
    let world = crowd.world.clone();
    let options = crowd.cluster.options.clone();
    world.sleep(options.heal_ms).await;
    world.note("the world heals");
    crowd.cluster.store.heal();
    crowd.cluster.net.heal();
    world.sleep(options.probe_ms.saturating_sub(world.now_ms())).await;
    let lives = crowd.cluster.lives();
    if lives.len() != options.nodes {
        world.violated("every_node_comes_back", format_args!("{} run", lives.len()));
    }
    for tenant in options.tenants.iter().filter(|tenant| tenant.probed) {
        for life in &lives {
            let (crowd, life, name) = (crowd.clone(), life.clone(), tenant.name.clone());
            world.spawn_in(life.group, async move { probe(crowd, life, name).await });
        }
    }
    world.sleep(options.drain_ms.saturating_sub(world.now_ms())).await;
    somebody_waits(&crowd, world.now_ms());
    for life in &lives {
        let (crowd, life) = (crowd.clone(), life.clone());
        world.spawn(async move { write_down(crowd, life).await });
    }
    world.sleep(2 * WRITTEN_MS).await;
    // No answer was lost since, so every edge knows what it holds.
    for (tenant, edge, id) in crowd.books.out_since(options.heal_ms + SETTLED_MS) {
        let seen = format!("{edge} still holds allowance {id} of {tenant}");
        world.violated("allowances_come_back", seen);
    }
    crowd.cluster.mail.check();
}

/// One request after the beginning of a window, with everything well.
async fn probe(crowd: Crowd, life: Life, tenant: String) {
    let world = &crowd.world;
    let deadline_ms = world.now_ms() + SERVED_MS;
    let mut last = String::from("there was no answer");
    while world.now_ms() < deadline_ms {
        let tag = crowd.diary.begins(life.number);
        let estimate = Amounts { requests: 1, tokens: 10, micro_usd: tag };
        let left_ms = deadline_ms - world.now_ms();
        let (model, began_ms) = (MODELS[0], world.now_ms());
        let reserving = life.handle.reserve(payer(&tenant), model, estimate);
        let outcome = world.within(left_ms, reserving).await;
        crowd.diary.ends(tag);
        match outcome {
            Some(Ok(share)) => {
                crowd.admit(&life, model, tag, began_ms, estimate, &share);
                let verified = !share.is_unverified();
                if !share.payers().any(|(name, _)| name == tenant) {
                    let seen = format!("{tenant} does not in process {}", life.number);
                    world.violated("whoever_has_limits_pays", seen);
                }
                crowd.settle(&life, tag, estimate, share).await;
                if verified {
                    world.count("served after healing");
                    return;
                }
                last = String::from("it was admitted without the owner's word");
            }
            Some(Err(refusal)) => last = format!("{refusal:?}"),
            None => {}
        }
        world.sleep(100).await;
    }
    let invariant = match last.starts_with("UsedUp") {
        true => "a_new_window_admits_again",
        false => "every_tenant_is_served_after_healing",
    };
    world.violated(invariant, format_args!("{tenant} in process {}: {last}", life.number));
}

/// Whoever asks so that this subject pays.
fn payer(tenant: &str) -> Payer<'_> {
    let (team, project, user) = match Subject::named(tenant) {
        Subject::Team(team) => (team, None, None),
        Subject::Project { team, project } => (team, Some(project), None),
        Subject::User { team, user } => (team, None, Some(user)),
    };
    Payer { team, project, user }
}

/// Every entry of this process is written in the end, and no share is left that nobody holds.
async fn write_down(crowd: Crowd, life: Life) {
    let world = &crowd.world;
    if life.handle.open() > 0 {
        let seen = format!("{} shares in process {}", life.handle.open(), life.number);
        world.violated("a_refusal_gives_back_every_share", seen);
    }
    let told = world.within(2 * WRITTEN_MS, life.handle.drain(WRITTEN_MS)).await;
    if told != Some(true) {
        let seen = format!("process {} still has something to tell", life.number);
        world.violated("every_entry_is_written_in_the_end", seen);
    }
    for (tag, request) in crowd.diary.settled(life.number) {
        if !crowd.books.has(&request.tenant, tag) {
            let seen = format!("request {tag} of {} in process {}", request.tenant, life.number);
            world.violated("every_entry_is_written_in_the_end", seen);
        }
    }
    world.count("everything written down");
}
