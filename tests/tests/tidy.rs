//! The files of this repository keep the rules of tidiness.

use headwater_tests::tidy::{check, read_tree};
use headwater_tests::{report, repository_root};

#[test]
fn every_file_is_tidy() {
    let files = read_tree(&repository_root()).unwrap();
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "git lists no files");
    let findings = check(&files);
    assert!(findings.is_empty(), "{}", report(&findings));
}
