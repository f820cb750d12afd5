//! Gives a module the host's functions that it imports, and no others.

use wasmtime::{Caller, Engine, InstancePre, Linker, Module};

use crate::engine::guest::Guest;
use crate::guest::errno::Errno;
use crate::guest::memory::Memory;
use crate::guest::wasi::{Answer, Halt, Wasi};

const WASI: &str = "wasi_snapshot_preview1";
/// What the module's door to functions of the host answers where there are none.
const NO_HOST: i32 = -1;

/// Runs a call on the guest's memory, and turns its answer into what the guest sees.
fn answer(
    caller: &mut Caller<'_, Guest>,
    call: impl FnOnce(&mut Wasi, &mut Memory<'_>) -> Answer,
) -> wasmtime::Result<i32> {
    let Some(memory) = caller.data().memory else { return Ok(Errno::Fault.number()) };
    let (bytes, guest) = memory.data_and_store_mut(&mut *caller);
    match call(&mut guest.wasi, &mut Memory(bytes)) {
        Ok(()) => Ok(0),
        Err(Halt::Errno(error)) => Ok(error.number()),
        Err(Halt::Stop(stop)) => Err(wasmtime::Error::new(stop)),
    }
}

macro_rules! calls {
    ($linker:ident: $($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $($linker.func_wrap(
            WASI,
            stringify!($name),
            |mut caller: Caller<'_, Guest>, $($argument: $kind),*| {
                answer(&mut caller, |wasi, memory| wasi.$name(memory, $($argument),*))
            },
        )?;)*
    };
}

/// The calls that go straight to the guest's world.
fn bind(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    calls! { linker:
        args_get(a: u32, b: u32);
        args_sizes_get(a: u32, b: u32);
        environ_get(a: u32, b: u32);
        environ_sizes_get(a: u32, b: u32);
        clock_res_get(a: u32, b: u32);
        clock_time_get(a: u32, b: u64, c: u32);
        fd_advise(a: u32, b: u64, c: u64, d: u32);
        fd_close(a: u32);
        fd_datasync(a: u32);
        fd_fdstat_get(a: u32, b: u32);
        fd_fdstat_set_flags(a: u32, b: u32);
        fd_filestat_get(a: u32, b: u32);
        fd_filestat_set_size(a: u32, b: u64);
        fd_filestat_set_times(a: u32, b: u64, c: u64, d: u32);
        fd_pread(a: u32, b: u32, c: u32, d: u64, e: u32);
        fd_prestat_get(a: u32, b: u32);
        fd_prestat_dir_name(a: u32, b: u32, c: u32);
        fd_pwrite(a: u32, b: u32, c: u32, d: u64, e: u32);
        fd_read(a: u32, b: u32, c: u32, d: u32);
        fd_readdir(a: u32, b: u32, c: u32, d: u64, e: u32);
        fd_seek(a: u32, b: u64, c: u32, d: u32);
        fd_sync(a: u32);
        fd_tell(a: u32, b: u32);
        fd_write(a: u32, b: u32, c: u32, d: u32);
        path_create_directory(a: u32, b: u32, c: u32);
        path_filestat_get(a: u32, b: u32, c: u32, d: u32, e: u32);
        path_filestat_set_times(a: u32, b: u32, c: u32, d: u32, e: u64, f: u64, g: u32);
        path_link(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32);
        path_open(a: u32, b: u32, c: u32, d: u32, e: u32, f: u64, g: u64, h: u32, i: u32);
        path_readlink(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32);
        path_remove_directory(a: u32, b: u32, c: u32);
        path_rename(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32);
        path_symlink(a: u32, b: u32, c: u32, d: u32, e: u32);
        path_unlink_file(a: u32, b: u32, c: u32);
        random_get(a: u32, b: u32);
        sched_yield();
        sock_accept(a: u32, b: u32, c: u32);
        sock_recv(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32);
        sock_send(a: u32, b: u32, c: u32, d: u32, e: u32);
        sock_shutdown(a: u32, b: u32);
    }
    Ok(())
}

/// Binds a module's imports.
///
/// # Errors
/// When it imports something else.
pub(crate) fn link(engine: &Engine, module: &Module) -> wasmtime::Result<InstancePre<Guest>> {
    let mut linker: Linker<Guest> = Linker::new(engine);
    bind(&mut linker)?;
    linker.func_wrap(
        WASI,
        "poll_oneoff",
        |mut caller: Caller<'_, Guest>, list: u32, events: u32, count: u32, at: u32| {
            let mut wait = None;
            let plan = answer(&mut caller, |wasi, memory| {
                wait = Some(wasi.plan_wait(memory, list, count)?);
                Ok(())
            })?;
            let Some(wait) = wait else { return Ok(plan) };
            caller.data().stand(wait.for_ns).map_err(wasmtime::Error::new)?;
            answer(&mut caller, |_, memory| Wasi::end_wait(memory, &wait, events, at))
        },
    )?;
    linker.func_wrap(
        WASI,
        "proc_exit",
        |mut caller: Caller<'_, Guest>, status: u32| -> wasmtime::Result<()> {
            answer(&mut caller, |wasi, memory| wasi.proc_exit(memory, status)).map(drop)
        },
    )?;
    linker.func_wrap("host", "call", |_: u32, _: u32, _: u32, _: u32| NO_HOST)?;
    linker.instantiate_pre(module)
}
