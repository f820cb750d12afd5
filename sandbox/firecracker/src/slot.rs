//! One machine of one tenant.

use async_trait::async_trait;
use headwater_sandbox::{
    EngineError, Execution, FileEntry, GuestFile, GuestPath, Listener, Outcome, Slot, Usage,
};
use headwater_sandbox_agent::Guest;

use crate::machine::Vm;

/// A slot of the Firecracker engine.
pub(crate) struct FirecrackerSlot {
    pub(crate) guest: Guest<Vm>,
    /// A cgroup inside the guest holds its calls.
    pub(crate) grouped: bool,
}

#[async_trait]
impl Slot for FirecrackerSlot {
    fn name(&self) -> &str {
        self.guest.machine.name()
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
        self.guest.machine.stand_still(true).await?;
        self.guest.set_paused(true);
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), EngineError> {
        if !self.guest.is_paused() {
            return self.guest.settle().await;
        }
        self.guest.machine.stand_still(false).await?;
        self.guest.set_paused(false);
        Ok(())
    }

    async fn usage(&mut self) -> Result<Usage, EngineError> {
        self.guest.usage().await
    }

    async fn recycle(&mut self) -> Result<(), EngineError> {
        Err(self.guest.unsupported("prove that a used machine is clean; close it"))
    }

    async fn close(self: Box<Self>) -> Result<(), EngineError> {
        let remains = self.guest.into_machine().end().await;
        match tokio::task::spawn_blocking(move || remains.take_away()).await {
            Ok(taken) => taken.map_err(|what| EngineError::Dirty { what }),
            Err(error) => Err(EngineError::Dirty { what: error.to_string() }),
        }
    }
}
