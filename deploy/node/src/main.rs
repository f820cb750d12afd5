//! The `headwater` command line.

use std::process::ExitCode;

use clap::Parser;
use headwater_node::command::{self, Command};

fn main() -> ExitCode {
    if let Some(code) = headwater_node::launch(std::env::args_os()) {
        return code;
    }
    let command = Command::parse();
    match command::run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The reason goes to standard error whatever the log's level is.
            eprintln!("headwater: {failure}");
            failure.exit_code()
        }
    }
}
