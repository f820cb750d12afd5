//! Starts one slot of the jail, as the product's binary does in a hidden command.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater_sandbox_jail::launcher::main(std::env::args_os().skip(1))
}
