//! The tree decides as three filters of another builder do together.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::calls::{ABSENT, ALLOWED, HOSTILE};
use super::program::{Condition, Decision, Instruction, assemble};
use super::{by_arguments, decisions, filter, processor};

/// One call as the kernel shows it to a filter.
#[derive(Debug, Clone, Copy)]
struct Call {
    processor: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word(&self, place: u32) -> u32 {
        match place {
            0 => self.number,
            4 => self.processor,
            place => {
                let argument = self.arguments[(place as usize - 16) / 8];
                if place.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
        }
    }
}

/// Runs a program as the kernel does, step by step.
fn answer(program: &[Instruction], call: &Call) -> u32 {
    let (mut held, mut at) = (0_u32, 0_usize);
    for _ in 0..=program.len() {
        let step = program[at];
        at += 1;
        let value = step.value;
        let holds = match step.code {
            0x20 => {
                held = call.word(value);
                continue;
            }
            0x54 => {
                held &= value;
                continue;
            }
            0x05 => {
                at += value as usize;
                continue;
            }
            0x06 => return value,
            0x15 => held == value,
            0x25 => held > value,
            0x35 => held >= value,
            code => panic!("step {code:#x} is not known"),
        };
        at += usize::from(if holds { step.yes } else { step.no });
    }
    panic!("the program does not end");
}

fn own(way_out: bool) -> Vec<Instruction> {
    let bytes = filter(way_out).unwrap();
    let step = |bytes: &[u8]| Instruction {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        yes: bytes[2],
        no: bytes[3],
        value: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    bytes.chunks(8).map(step).collect()
}

fn other(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    missed: SeccompAction,
    hit: SeccompAction,
) -> Vec<Instruction> {
    let target = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let program: BpfProgram =
        SeccompFilter::new(rules, missed, hit, target).unwrap().try_into().unwrap();
    let step = |step: seccompiler::sock_filter| Instruction {
        code: step.code,
        yes: step.jt,
        no: step.jf,
        value: step.k,
    };
    program.into_iter().map(step).collect()
}

/// Three filters one upon another, of which the kernel does the hardest thing.
fn others(way_out: bool) -> Vec<Vec<Instruction>> {
    let plain = |calls: &[i64]| -> BTreeMap<i64, Vec<SeccompRule>> {
        calls.iter().map(|call| (*call, Vec::new())).collect()
    };
    let condition = |condition: &Condition| {
        let operator = SeccompCmpOp::MaskedEq(u64::from(condition.mask));
        let (length, value) = (SeccompCmpArgLen::Dword, u64::from(condition.value));
        SeccompCondition::new(condition.argument, length, operator, value).unwrap()
    };
    let mut allowed = plain(ALLOWED);
    allowed.extend(plain(ABSENT));
    for (call, rules) in by_arguments(way_out) {
        let rule =
            |rule: &Vec<Condition>| SeccompRule::new(rule.iter().map(condition).collect()).unwrap();
        allowed.insert(call, rules.iter().map(rule).collect());
    }
    let errno = |error: i32| SeccompAction::Errno(error as u32);
    vec![
        other(plain(ABSENT), SeccompAction::Allow, errno(libc::ENOSYS)),
        other(plain(HOSTILE), SeccompAction::Allow, SeccompAction::KillProcess),
        other(allowed, errno(libc::EPERM), SeccompAction::Allow),
    ]
}

/// The smaller number is the harder thing, but for what kills the process, which is hardest.
fn hardest(programs: &[Vec<Instruction>], call: &Call) -> u32 {
    let answers = programs.iter().map(|program| answer(program, call));
    answers.min_by_key(|answer| (answer & 0xffff_0000).cast_signed()).unwrap()
}

#[test]
fn the_tree_decides_as_three_filters_do() {
    let here = processor(std::env::consts::ARCH).unwrap();
    let numbers: Vec<u32> = (0..2_048)
        .chain(0x4000_0000..0x4000_0400)
        .chain([u32::MAX, u32::MAX - 1, 0x7fff_ffff, 0x8000_0000])
        .collect();
    let mut values: Vec<u64> = vec![0, 1, 0xf, 0x10, 0x7f, u64::from(u32::MAX), u64::MAX, 1 << 32];
    for rules in by_arguments(true).into_iter().flat_map(|(_, rules)| rules) {
        for condition in rules {
            let (mask, value) = (u64::from(condition.mask), u64::from(condition.value));
            values.extend([value, value | 1 << 32, value + 1, value.wrapping_sub(1)]);
            values.extend([value | 0x800, value | 0x8_0000, mask & mask.wrapping_neg()]);
        }
    }
    values.extend((0..32).map(|bit| 1 << bit | libc::SIGCHLD as u64));
    values.sort_unstable();
    values.dedup();
    for way_out in [false, true] {
        let (own, others) = (own(way_out), others(way_out));
        let with_arguments: Vec<u32> =
            by_arguments(true).iter().map(|(call, _)| *call as u32).collect();
        let check = |processor: u32, number: u32, first: u64, second: u64| {
            let call = Call { processor, number, arguments: [first, second, 0, 0, 0, 0] };
            assert_eq!(answer(&own, &call), hardest(&others, &call), "{call:x?}, {way_out}");
        };
        for number in &numbers {
            check(here, *number, 0, 0);
            check(here ^ 1, *number, 0, 0);
            check(0x4000_0003, *number, 0, 0);
        }
        for number in with_arguments {
            for first in &values {
                for second in &values {
                    check(here, number, *first, *second);
                }
            }
        }
    }
}

#[test]
fn a_long_way_is_jumped_over() {
    // Every second number, with rules between, so that one comparison must leave out thousands.
    let rules = vec![vec![Condition::is(0, 7), Condition { argument: 5, mask: 3, value: 1 }]];
    let decisions: BTreeMap<u32, Decision> = (0..400)
        .map(|number| {
            let decision = if number % 20 == 0 {
                Decision::ByArguments(rules.clone())
            } else {
                Decision::Allow
            };
            (number * 2, decision)
        })
        .collect();
    let program = assemble(1, &decisions).unwrap();
    assert!(program.len() > 1_000, "{}", program.len());
    for number in 0..900 {
        for (first, sixth) in [(7, 5), (7, 2), (8, 1), (0, 0)] {
            let call = Call { processor: 1, number, arguments: [first, 0, 0, 0, 0, sixth] };
            let allows = match decisions.get(&number) {
                Some(Decision::Allow) => true,
                Some(_) => first == 7 && sixth & 3 == 1,
                None => false,
            };
            let expected = if allows { libc::SECCOMP_RET_ALLOW } else { 0x5_0001 };
            assert_eq!(answer(&program, &call), expected, "{call:?}");
        }
    }
}

#[test]
fn what_must_be_killed_is_killed_whatever_else_is_said() {
    let decisions = decisions(true).unwrap();
    for (list, decision) in
        [(HOSTILE, Decision::Kill), (ABSENT, Decision::Absent), (ALLOWED, Decision::Allow)]
    {
        for call in list {
            assert_eq!(decisions.get(&(*call as u32)), Some(&decision), "{call}");
        }
    }
    assert_eq!(decisions.get(&(libc::SYS_seccomp as u32)), None);
    assert!(own(true).len() < 600, "{} instructions", own(true).len());
}

#[test]
fn programs_that_the_kernel_does_not_take_are_refused() {
    let rules = vec![vec![Condition { argument: 0, mask: 1, value: 1 }; 200]];
    let one = |rules| BTreeMap::from([(1, Decision::ByArguments(rules))]);
    assert!(assemble(1, &one(rules)).unwrap_err().to_string().contains("a rule is too long"));
    let rules = vec![vec![Condition::is(0, 1)]; 2_000];
    assert!(assemble(1, &one(rules)).unwrap_err().to_string().contains("instructions"));
    assert!(processor("s390x").unwrap_err().to_string().contains("s390x is not known"));
}
