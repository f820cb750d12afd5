//! The system calls that guests have, as filters for the kernel.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

mod calls;

use calls::{ABSENT, ALLOWED, HOSTILE};

/// A filter could not be built: a defect, or a processor that is not known.
#[derive(Debug, thiserror::Error)]
#[error("the filter of system calls cannot be built: {0}")]
pub(crate) struct FilterError(String);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters of a guest, as bytes that the kernel takes, in the order to be put on: the last one
/// refuses more filters. The kernel asks all of them and does the hardest that one says.
pub(crate) fn filters(way_out: bool) -> Result<Vec<Vec<u8>>, FilterError> {
    let plain = |numbers: &[i64]| numbers.iter().map(|number| (*number, Vec::new())).collect();
    let mut allowed: Rules = plain(ALLOWED);
    allowed.extend(plain(ABSENT));
    allowed.extend(by_arguments(way_out)?);
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    Ok(vec![
        build(plain(ABSENT), SeccompAction::Allow, missing)?,
        build(plain(HOSTILE), SeccompAction::Allow, SeccompAction::KillProcess)?,
        build(allowed, refused, SeccompAction::Allow)?,
    ])
}

fn build(rules: Rules, other: SeccompAction, found: SeccompAction) -> Result<Vec<u8>, FilterError> {
    let told = |error: seccompiler::BackendError| FilterError(error.to_string());
    let target = TargetArch::try_from(std::env::consts::ARCH).map_err(told)?;
    let filter = SeccompFilter::new(rules, other, found, target).map_err(told)?;
    let program: BpfProgram = filter.try_into().map_err(told)?;
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    Ok(bytes)
}

fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, FilterError> {
    let told = |error: seccompiler::BackendError| FilterError(error.to_string());
    let mut made = Vec::new();
    for (argument, operator, value) in conditions {
        let length = SeccompCmpArgLen::Dword;
        made.push(
            SeccompCondition::new(*argument, length, operator.clone(), *value).map_err(told)?,
        );
    }
    SeccompRule::new(made).map_err(told)
}

/// One rule for each value that an argument may have.
fn one_of(argument: u8, values: &[i64]) -> Result<Vec<SeccompRule>, FilterError> {
    values.iter().map(|value| rule(&[(argument, SeccompCmpOp::Eq, *value as u64)])).collect()
}

fn by_arguments(way_out: bool) -> Result<Rules, FilterError> {
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
    let mask = SeccompCmpOp::MaskedEq(namespaces as u32 as u64);
    let mut rules = Rules::new();
    rules.insert(libc::SYS_clone, vec![rule(&[(0, mask, 0)])?]);
    let terminal = [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONREAD, libc::FIONBIO];
    let mut requests: Vec<i64> = terminal.iter().map(|request| *request as i64).collect();
    requests.extend([libc::FIOCLEX as i64, libc::FIONCLEX as i64]);
    rules.insert(libc::SYS_ioctl, one_of(1, &requests)?);
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_PDEATHSIG, 0x5356_4d41];
    rules.insert(libc::SYS_prctl, one_of(0, &names.map(i64::from))?);
    rules.insert(libc::SYS_socketpair, one_of(0, &[i64::from(libc::AF_UNIX)])?);
    if way_out {
        let kind = SeccompCmpOp::MaskedEq(0xf);
        let stream = (1, kind.clone(), libc::SOCK_STREAM as u64);
        let datagram = (1, kind, libc::SOCK_DGRAM as u64);
        let inet = (0, SeccompCmpOp::Eq, libc::AF_INET as u64);
        let rule_of = |kind| rule(&[inet.clone(), kind]);
        rules.insert(libc::SYS_socket, vec![rule_of(stream)?, rule_of(datagram)?]);
    }
    Ok(rules)
}
