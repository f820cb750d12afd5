//! The system calls that guests have, as a filter for the kernel.
//!
//! The kernel goes through a filter for each number when a guest puts it on, which is once for
//! each call: so the numbers stand in a tree, not in a row.

mod calls;
mod program;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use nix::libc;

use calls::{ABSENT, ALLOWED, HOSTILE};
use program::{Condition, Decision, assemble};

/// A filter could not be built: a defect, or a processor that is not known.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter of system calls cannot be built: {0}")]
pub(crate) struct FilterError(String);

/// A guest's filter, as bytes that the kernel takes.
pub(crate) fn filter(way_out: bool) -> Result<Vec<u8>, FilterError> {
    let processor = processor(std::env::consts::ARCH)?;
    let program = assemble(processor, &decisions(way_out)?)?;
    Ok(program.into_iter().flat_map(program::Instruction::bytes).collect())
}

/// As the kernel names processors to filters.
fn processor(name: &str) -> Result<u32, FilterError> {
    match name {
        "x86_64" => Ok(0xc000_003e),
        "aarch64" => Ok(0xc000_00b7),
        "riscv64" => Ok(0xc000_00f3),
        _ => Err(FilterError(format!("the processor {name} is not known"))),
    }
}

/// What is done with each call; with every other, [`Decision::Refuse`].
fn decisions(way_out: bool) -> Result<BTreeMap<u32, Decision>, FilterError> {
    let lists = [
        (ALLOWED, Decision::Allow),
        (ABSENT, Decision::Absent),
        // Last: what is in two lists is killed.
        (HOSTILE, Decision::Kill),
    ];
    let mut decisions = BTreeMap::new();
    for (call, rules) in by_arguments(way_out) {
        decisions.insert(number(call)?, Decision::ByArguments(rules));
    }
    for (list, decision) in lists {
        for call in list {
            decisions.insert(number(*call)?, decision.clone());
        }
    }
    Ok(decisions)
}

fn number(call: i64) -> Result<u32, FilterError> {
    u32::try_from(call).map_err(|_| FilterError(format!("{call} is no number of a call")))
}

/// One rule for each value that an argument may have.
fn one_of(argument: u8, values: &[u32]) -> Vec<Vec<Condition>> {
    values.iter().map(|value| vec![Condition::is(argument, *value)]).collect()
}

/// Calls that are allowed where all conditions of one rule hold.
fn by_arguments(way_out: bool) -> Vec<(i64, Vec<Vec<Condition>>)> {
    // New namespaces, a tracer, a process outside of its parent's family: never.
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_PTRACE
        | libc::CLONE_PARENT;
    let none = Condition { argument: 0, mask: namespaces as u32, value: 0 };
    let requests = [
        libc::TCGETS as u32,
        libc::TIOCGWINSZ as u32,
        libc::FIONREAD as u32,
        libc::FIONBIO as u32,
        libc::FIOCLEX as u32,
        libc::FIONCLEX as u32,
    ];
    // The last one names parts of memory.
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_PDEATHSIG, 0x5356_4d41];
    let mut calls = vec![
        (libc::SYS_clone, vec![vec![none]]),
        (libc::SYS_ioctl, one_of(1, &requests)),
        (libc::SYS_prctl, one_of(0, &names.map(|name| name as u32))),
        (libc::SYS_socketpair, one_of(0, &[libc::AF_UNIX as u32])),
    ];
    if way_out {
        let of_kind = |kind: i32| {
            let kind = Condition { argument: 1, mask: 0xf, value: kind as u32 };
            vec![Condition::is(0, libc::AF_INET as u32), kind]
        };
        let rules = vec![of_kind(libc::SOCK_STREAM), of_kind(libc::SOCK_DGRAM)];
        calls.push((libc::SYS_socket, rules));
    }
    calls
}
