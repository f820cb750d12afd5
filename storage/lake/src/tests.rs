//! Folders as object stores: order, resumption, what may be read and what is said of the rest.

use std::fs::{create_dir_all, write};

use tempfile::{TempDir, tempdir};

use crate::{ObjectProblem, Objects};

/// A folder as a store, of which one sub-folder may be read.
struct World {
    folder: TempDir,
    objects: Objects,
}

impl World {
    fn new(files: &[(&str, &str)]) -> World {
        let folder = tempdir().expect("a folder");
        create_dir_all(folder.path().join("open")).expect("is made");
        for (name, text) in files {
            let path = folder.path().join(name);
            create_dir_all(path.parent().expect("has one")).expect("is made");
            write(path, text).expect("is written");
        }
        let root = format!("file://{}/open/", folder.path().display());
        let objects = Objects::open(&[root], &[]).expect("is a store");
        World { folder, objects }
    }

    fn place(&self, name: &str) -> String {
        format!("file://{}/{name}", self.folder.path().display())
    }

    /// The names below a place, each asked for behind the one before.
    async fn names(&self, place: &str) -> Vec<String> {
        let (place, mut names) = (self.place(place), Vec::<String>::new());
        let start = self.place("open/").len();
        let mut last = None;
        while let Some(next) =
            self.objects.next(&place, last.as_deref()).await.expect("can be listed")
        {
            names.push(next[start..].to_owned());
            last = Some(next);
        }
        names
    }
}

#[tokio::test]
async fn a_prefix_is_read_in_the_order_of_names_and_empty_objects_are_passed_over() {
    let files = [
        ("open/b", "2"),
        ("open/a/z", "1"),
        ("open/c d%41.jsonl", "3"),
        ("open/empty", ""),
        ("other", "x"),
    ];
    let world = World::new(&files);
    assert_eq!(world.names("open/").await, ["a/z", "b", "c%20d%2541.jsonl"]);
    assert_eq!(world.names("open/a/").await, ["a/z"]);
    assert_eq!(world.names("open/none/").await, [""; 0]);
    // A place that ends in no slash is itself, there or not.
    assert_eq!(world.names("open/a").await, ["a"]);
    let address = world.place("open/c%20d%2541.jsonl");
    assert_eq!(world.objects.read(&address, 0, 10).await, Ok(b"3".to_vec()));
}

#[tokio::test]
async fn more_objects_than_a_page_and_another_reader_go_on_behind_any_of_them() {
    let names: Vec<String> = (0..1_200).map(|number| format!("open/{number:04}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let world = World::new(&files);
    let read = world.names("open/").await;
    assert_eq!((read.len(), read[0].as_str(), read[1_199].as_str()), (1_200, "0000", "1199"));
    let (place, after) = (world.place("open/"), world.place("open/0600"));
    for _ in 0..2 {
        let next = world.objects.next(&place, Some(&after)).await;
        assert_eq!(next, Ok(Some(world.place("open/0601"))));
    }
}

#[tokio::test]
async fn an_object_is_read_part_by_part_to_its_end() {
    let world = World::new(&[("open/a", "0123456789")]);
    let address = world.place("open/a");
    for (offset, bytes) in [(0, "0123"), (4, "4567"), (8, "89"), (10, ""), (11, "")] {
        let read = world.objects.read(&address, offset, 4).await;
        assert_eq!(read, Ok(bytes.as_bytes().to_vec()), "at {offset}");
    }
    // Another reader knows nothing of it and begins at its end.
    let other = Objects::open(&[world.place("open/")], &[]).expect("is a store");
    assert_eq!(other.read(&address, 10, 4).await, Ok(Vec::new()));
}

#[tokio::test]
async fn what_may_not_or_cannot_be_read_is_refused_with_a_reason() {
    let world = World::new(&[("open/a.gz", "x"), ("other/b", "x"), ("openly", "x")]);
    for (place, words) in [
        (world.place("open/none"), "no such object"),
        (world.place("open/a.gz"), "packed"),
        (world.place("other/b"), "ingest.stores"),
        (world.place("openly"), "ingest.stores"),
        (world.place("open/../other/b"), "ingest.stores"),
        (world.place("open/%2e%2e/other/b"), "ingest.stores"),
        ("s3://bucket/open/a".to_owned(), "ingest.stores"),
        ("no address".to_owned(), "no address"),
        ("ftp://host/a".to_owned(), "no address of an object store"),
    ] {
        match world.objects.read(&place, 0, 4).await {
            Err(ObjectProblem::Refused(reason)) => assert!(reason.contains(words), "{reason}"),
            other => panic!("{place}: {other:?}"),
        }
    }
    let outside = world.objects.next(&world.place("other/"), None).await;
    assert!(matches!(outside, Err(ObjectProblem::Refused(_))), "{outside:?}");
}

#[test]
fn a_root_that_is_no_store_is_refused_by_its_name() {
    for root in ["bucket", "ftp://host/", "gs://bucket/", "https://s3.amazonaws.com/bucket/"] {
        let opened = Objects::open(&[root.to_owned()], &[]);
        let Err(ObjectProblem::Refused(reason)) = opened.map(|_| ()) else { panic!("{root}") };
        assert!(reason.starts_with(root), "{reason}");
    }
}
