//! The parts that need no FoundationDB.

use std::path::PathBuf;

use headwater_storage::limits::{KEY_BYTES, TRANSACTION_BYTES, VALUE_BYTES};
use headwater_storage::{KeyRange, Stamped, StoreError};

use crate::FdbSettings;
use crate::failure::{Phase, Refusal};
use crate::keys::{KeySpace, stamped_value};

const PREFIX: &[u8] = &[0x15, 0x2a];

fn space() -> KeySpace {
    KeySpace::new(PREFIX).expect("a usable prefix")
}

/// Only the variant, for tables.
fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Conflict => "conflict",
        StoreError::TooOld => "too old",
        StoreError::CommitUnknown => "unknown",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Limit { .. } => "limit",
        StoreError::Usage(_) => "usage",
        StoreError::Corrupt(_) => "corrupt",
    }
}

fn refusal(code: i32, phase: Phase) -> Refusal<'static> {
    Refusal { code, text: "Some Text", is_not_committed: false, phase, size_bytes: 7 }
}

#[test]
fn codes_become_kinds() {
    // Code, kind before the commit was sent, kind afterwards.
    let table = [
        (1020, "conflict", "conflict"),
        (1007, "too old", "too old"),
        (1009, "too old", "too old"),
        (1021, "unknown", "unknown"),
        (1022, "unknown", "unknown"),
        (1004, "unavailable", "unknown"),
        (1025, "unavailable", "unknown"),
        (1026, "unavailable", "unknown"),
        (1027, "unavailable", "unknown"),
        (1030, "unavailable", "unknown"),
        (1031, "unavailable", "unknown"),
        (1032, "unavailable", "unknown"),
        (1039, "unavailable", "unknown"),
        (1101, "unavailable", "unknown"),
        (1500, "unavailable", "unknown"),
        (4100, "unavailable", "unknown"),
        (1037, "unavailable", "unavailable"),
        (1038, "unavailable", "unavailable"),
        (1042, "unavailable", "unavailable"),
        (1051, "unavailable", "unavailable"),
        (1078, "unavailable", "unavailable"),
        (1213, "unavailable", "unavailable"),
        (1223, "unavailable", "unavailable"),
        (1235, "unavailable", "unavailable"),
        (1036, "usage", "usage"),
        (1515, "usage", "usage"),
        (2000, "usage", "usage"),
        (2005, "usage", "usage"),
        (2017, "usage", "usage"),
        (2104, "usage", "usage"),
        (2203, "usage", "usage"),
        (2101, "limit", "limit"),
        (2102, "limit", "limit"),
        (2103, "limit", "limit"),
    ];
    for (code, before, after) in table {
        assert_eq!(kind(&refusal(code, Phase::Read).error()), before, "{code} before");
        assert_eq!(kind(&refusal(code, Phase::Commit).error()), after, "{code} after");
    }
}

#[test]
fn a_code_of_a_later_version_is_judged_by_the_client_library() {
    let unheard_of = refusal(1999, Phase::Commit);
    assert_eq!(unheard_of.error(), StoreError::CommitUnknown);
    let known = Refusal { is_not_committed: true, ..unheard_of };
    assert_eq!(kind(&known.error()), "unavailable");
}

#[test]
fn a_refusal_tells_code_and_text() {
    let StoreError::Unavailable(text) = refusal(1038, Phase::Read).error() else {
        panic!("another kind");
    };
    assert_eq!(text, "FoundationDB error 1038, some text");
}

#[test]
fn a_limit_that_only_the_server_sees_is_above_the_allowed() {
    let given = |size_bytes| {
        let refusal = Refusal { size_bytes, ..refusal(2101, Phase::Commit) };
        match refusal.error() {
            StoreError::Limit { what: "transaction", given, allowed: TRANSACTION_BYTES } => given,
            other => panic!("{other}"),
        }
    };
    assert_eq!(given(5), TRANSACTION_BYTES + 1);
    assert_eq!(given(TRANSACTION_BYTES + 9), TRANSACTION_BYTES + 9);
}

#[test]
fn keys_lie_under_the_prefix_and_come_back() {
    for key in [&b""[..], b"a", &[0], &[0xfe, 0xff]] {
        let absolute = space().key(key).expect("a legal key");
        assert_eq!(absolute, [PREFIX, key].concat());
        assert_eq!(space().relative(&absolute), Ok(key.to_vec()));
    }
    assert_eq!(kind(&space().relative(&[0x15, 0x2b]).expect_err("outside")), "corrupt");
    assert_eq!(kind(&space().key(&[0xff, 1]).expect_err("the engine's own")), "usage");
}

#[test]
fn the_ports_last_border_is_the_end_of_the_prefix() {
    let whole = KeyRange::new([], [0xff]);
    assert_eq!(space().range(&whole), Ok(KeyRange::new(PREFIX, [0x15, 0x2b])));
    assert_eq!(space().range(&whole), Ok(KeyRange::of_prefix(PREFIX)));
    let part = KeyRange::new(*b"a", *b"b");
    assert_eq!(space().range(&part), Ok(KeyRange::new([0x15, 0x2a, b'a'], [0x15, 0x2a, b'b'])));
    let carried = KeySpace::new(&[0x16, 0x01, 0xff]).expect("a usable prefix");
    assert_eq!(carried.range(&whole).map(|range| range.end), Ok(vec![0x16, 0x02]));
    let illegal = KeyRange::new(*b"a", [0xff, 0]);
    assert_eq!(kind(&space().range(&illegal).expect_err("the engine's own")), "usage");
}

#[test]
fn the_prefix_counts_against_the_key() {
    let longest = vec![1; KEY_BYTES - PREFIX.len()];
    assert_eq!(space().key(&longest).map(|key| key.len()), Ok(KEY_BYTES));
    let allowed = KEY_BYTES - PREFIX.len();
    for given in [allowed + 1, KEY_BYTES] {
        let refused = space().key(&vec![1; given]);
        assert_eq!(refused, Err(StoreError::Limit { what: "key", given, allowed }));
    }
    let given = KEY_BYTES + 1;
    let refused = space().key(&vec![1; given]);
    assert_eq!(refused, Err(StoreError::Limit { what: "key", given, allowed: KEY_BYTES }));
    // The border just behind the longest key is legal.
    let range = KeyRange::of_key(&longest);
    assert_eq!(space().range(&range).map(|range| range.end.len()), Ok(KEY_BYTES + 1));
}

#[test]
fn a_stamped_key_tells_where_the_stamp_goes() {
    let stamped = Stamped::between(b"log/", b"/x");
    let absolute = space().stamped_key(&stamped).expect("a legal key");
    let expected = [PREFIX, b"log/", &[0xff; 10], b"/x", &[6, 0, 0, 0]].concat();
    assert_eq!(absolute, expected);
    let far = Stamped::between(&[1; 0x0123], b"");
    let absolute = space().stamped_key(&far).expect("a legal key");
    assert_eq!(absolute[absolute.len() - 4..], [0x25, 0x01, 0, 0]);
}

#[test]
fn a_stamped_value_tells_where_the_stamp_goes() {
    let stamped = Stamped::between(b"at ", b"!");
    let operand = stamped_value(&stamped).expect("a legal value");
    assert_eq!(operand, [b"at ", &[0xff; 10][..], b"!", &[3, 0, 0, 0]].concat());
}

#[test]
fn the_trailer_counts_against_key_and_value() {
    let of_length = |bytes: usize| Stamped::between(&vec![1; bytes - 10], b"");
    let allowed = KEY_BYTES - PREFIX.len() - 4;
    assert!(space().stamped_key(&of_length(allowed)).is_ok());
    let given = allowed + 1;
    let refused = space().stamped_key(&of_length(given));
    assert_eq!(refused, Err(StoreError::Limit { what: "stamped key", given, allowed }));

    let allowed = VALUE_BYTES - 4;
    assert!(stamped_value(&of_length(allowed)).is_ok());
    let given = allowed + 1;
    let refused = stamped_value(&of_length(given));
    assert_eq!(refused, Err(StoreError::Limit { what: "stamped value", given, allowed }));
    let system = Stamped::between(&[0xff], b"");
    assert_eq!(kind(&space().stamped_key(&system).expect_err("the engine's own")), "usage");
}

#[test]
fn a_prefix_of_the_engine_is_refused() {
    assert_eq!(kind(&KeySpace::new(&[0xff, 2]).expect_err("the engine's own")), "usage");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let settings = |file: Option<&str>, directory: &[&str]| FdbSettings {
        cluster_file: file.map(PathBuf::from),
        directory: directory.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(settings(None, &["a", "b"]).check(), Ok(None));
    assert_eq!(settings(Some("fdb.cluster"), &["a"]).check(), Ok(Some("fdb.cluster")));
    assert_eq!(FdbSettings::default().check(), Ok(None));
    for (file, directory) in
        [(None, &[][..]), (None, &["a", ""]), (Some(""), &["a"]), (Some("a\0b"), &["a"])]
    {
        let refused = settings(file, directory).check().expect_err("cannot work");
        assert_eq!(kind(&refused), "usage", "{file:?} {directory:?}");
    }
}

#[cfg(not(feature = "fdb"))]
#[tokio::test]
async fn a_build_without_the_feature_says_how_to_get_it() {
    let Err(StoreError::Usage(text)) = crate::open(&FdbSettings::default()).await else {
        panic!("opened without an engine");
    };
    assert!(text.contains("cargo build --features fdb"), "{text}");
    assert!(text.contains("libfdb_c"), "{text}");
}
