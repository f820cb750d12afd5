//! The keys that runs are begun with, and the operator who makes and revokes them.

use super::book::Runs;
use crate::identity::new_key;
use crate::tools::{HEAL_MS, STOP_MS, Stage};

/// Longest time for one operation, in ms; what takes longer is done again.
const PATIENCE_MS: u64 = 3_000;
const AGAIN_MS: u64 = 200;

/// Makes keys, and has them end one after the other.
pub(in crate::tools) async fn revoke(stage: Stage, runs: Runs) {
    let world = &stage.world;
    let mut made = Vec::new();
    while made.len() < runs.options.keys as usize && world.now_ms() < STOP_MS {
        let keys = stage.some_node().and_then(|node| node.life().keys);
        let Some(keys) = keys else { return };
        match world.within(PATIENCE_MS, keys.create(new_key())).await {
            Some(Ok((key, _))) => {
                runs.key_made(&key.id);
                made.push(key.id);
            }
            _ => world.sleep(AGAIN_MS).await,
        }
    }
    for id in made {
        world.sleep(world.between(1_000, HEAL_MS / 2)).await;
        runs.revoking(&id);
        while world.now_ms() < STOP_MS {
            let keys = stage.some_node().and_then(|node| node.life().keys);
            let Some(keys) = keys else { return };
            if let Some(Ok(_)) = world.within(PATIENCE_MS, keys.revoke(&id)).await {
                runs.revoked(&id);
                break;
            }
            world.sleep(AGAIN_MS).await;
        }
    }
}
