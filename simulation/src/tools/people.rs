//! People: the tools' owner, who publishes them, and whoever allows or refuses calls.

use headwater_actors::tools::{ApprovalState, Decided};

use super::agent::{caller, on_some_node};
use super::catalog::{CATALOG, grant};
use super::{END_MS, Stage};

const PATIENCE_MS: u64 = 5_000;

/// Publishes the tools and lets the team call them.
pub(super) async fn publish(stage: Stage) {
    for entry in CATALOG {
        let publish = || {
            on_some_node(&stage, PATIENCE_MS, |tools, _| async move {
                tools.publish(&caller("owner"), &entry.document()).await.map_err(said)
            })
        };
        until_done(&stage, publish).await;
    }
    let allow = || {
        on_some_node(&stage, PATIENCE_MS, |tools, _| async move {
            tools.grant(&caller("operator"), &grant()).await.map_err(said)
        })
    };
    until_done(&stage, allow).await;
    stage.book.published();
    stage.world.note("all tools are published");
}

fn said(error: headwater_actors::tools::ToolsError) -> String {
    error.to_string()
}

/// Does it again until it is done.
async fn until_done<T, F: Future<Output = Option<Result<T, String>>>>(
    stage: &Stage,
    act: impl Fn() -> F,
) {
    while stage.world.now_ms() < END_MS {
        match act().await {
            Some(Ok(_)) => return,
            Some(Err(why)) => stage.world.note(format_args!("not published: {why}")),
            None => {}
        }
        stage.world.sleep(200).await;
    }
}

/// Looks at what waits for an approval, and decides.
pub(super) async fn approve(stage: Stage) {
    let Stage { world, book, .. } = &stage;
    while world.now_ms() < END_MS {
        world.sleep(world.between(200, 4_000)).await;
        let listed = on_some_node(&stage, PATIENCE_MS, |tools, _| async move {
            tools.approvals(&caller("boss")).await.ok()
        });
        for approval in listed.await.flatten().unwrap_or_default() {
            if approval.state != ApprovalState::Open {
                continue;
            }
            let call = approval.asked.call.clone();
            let (decided, what) = match world.percent(80) {
                true => (Decided::Approve, "approval given"),
                false => (Decided::Refuse { reason: "no".to_owned() }, "approval refused"),
            };
            if decided == Decided::Approve {
                book.approving(&call);
            }
            world.note(format_args!("{call}: {what}"));
            let done = on_some_node(&stage, PATIENCE_MS, |tools, _| async move {
                tools.decide(&caller("boss"), &approval.id, decided).await.is_ok()
            });
            if done.await == Some(true) {
                world.count(what);
            }
        }
    }
}
