//! One sandbox of one tenant.

use async_trait::async_trait;
use headwater_sandbox::{
    EngineError, Execution, FileEntry, GuestFile, GuestPath, Listener, Outcome, Slot, Usage,
};
use headwater_sandbox_agent::{Guest, lost};

use crate::remains::Remains;
use crate::runsc::Runsc;
use crate::sandbox::Sandbox;

/// A slot of the gVisor engine.
pub(crate) struct GvisorSlot {
    pub(crate) guest: Guest<Sandbox>,
    pub(crate) remains: Remains,
    pub(crate) runsc: Runsc,
}

impl GvisorSlot {
    async fn order(&mut self, word: &str) -> Result<(), EngineError> {
        let Remains { state, id, .. } = &self.remains;
        self.runsc.order(state, &[word, id]).await.map_err(lost)
    }
}

#[async_trait]
impl Slot for GvisorSlot {
    fn name(&self) -> &str {
        &self.remains.name
    }

    async fn run(
        &mut self,
        execution: &Execution,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError> {
        self.guest.run(execution, listener).await
    }

    async fn write(&mut self, file: &GuestFile) -> Result<(), EngineError> {
        self.guest.write(file).await
    }

    async fn read(&mut self, path: &GuestPath, bytes_max: u64) -> Result<GuestFile, EngineError> {
        self.guest.read(path, bytes_max).await
    }

    async fn list(&mut self, entries_max: usize) -> Result<Vec<FileEntry>, EngineError> {
        self.guest.list(entries_max).await
    }

    async fn pause(&mut self) -> Result<(), EngineError> {
        self.guest.settle().await?;
        self.order("pause").await?;
        self.guest.set_paused(true);
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), EngineError> {
        if !self.guest.is_paused() {
            return self.guest.settle().await;
        }
        self.order("resume").await?;
        self.guest.set_paused(false);
        Ok(())
    }

    async fn usage(&mut self) -> Result<Usage, EngineError> {
        self.guest.usage().await
    }

    async fn recycle(&mut self) -> Result<(), EngineError> {
        Err(self.guest.unsupported("prove that a used slot is clean; close it"))
    }

    async fn close(self: Box<Self>) -> Result<(), EngineError> {
        let Self { guest, mut remains, .. } = *self;
        remains.group.kill();
        guest.into_machine().end().await;
        let taken = tokio::task::spawn_blocking(move || remains.take_away()).await;
        match taken {
            Ok(Ok(())) => Ok(()),
            Ok(Err(what)) => Err(EngineError::Dirty { what }),
            Err(error) => Err(EngineError::Dirty { what: error.to_string() }),
        }
    }
}
