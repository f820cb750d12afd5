//! An engine that gives some slots more time than they ask for, or leaves them out: a guest's kernel
//! in user space is slow at what their programs do, and the suite's limits are those of quick ones.

use async_trait::async_trait;
use headwater_sandbox::{
    Abilities, Engine, EngineError, Execution, FileEntry, GuestFile, GuestPath, Image, Limits,
    Listener, Outcome, Probe, Slot, SlotSpec, Swept, Usage,
};

const TIMES: u64 = 16;

/// The engine, and the ends of the names of slots that get more time, and of those left out.
pub(crate) struct Patient<'a> {
    pub(crate) engine: &'a dyn Engine,
    pub(crate) slow: &'a [&'a str],
    pub(crate) left_out: &'a [&'a str],
}

fn longer(limits: Limits) -> Limits {
    Limits { wall_ms: limits.wall_ms * TIMES, cpu_ms: limits.cpu_ms * TIMES, ..limits }
}

#[async_trait]
impl Engine for Patient<'_> {
    fn abilities(&self) -> Abilities {
        self.engine.abilities()
    }

    async fn probe(&self, image: &Image) -> Result<Probe, EngineError> {
        self.engine.probe(image).await
    }

    async fn prepare(&self, image: &Image) -> Result<(), EngineError> {
        self.engine.prepare(image).await
    }

    async fn start(&self, spec: SlotSpec) -> Result<Box<dyn Slot>, EngineError> {
        let name = spec.name.replace('-', "_");
        let is_of = |cases: &[&str]| cases.iter().any(|case| name.ends_with(case));
        if is_of(self.left_out) {
            return Err(EngineError::Busy { why: "left out".to_owned() });
        }
        if !is_of(self.slow) {
            return self.engine.start(spec).await;
        }
        let limits = longer(spec.limits);
        let slot = self.engine.start(SlotSpec { limits, ..spec }).await?;
        Ok(Box::new(PatientSlot { slot }))
    }

    async fn sweep(&self) -> Result<Swept, EngineError> {
        self.engine.sweep().await
    }
}

struct PatientSlot {
    slot: Box<dyn Slot>,
}

#[async_trait]
impl Slot for PatientSlot {
    fn name(&self) -> &str {
        self.slot.name()
    }

    async fn run(
        &mut self,
        execution: &Execution,
        listener: &mut dyn Listener,
    ) -> Result<Outcome, EngineError> {
        let limits = longer(execution.limits);
        self.slot.run(&Execution { limits, ..execution.clone() }, listener).await
    }

    async fn write(&mut self, file: &GuestFile) -> Result<(), EngineError> {
        self.slot.write(file).await
    }

    async fn read(&mut self, path: &GuestPath, bytes_max: u64) -> Result<GuestFile, EngineError> {
        self.slot.read(path, bytes_max).await
    }

    async fn list(&mut self, entries_max: usize) -> Result<Vec<FileEntry>, EngineError> {
        self.slot.list(entries_max).await
    }

    async fn pause(&mut self) -> Result<(), EngineError> {
        self.slot.pause().await
    }

    async fn resume(&mut self) -> Result<(), EngineError> {
        self.slot.resume().await
    }

    async fn usage(&mut self) -> Result<Usage, EngineError> {
        self.slot.usage().await
    }

    async fn recycle(&mut self) -> Result<(), EngineError> {
        self.slot.recycle().await
    }

    async fn close(self: Box<Self>) -> Result<(), EngineError> {
        self.slot.close().await
    }
}
