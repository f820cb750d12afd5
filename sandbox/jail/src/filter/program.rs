//! The kernel's small machine for filters: decisions become a tree of comparisons.

use std::collections::BTreeMap;

use nix::libc;

use super::FilterError;

/// What is done with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Allow,
    /// Allowed where all conditions of one of these rules hold.
    ByArguments(Vec<Vec<Condition>>),
    /// Told to be missing.
    Absent,
    Refuse,
    /// Whoever makes it is killed.
    Kill,
}

/// The lower half of an argument, in these bits, has this value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) mask: u32,
    pub(super) value: u32,
}

impl Condition {
    pub(super) const fn is(argument: u8, value: u32) -> Self {
        Self { argument, mask: u32::MAX, value }
    }
}

/// One step of the machine, as the kernel's `sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    /// How many steps are left out where a comparison holds, and where it does not.
    pub(super) yes: u8,
    pub(super) no: u8,
    pub(super) value: u32,
}

impl Instruction {
    const fn new(code: u32, value: u32) -> Self {
        Self { code: code as u16, yes: 0, no: 0, value }
    }

    pub(super) fn bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&self.code.to_ne_bytes());
        (bytes[2], bytes[3]) = (self.yes, self.no);
        bytes[4..].copy_from_slice(&self.value.to_ne_bytes());
        bytes
    }
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IS_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Where the kernel's `seccomp_data` has its parts, in bytes.
const NUMBER: u32 = 0;
const PROCESSOR: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The kernel takes no longer program.
const INSTRUCTIONS_MAX: usize = 4_096;

const KILL: Instruction = Instruction::new(RETURN, libc::SECCOMP_RET_KILL_PROCESS);
const ALLOW: Instruction = Instruction::new(RETURN, libc::SECCOMP_RET_ALLOW);
const REFUSE: Instruction = Instruction::new(RETURN, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
const ABSENT: Instruction = Instruction::new(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);

/// A program for one processor's calls; whoever makes another's is killed. Numbers without a
/// decision are refused.
pub(super) fn assemble(
    processor: u32,
    decisions: &BTreeMap<u32, Decision>,
) -> Result<Vec<Instruction>, FilterError> {
    let is_ours = Instruction { yes: 1, ..Instruction::new(IS, processor) };
    let mut program = vec![Instruction::new(LOAD, PROCESSOR), is_ours, KILL];
    program.push(Instruction::new(LOAD, NUMBER));
    program.extend(tree(&ranges(decisions))?);
    if program.len() > INSTRUCTIONS_MAX {
        return Err(FilterError(format!("it has {} instructions", program.len())));
    }
    Ok(program)
}

/// The first number of each run of numbers with the same decision.
fn ranges(decisions: &BTreeMap<u32, Decision>) -> Vec<(u32, &Decision)> {
    let mut ranges = vec![(0, &Decision::Refuse)];
    let mut begin = |number: u32, decision| {
        if ranges.last().is_some_and(|(first, _)| *first == number) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|(_, last)| *last != decision) {
            ranges.push((number, decision));
        }
    };
    for (number, decision) in decisions {
        begin(*number, decision);
        if let Some(next) = number.checked_add(1) {
            begin(next, &Decision::Refuse);
        }
    }
    ranges
}

fn tree(ranges: &[(u32, &Decision)]) -> Result<Vec<Instruction>, FilterError> {
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let [(first, decision), ..] = above else {
        return Err(FilterError("it has no numbers".to_owned()));
    };
    if below.is_empty() {
        return leaf(decision);
    }
    let (below, above) = (tree(below)?, tree(above)?);
    let mut program = Vec::new();
    match u8::try_from(below.len()) {
        Ok(yes) => program.push(Instruction { yes, ..Instruction::new(IS_AT_LEAST, *first) }),
        // Comparisons leave out few steps, jumps many.
        Err(_) => {
            program.push(Instruction { no: 1, ..Instruction::new(IS_AT_LEAST, *first) });
            program.push(Instruction::new(JUMP, below.len() as u32));
        }
    }
    program.extend(below);
    program.extend(above);
    Ok(program)
}

fn leaf(decision: &Decision) -> Result<Vec<Instruction>, FilterError> {
    let rules = match decision {
        Decision::Allow => return Ok(vec![ALLOW]),
        Decision::Absent => return Ok(vec![ABSENT]),
        Decision::Refuse => return Ok(vec![REFUSE]),
        Decision::Kill => return Ok(vec![KILL]),
        Decision::ByArguments(rules) => rules,
    };
    let mut program = Vec::new();
    for rule in rules {
        program.extend(steps(rule)?);
    }
    program.push(REFUSE);
    Ok(program)
}

/// Allows where all conditions hold, else goes on behind the last step.
fn steps(rule: &[Condition]) -> Result<Vec<Instruction>, FilterError> {
    let mut steps = vec![ALLOW];
    // From the last one on, since each must know how many steps are behind it.
    for condition in rule.iter().rev() {
        let behind = u8::try_from(steps.len());
        let no = behind.map_err(|_| FilterError("a rule is too long".to_owned()))?;
        let lower_half = if cfg!(target_endian = "big") { 4 } else { 0 };
        let place = ARGUMENTS + 8 * u32::from(condition.argument) + lower_half;
        let mut before = vec![Instruction::new(LOAD, place)];
        if condition.mask != u32::MAX {
            before.push(Instruction::new(AND, condition.mask));
        }
        before.push(Instruction { no, ..Instruction::new(IS, condition.value) });
        steps.splice(0..0, before);
    }
    Ok(steps)
}
