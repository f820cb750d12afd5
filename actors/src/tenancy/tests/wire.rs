//! Every question and reply comes back from its bytes as it was, and other bytes are an error.

use headwater_tenancy::{
    Allowance, AllowanceId, AllowanceRecord, AllowanceReturn, Amounts, Ask, Books, CounterKey,
    Entry, EntryId, Exhausted, Limit, Limits, Operation, Outcome, OwnerProblem, Report, Standing,
    Unit, Window,
};

use super::super::records::{decode_allowance, encode_allowance};
use super::super::wire::{
    Question, Reply, decode_question, decode_reply, encode_question, encode_reply,
};
use crate::cluster::tests::world::{Draws, id};

const LARGE: Amounts = Amounts { requests: 1, tokens: u64::MAX, micro_usd: 1 << 53 };

fn entries() -> Vec<Entry> {
    let covered = Entry {
        id: EntryId(u128::MAX),
        model: "large".to_owned(),
        used: LARGE,
        uncovered: Amounts::ZERO,
        unverified: false,
        allowance: Some(AllowanceId(1)),
        at_ms: u64::MAX,
    };
    let unverified = Entry {
        id: EntryId(0),
        model: String::new(),
        uncovered: LARGE,
        unverified: true,
        allowance: None,
        at_ms: 0,
        ..covered.clone()
    };
    vec![covered, unverified]
}

/// One limit for each unit and window, with and without a model.
fn limits() -> Limits {
    let pairs = Unit::ALL.into_iter().flat_map(|unit| Window::ALL.map(|window| (unit, window)));
    let limits = pairs.enumerate().map(|(place, (unit, window))| {
        let model = (place % 2 == 0).then(|| format!("model-{place}"));
        Limit { model, unit, window, amount: place as u64 * 1000 }
    });
    Limits { revision: 3, limits: limits.collect() }
}

fn counters() -> Vec<CounterKey> {
    limits().limits.iter().map(|limit| CounterKey::of(limit, 1_790_000_000_000)).collect()
}

fn allowance() -> Allowance {
    Allowance {
        id: AllowanceId(7),
        amounts: LARGE,
        valid_ms: 2000,
        outage_budget: Amounts { requests: Amounts::UNLIMITED, tokens: 5, micro_usd: 0 },
        revision: 3,
        standing: vec![Standing { unit: Unit::Tokens, amount: 9, remaining: 5, resets_in_ms: 7 }],
    }
}

fn questions() -> Vec<Question> {
    let ask = Ask {
        id: AllowanceId(u128::MAX - 1),
        edge: "edge".to_owned(),
        model: "large".to_owned(),
        need: Amounts::ZERO,
        want: LARGE,
    };
    let returns = vec![AllowanceReturn { id: AllowanceId(9), unused: LARGE }];
    vec![
        Question::Do(Operation::Ask(ask)),
        Question::Do(Operation::Report(Report { number: 5, entries: entries(), returns })),
        Question::Do(Operation::Report(Report { number: 0, entries: vec![], returns: vec![] })),
        Question::Do(Operation::SetLimits(limits())),
        Question::Do(Operation::SetLimits(Limits::default())),
        Question::Do(Operation::Look),
        Question::Adopt,
    ]
}

fn replies() -> Vec<Reply> {
    let limit = limits().limits[0].clone();
    let exhausted = Exhausted { limit, remaining: 4, resets_in_ms: 59_999 };
    let counters = counters().into_iter().zip(1..).collect();
    let outcomes = vec![
        Outcome::Granted(allowance()),
        Outcome::Exhausted(exhausted),
        Outcome::Written,
        Outcome::LimitsSet { revision: u64::MAX },
        Outcome::Looked(Books { limits: limits(), counters }),
        Outcome::Looked(Books::default()),
    ];
    let problems = [OwnerProblem::NotOwner, OwnerProblem::StoreDown, OwnerProblem::Overloaded];
    let answers = outcomes.into_iter().map(Ok).chain(problems.map(Err)).map(Reply::Answered);
    let moved = Reply::Moved { to: id("node-1.example"), remaining_ms: 3000 };
    answers.chain([moved, Reply::Unreadable]).collect()
}

#[test]
fn every_question_comes_back_as_it_was() {
    for tenant in ["acme", "", "tenant/with/slashes", "Jürgen 日本"] {
        for question in questions() {
            let bytes = encode_question(tenant, &question).expect("encodes");
            assert_eq!(decode_question(&bytes), Ok((tenant.to_owned(), question)));
        }
    }
}

#[test]
fn every_reply_comes_back_as_it_was() {
    for reply in replies() {
        let bytes = encode_reply(&reply).expect("encodes");
        assert_eq!(decode_reply(&bytes), Ok(reply));
    }
}

#[test]
fn an_allowance_row_comes_back_as_it_was() {
    let record = AllowanceRecord {
        // How things stood then is not kept.
        allowance: Allowance { standing: Vec::new(), ..allowance() },
        edge: "edge".to_owned(),
        model: "large".to_owned(),
        counters: counters(),
        granted_ms: 1_790_000_000_000,
    };
    let bytes = encode_allowance(&record).expect("encodes");
    assert_eq!(decode_allowance(&bytes), Ok(record));
}

/// Cuts, lengthens and damages what decodes, and decodes what was never encoded.
fn check_garbage<T>(whole: &[Vec<u8>], decodes: impl Fn(&[u8]) -> Option<T>) {
    let draws = Draws::new(17);
    for bytes in whole {
        assert!(decodes(bytes).is_some());
        for length in 0..bytes.len() {
            assert!(decodes(&bytes[..length]).is_none(), "{length} bytes of {bytes:?}");
        }
        assert!(decodes(&[bytes.as_slice(), &[0]].concat()).is_none(), "too long: {bytes:?}");
        assert!(decodes(&[&[bytes[0] + 1], &bytes[1..]].concat()).is_none(), "another version");
        for _ in 0..500 {
            let mut damaged = bytes.clone();
            let place = draws.next() as usize % bytes.len();
            damaged[place] = draws.next() as u8;
            let _ = decodes(&damaged);
        }
    }
    let garbage = (0..20_000).map(|_| draws.record(whole[0][0], 120));
    let decoded = garbage.filter(|bytes| decodes(bytes).is_some()).count();
    assert!(decoded < 2000, "{decoded} of 20000 pieces of garbage are messages");
}

#[test]
fn bytes_that_are_no_question_are_an_error() {
    let whole: Vec<Vec<u8>> = questions()
        .iter()
        .map(|question| encode_question("acme", question).expect("encodes"))
        .collect();
    check_garbage(&whole, |bytes| decode_question(bytes).ok());
}

#[test]
fn bytes_that_are_no_reply_are_an_error() {
    let whole: Vec<Vec<u8>> =
        replies().iter().map(|reply| encode_reply(reply).expect("encodes")).collect();
    check_garbage(&whole, |bytes| decode_reply(bytes).ok());
    assert!(decode_reply(&[]).is_err());
}
