//! The named cases.

use std::sync::Arc;

use super::{Outcome, Violation, same, told};
use crate::limits::{KEY_BYTES, TRANSACTION_BYTES, VALUE_BYTES};
use crate::tuple::{self, Element};
use crate::{
    AtomicOp, Environment, KeyRange, RangeRead, ReadMode, Stamped, Store, StoreError, Transaction,
};

/// One case's place to work in.
struct Case<'a> {
    store: &'a dyn Store,
    environment: &'a Environment,
    prefix: Vec<u8>,
}

impl Case<'_> {
    fn key(&self, name: &str) -> Vec<u8> {
        [self.prefix.as_slice(), name.as_bytes()].concat()
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, String> {
        let mut transaction = self.store.begin().await.map_err(told("begin"))?;
        transaction.read_version().await.map_err(told("read_version"))?;
        Ok(transaction)
    }

    async fn put(&self, name: &str, value: &[u8]) -> Outcome {
        let mut transaction = self.begin().await?;
        transaction.set(&self.key(name), value).map_err(told("set"))?;
        transaction.commit().await.map(|_| ()).map_err(told("commit"))
    }

    async fn value(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let mut transaction = self.begin().await?;
        transaction.get(&self.key(name), ReadMode::Serializable).await.map_err(told("get"))
    }
}

macro_rules! run_cases {
    ($store:expr, $environment:expr, $seed:expr, [$($case:ident),* $(,)?]) => {{
        let mut count = 0;
        $(
            let name = stringify!($case);
            let prefix = format!("case/{:016x}/{name}/", $seed).into_bytes();
            let range = KeyRange::of_prefix(&prefix);
            let case = Case { store: $store.as_ref(), environment: $environment, prefix };
            let outcome = $case(&case).await;
            outcome.map_err(|what| Violation { place: name.to_owned(), what })?;
            let cleared = clear(case.store, &range).await;
            cleared.map_err(|what| Violation { place: name.to_owned(), what })?;
            count += 1;
        )*
        count
    }};
}

pub(super) async fn run(
    store: &Arc<dyn Store>,
    environment: &Environment,
    seed: u64,
) -> Result<usize, Violation> {
    Ok(run_cases!(
        store,
        environment,
        seed,
        [
            own_writes_are_read,
            a_dropped_transaction_writes_nothing,
            lost_updates_conflict,
            write_skew_conflicts,
            phantoms_conflict,
            snapshot_reads_do_not_conflict,
            blind_writes_do_not_conflict,
            reads_are_of_one_version,
            atomic_operations_do_not_conflict,
            atomic_operations_pad_and_wrap,
            explicit_conflict_ranges_count,
            ranges_keep_order_limit_and_direction,
            ranges_see_own_changes,
            stamps_ascend_and_are_told,
            stamped_places_cannot_be_read,
            watches_end_when_the_value_changes,
            watches_end_at_once_when_already_changed,
            limits_are_kept,
            system_keys_are_refused,
            reads_alone_always_commit,
            old_transactions_are_refused,
        ]
    ))
}

async fn clear(store: &dyn Store, range: &KeyRange) -> Outcome {
    let mut transaction = store.begin().await.map_err(told("begin"))?;
    transaction.clear_range(range).map_err(told("clearing"))?;
    transaction.commit().await.map(|_| ()).map_err(told("clearing"))
}

async fn own_writes_are_read(case: &Case<'_>) -> Outcome {
    case.put("a", b"old").await?;
    let mut transaction = case.begin().await?;
    transaction.set(&case.key("a"), b"new").map_err(told("set"))?;
    let own = transaction.get(&case.key("a"), ReadMode::Serializable).await.map_err(told("get"))?;
    same("the own write", own.as_deref(), Some(&b"new"[..]))?;
    same("what others see", case.value("a").await?.as_deref(), Some(&b"old"[..]))?;
    transaction.clear(&case.key("a")).map_err(told("clear"))?;
    let own = transaction.get(&case.key("a"), ReadMode::Snapshot).await.map_err(told("get"))?;
    same("the own clear", own, None)?;
    transaction.commit().await.map_err(told("commit"))?;
    same("the value after the commit", case.value("a").await?, None)
}

async fn a_dropped_transaction_writes_nothing(case: &Case<'_>) -> Outcome {
    let mut transaction = case.begin().await?;
    transaction.set(&case.key("a"), b"1").map_err(told("set"))?;
    drop(transaction);
    same("the value", case.value("a").await?, None)
}

async fn lost_updates_conflict(case: &Case<'_>) -> Outcome {
    case.put("a", b"0").await?;
    let (mut first, mut second) = (case.begin().await?, case.begin().await?);
    for transaction in [&mut first, &mut second] {
        transaction.get(&case.key("a"), ReadMode::Serializable).await.map_err(told("get"))?;
    }
    first.set(&case.key("a"), b"1").map_err(told("set"))?;
    second.set(&case.key("a"), b"2").map_err(told("set"))?;
    first.commit().await.map_err(told("the first commit"))?;
    same("the second commit", second.commit().await, Err(StoreError::Conflict))?;
    same("the value", case.value("a").await?.as_deref(), Some(&b"1"[..]))
}

async fn write_skew_conflicts(case: &Case<'_>) -> Outcome {
    let (mut first, mut second) = (case.begin().await?, case.begin().await?);
    first.get(&case.key("a"), ReadMode::Serializable).await.map_err(told("get"))?;
    first.set(&case.key("b"), b"1").map_err(told("set"))?;
    second.get(&case.key("b"), ReadMode::Serializable).await.map_err(told("get"))?;
    second.set(&case.key("a"), b"2").map_err(told("set"))?;
    first.commit().await.map_err(told("the first commit"))?;
    same("the second commit", second.commit().await, Err(StoreError::Conflict))
}

async fn phantoms_conflict(case: &Case<'_>) -> Outcome {
    let mut reader = case.begin().await?;
    let all = RangeRead::all(KeyRange::of_prefix(&case.prefix));
    let seen = reader.range(all).await.map_err(told("range"))?;
    same("the empty range", seen, Vec::new())?;
    reader.set(&case.key("count"), b"0").map_err(told("set"))?;
    case.put("m", b"1").await?;
    same("the commit", reader.commit().await, Err(StoreError::Conflict))
}

async fn snapshot_reads_do_not_conflict(case: &Case<'_>) -> Outcome {
    let mut reader = case.begin().await?;
    reader.get(&case.key("a"), ReadMode::Snapshot).await.map_err(told("get"))?;
    let all = RangeRead::all(KeyRange::of_prefix(&case.prefix)).snapshot();
    reader.range(all).await.map_err(told("range"))?;
    reader.set(&case.key("b"), b"1").map_err(told("set"))?;
    case.put("a", b"1").await?;
    reader.commit().await.map(|_| ()).map_err(told("commit"))
}

async fn blind_writes_do_not_conflict(case: &Case<'_>) -> Outcome {
    let mut writer = case.begin().await?;
    writer.set(&case.key("a"), b"late").map_err(told("set"))?;
    case.put("a", b"early").await?;
    writer.commit().await.map_err(told("commit"))?;
    same("the value", case.value("a").await?.as_deref(), Some(&b"late"[..]))
}

async fn reads_are_of_one_version(case: &Case<'_>) -> Outcome {
    case.put("a", b"1").await?;
    case.put("b", b"1").await?;
    let mut reader = case.begin().await?;
    reader.get(&case.key("a"), ReadMode::Serializable).await.map_err(told("get"))?;
    case.put("a", b"2").await?;
    case.put("b", b"2").await?;
    let seen = reader.get(&case.key("b"), ReadMode::Serializable).await.map_err(told("get"))?;
    same("the second read", seen.as_deref(), Some(&b"1"[..]))
}

async fn atomic_operations_do_not_conflict(case: &Case<'_>) -> Outcome {
    let key = case.key("n");
    let (mut first, mut second) = (case.begin().await?, case.begin().await?);
    for transaction in [&mut first, &mut second] {
        transaction.atomic(&key, AtomicOp::Add, &5_u64.to_le_bytes()).map_err(told("atomic"))?;
    }
    first.commit().await.map_err(told("the first commit"))?;
    second.commit().await.map_err(told("the second commit"))?;
    same("the sum", case.value("n").await?.as_deref(), Some(&10_u64.to_le_bytes()[..]))?;
    let mut third = case.begin().await?;
    third.atomic(&key, AtomicOp::Add, &1_u64.to_le_bytes()).map_err(told("atomic"))?;
    let seen = third.get(&key, ReadMode::Serializable).await.map_err(told("get"))?;
    same("the sum inside", seen.as_deref(), Some(&11_u64.to_le_bytes()[..]))
}

async fn atomic_operations_pad_and_wrap(case: &Case<'_>) -> Outcome {
    type Row = (Option<&'static [u8]>, AtomicOp, &'static [u8], &'static [u8]);
    let table: [Row; 10] = [
        (None, AtomicOp::Add, b"\x01\x00", b"\x01\x00"),
        (Some(b"\xff"), AtomicOp::Add, b"\x01\x00", b"\x00\x01"),
        (Some(b"\xff\xff"), AtomicOp::Add, b"\x01", b"\x00"),
        (Some(b"\x05\x00\x01"), AtomicOp::Max, b"\x07\x00", b"\x07\x00"),
        (Some(b"\x01\x02"), AtomicOp::Max, b"\x09\x01", b"\x01\x02"),
        (None, AtomicOp::Max, b"\x03", b"\x03"),
        (None, AtomicOp::Min, b"\x03", b"\x03"),
        (Some(b"\x09\x01"), AtomicOp::Min, b"\x01\x02", b"\x09\x01"),
        (Some(b"\x01"), AtomicOp::Min, b"\x00\x01", b"\x01\x00"),
        (Some(b"\x07\x07"), AtomicOp::Min, b"\x08", b"\x07"),
    ];
    for (old, op, operand, expected) in table {
        let mut transaction = case.begin().await?;
        let key = case.key("n");
        match old {
            Some(old) => transaction.set(&key, old).map_err(told("set"))?,
            None => transaction.clear(&key).map_err(told("clear"))?,
        }
        transaction.commit().await.map_err(told("commit"))?;
        let mut transaction = case.begin().await?;
        transaction.atomic(&key, op, operand).map_err(told("atomic"))?;
        transaction.commit().await.map_err(told("commit"))?;
        let what = format!("{op:?} of {old:?} and {operand:?}");
        same(&what, case.value("n").await?.as_deref(), Some(expected))?;
    }
    Ok(())
}

async fn explicit_conflict_ranges_count(case: &Case<'_>) -> Outcome {
    let range = KeyRange::of_key(&case.key("gate"));
    let mut reader = case.begin().await?;
    reader.add_read_conflict(&range).map_err(told("add_read_conflict"))?;
    reader.set(&case.key("a"), b"1").map_err(told("set"))?;
    let mut writer = case.begin().await?;
    writer.add_write_conflict(&range).map_err(told("add_write_conflict"))?;
    writer.commit().await.map_err(told("the writer's commit"))?;
    same("the reader's commit", reader.commit().await, Err(StoreError::Conflict))
}

async fn ranges_keep_order_limit_and_direction(case: &Case<'_>) -> Outcome {
    for name in ["d", "a", "c", "b"] {
        case.put(name, name.as_bytes()).await?;
    }
    let all = RangeRead::all(KeyRange::of_prefix(&case.prefix));
    let some = RangeRead::all(KeyRange::new(case.key("b"), case.key("d")));
    let none = RangeRead::all(KeyRange::new(case.key("d"), case.key("b")));
    let table = [
        (all.clone(), "abcd"),
        (all.clone().limit(2), "ab"),
        (all.clone().limit(0), ""),
        (all.clone().reverse(), "dcba"),
        (all.reverse().limit(3), "dcb"),
        (some.clone(), "bc"),
        (some.limit(1).reverse(), "c"),
        (none, ""),
    ];
    for (read, expected) in table {
        let mut transaction = case.begin().await?;
        let what = format!("{read:?}");
        let pairs = transaction.range(read).await.map_err(told(&what))?;
        let names: Vec<u8> = pairs.into_iter().flat_map(|(_, value)| value).collect();
        same(&what, String::from_utf8_lossy(&names).as_ref(), expected)?;
    }
    Ok(())
}

async fn ranges_see_own_changes(case: &Case<'_>) -> Outcome {
    for name in ["a", "b", "c", "d", "e"] {
        case.put(name, b"\x01").await?;
    }
    let mut transaction = case.begin().await?;
    transaction.clear(&case.key("a")).map_err(told("clear"))?;
    let cleared = KeyRange::new(case.key("b"), case.key("d"));
    transaction.clear_range(&cleared).map_err(told("clear_range"))?;
    transaction.set(&case.key("bb"), b"\x02").map_err(told("set"))?;
    transaction.atomic(&case.key("c"), AtomicOp::Add, b"\x03").map_err(told("atomic"))?;
    transaction.atomic(&case.key("e"), AtomicOp::Add, b"\x04").map_err(told("atomic"))?;
    let all = RangeRead::all(KeyRange::of_prefix(&case.prefix));
    let expected: Vec<_> = [("bb", 2_u8), ("c", 3), ("d", 1), ("e", 5)]
        .iter()
        .map(|(name, value)| (case.key(name), vec![*value]))
        .collect();
    let inside = transaction.range(all.clone()).await.map_err(told("range"))?;
    same("the range inside", inside, expected.clone())?;
    transaction.commit().await.map_err(told("commit"))?;
    let after = case.begin().await?.range(all).await.map_err(told("range"))?;
    same("the range after", after, expected)
}

async fn stamps_ascend_and_are_told(case: &Case<'_>) -> Outcome {
    let elements = [Element::Bytes(case.prefix.clone()), "log".into()];
    let mut stamps = Vec::new();
    for order in 0..3_u16 {
        let mut transaction = case.begin().await?;
        let key = tuple::pack_stamped(&elements, order);
        transaction.set_stamped_key(&key, &[order as u8]).map_err(told("set_stamped_key"))?;
        let value = Stamped::between(b"at ", b"!");
        let last = case.key("last");
        transaction.set_stamped_value(&last, &value).map_err(told("set_stamped_value"))?;
        let committed = transaction.commit().await.map_err(told("commit"))?;
        let stamp = committed.stamp.ok_or("a commit with stamps tells none")?;
        same("the stamped value", case.value("last").await?, Some(value.fill(&stamp)))?;
        stamps.push(Element::Stamp(stamp, order));
    }
    let mut transaction = case.begin().await?;
    let log = RangeRead::all(tuple::below(&elements));
    let pairs = transaction.range(log).await.map_err(told("range"))?;
    let mut found = Vec::new();
    for (key, _) in &pairs {
        let key = tuple::unpack(key).map_err(told("unpack"))?;
        found.extend(key.last().cloned());
    }
    same("the keys in order", &found, &stamps)?;
    transaction.clear_range(&tuple::below(&elements)).map_err(told("clear_range"))?;
    transaction.commit().await.map(|_| ()).map_err(told("commit"))
}

async fn stamped_places_cannot_be_read(case: &Case<'_>) -> Outcome {
    let mut transaction = case.begin().await?;
    let key = case.key("a");
    let value = Stamped::between(b"", b"");
    transaction.set_stamped_value(&key, &value).map_err(told("set_stamped_value"))?;
    let answer = transaction.get(&key, ReadMode::Serializable).await;
    if matches!(answer, Err(StoreError::Usage(_))) {
        Ok(())
    } else {
        Err(format!("reading a stamped value inside gave {answer:?}, it must be a usage error"))
    }
}

async fn watches_end_when_the_value_changes(case: &Case<'_>) -> Outcome {
    case.put("a", b"1").await?;
    let mut transaction = case.begin().await?;
    let watch = transaction.watch(&case.key("a")).await.map_err(told("watch"))?;
    transaction.commit().await.map_err(told("commit"))?;
    case.put("a", b"2").await?;
    watch.await.map_err(told("the watch"))?;
    let mut transaction = case.begin().await?;
    let lost = transaction.watch(&case.key("a")).await.map_err(told("watch"))?;
    drop(transaction);
    same("whether a dropped transaction's watch fails", lost.await.is_err(), true)
}

async fn watches_end_at_once_when_already_changed(case: &Case<'_>) -> Outcome {
    let mut transaction = case.begin().await?;
    let watch = transaction.watch(&case.key("a")).await.map_err(told("watch"))?;
    case.put("a", b"between").await?;
    transaction.commit().await.map_err(told("commit"))?;
    watch.await.map_err(told("the watch"))
}

async fn limits_are_kept(case: &Case<'_>) -> Outcome {
    let is_limit = |what: &str, answer: Result<(), StoreError>| match answer {
        Err(StoreError::Limit { .. }) => Ok(()),
        other => Err(format!("{what} gave {other:?}, it must be a limit error")),
    };
    let mut transaction = case.begin().await?;
    let long = vec![b'k'; KEY_BYTES + 1];
    is_limit("a long key", transaction.set(&long, b""))?;
    is_limit("reading it", transaction.get(&long, ReadMode::Snapshot).await.map(|_| ()))?;
    is_limit("a long value", transaction.set(&case.key("v"), &vec![0; VALUE_BYTES + 1]))?;
    transaction.set(&case.key("v"), &vec![7; VALUE_BYTES]).map_err(told("the longest value"))?;
    transaction.commit().await.map_err(told("commit"))?;
    same("its length", case.value("v").await?.map(|value| value.len()), Some(VALUE_BYTES))?;
    let mut transaction = case.begin().await?;
    let mut answer = Ok(());
    for number in 0..=TRANSACTION_BYTES / VALUE_BYTES {
        let key = case.key(&format!("{number}"));
        answer = answer.and_then(|()| transaction.set(&key, &vec![0; VALUE_BYTES]));
    }
    if answer.is_ok() {
        answer = transaction.commit().await.map(|_| ());
    }
    is_limit("a large transaction", answer)?;
    same("its first key", case.value("0").await?, None)
}

async fn system_keys_are_refused(case: &Case<'_>) -> Outcome {
    let mut transaction = case.begin().await?;
    let answer = transaction.set(b"\xff/a", b"");
    if matches!(answer, Err(StoreError::Usage(_))) {
        Ok(())
    } else {
        Err(format!("writing a system key gave {answer:?}, it must be a usage error"))
    }
}

async fn reads_alone_always_commit(case: &Case<'_>) -> Outcome {
    let mut reader = case.begin().await?;
    reader.get(&case.key("a"), ReadMode::Serializable).await.map_err(told("get"))?;
    case.put("a", b"1").await?;
    let committed = reader.commit().await.map_err(told("commit"))?;
    same("its version", committed.version, None)
}

async fn old_transactions_are_refused(case: &Case<'_>) -> Outcome {
    let mut transaction = case.begin().await?;
    let key = case.key("a");
    transaction.get(&key, ReadMode::Serializable).await.map_err(told("get"))?;
    transaction.set(&key, b"1").map_err(told("set"))?;
    // Other commits in between, so that an engine which forgets by commits has to.
    for _ in 0..6 {
        case.environment.pause(1_000).await;
        case.put("other", b"1").await?;
    }
    let answer = transaction.commit().await.map(|_| ());
    match answer {
        Err(StoreError::TooOld | StoreError::Unavailable(_) | StoreError::Conflict) => {}
        other => return Err(format!("an old commit gave {other:?}, it must be refused")),
    }
    same("the value", case.value("a").await?, None)
}
