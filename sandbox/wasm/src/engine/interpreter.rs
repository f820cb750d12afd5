//! An instance of the module: an interpreter that runs one program after another.

use wasmtime::{Error, Memory, Store, TypedFunc, UpdateDeadline};

use crate::engine::Shared;
use crate::engine::compiled::Compiled;
use crate::engine::guest::Guest;

pub(crate) struct Interpreter {
    pub(crate) store: Store<Guest>,
    pub(crate) memory: Memory,
    /// Gives a place for so many bytes of a program; 0 where there is no room.
    place: TypedFunc<u32, u32>,
    /// Runs the program at a place; tells its status.
    turn: TypedFunc<(u32, u32), u32>,
}

impl Interpreter {
    /// Makes an instance as the module has it: no code of the guest runs.
    ///
    /// # Errors
    /// When there is no room for it, or the module has not what an interpreter has.
    pub(crate) fn new(
        shared: &Shared,
        compiled: &Compiled,
        guest: Guest,
    ) -> wasmtime::Result<Self> {
        let mut store = Store::new(&shared.wasmtime, guest);
        store.limiter(|guest| guest);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| match context.data().tick() {
            Ok(()) => Ok(UpdateDeadline::Continue(1)),
            Err(stop) => Err(Error::new(stop)),
        });
        let instance = compiled.code.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, "memory");
        let memory = memory.ok_or_else(|| Error::msg("the module has no memory"))?;
        let place = instance.get_typed_func(&mut store, "host_alloc")?;
        let turn = instance.get_typed_func(&mut store, "turn")?;
        store.data_mut().memory = Some(memory);
        Ok(Self { store, memory, place, turn })
    }

    /// Runs a program.
    ///
    /// # Errors
    /// What ended it: a [`Stop`](crate::guest::wasi::Stop), or a trap.
    pub(crate) fn run(&mut self, shared: &Shared, program: &str) -> wasmtime::Result<u32> {
        let _running = shared.ticker.running();
        let length = program.len() as u32;
        let place = self.place.call(&mut self.store, length)?;
        if place != 0 {
            self.memory.write(&mut self.store, place as usize, program.as_bytes())?;
        }
        self.turn.call(&mut self.store, (place, length))
    }
}
