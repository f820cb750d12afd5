//! kill -9 at any moment: no acknowledged commit is lost, and none is seen in part.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headwater_storage::conformance::Draw;
use headwater_storage::{Environment, ReadMode, Store};
use headwater_storage_embedded::{EmbeddedSettings, EmbeddedStore, Fsync};

const ROUNDS: u64 = 20;
const KEYS: u8 = 40;
const PATH: &str = "HEADWATER_KILL_TEST_STORE";

fn open(path: &Path) -> EmbeddedStore {
    let origin = Instant::now();
    let environment = Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        || 7,
    );
    let path = path.to_path_buf();
    let settings = EmbeddedSettings { path, fsync: Fsync::Always, cache_bytes: 4 << 20 };
    EmbeddedStore::open(&settings, environment).expect("the store opens")
}

/// The value of all keys, which every commit sets alike; with large values, so that one
/// commit takes many pages.
async fn read(store: &EmbeddedStore) -> u64 {
    let mut transaction = store.begin().await.expect("begin");
    let mut numbers = Vec::new();
    for key in 0..KEYS {
        let value = transaction.get(&[key], ReadMode::Snapshot).await.expect("get");
        let value = value.unwrap_or_else(|| vec![0; 3_000]);
        assert_eq!(value.len(), 3_000);
        numbers.push(u64::from_be_bytes(value[..8].try_into().expect("eight bytes")));
        assert!(value[8..].iter().all(|byte| *byte == value[7]), "key {key} is torn");
    }
    assert!(numbers.iter().all(|number| *number == numbers[0]), "torn: {numbers:?}");
    numbers[0]
}

async fn write(store: &EmbeddedStore, number: u64) {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(3_000, value[7]);
    let mut transaction = store.begin().await.expect("begin");
    for key in 0..KEYS {
        transaction.set(&[key], &value).expect("set");
    }
    transaction.commit().await.expect("commit");
}

/// Not a check of its own: the process that is killed.
#[tokio::test]
#[ignore = "started by the test below"]
async fn child() {
    let path = std::env::var(PATH).expect("the parent names the store");
    let store = open(Path::new(&path));
    let mut number = read(&store).await;
    loop {
        number += 1;
        write(&store, number).await;
        let mut out = std::io::stdout();
        writeln!(out, "acknowledged {number}")
            .and_then(|()| out.flush())
            .expect("the parent reads");
    }
}

fn start(path: &Path) -> Child {
    let program = std::env::current_exe().expect("this test's program");
    let arguments = ["--ignored", "--exact", "child", "--nocapture", "--test-threads=1"];
    let mut command = Command::new(program);
    command.args(arguments).env(PATH, path).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("the child starts")
}

#[tokio::test]
async fn no_acknowledged_commit_is_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.redb");
    let mut draw = Draw::new(9);
    let mut last = 0;
    for round in 0..ROUNDS {
        let mut child = start(&path);
        let out = child.stdout.take().expect("a pipe");
        let acknowledgements = std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            let numbers =
                lines.filter_map(|line| line.rsplit_once("acknowledged ")?.1.parse().ok());
            numbers.last().unwrap_or(0_u64)
        });
        std::thread::sleep(Duration::from_millis(60 + draw.below(140) as u64));
        child.kill().expect("SIGKILL");
        child.wait().expect("the child is gone");
        let acknowledged = acknowledgements.join().expect("the reader ends");
        let found = read(&open(&path)).await;
        assert!(
            found >= acknowledged.max(last),
            "round {round}: {acknowledged} came back as {found}"
        );
        assert!(found <= acknowledged.max(last) + 1, "round {round}: {found} was never begun");
        last = found;
    }
    assert!(last > ROUNDS, "the children wrote only {last} commits");
}
