//! Pull, push and diff.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{Server, refusal};
use super::{bad, chat, good};
use crate::failure::FailureKind;

/// A node with one prompt, pulled into a folder.
fn pulled() -> (Server, TempDir) {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    server.commit("support", chat("Be kind."));
    good(&server, &folder, &["pull", "@"]);
    (server, folder)
}

fn file(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join("support").join(name)
}

fn edit(folder: &TempDir, name: &str, from: &str, to: &str) {
    let path = file(folder, name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn says(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(file(folder, name)).unwrap()
}

#[test]
fn what_is_pulled_has_nothing_to_commit() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    for (number, text) in ["a", "a\n", "ü\r\n\r\n", "🦀 {{ secret.KEY }}"].iter().enumerate() {
        server.commit(&format!("p.{number}-x_y"), json!({ "text": text }));
        server.commit(&format!("q{number}"), chat(text));
    }
    let printed = good(&server, &folder, &["pull", "@"]);
    assert_eq!(printed.lines().count(), 8, "{printed}");
    let printed = good(&server, &folder, &["push", "@", "--message", "m"]);
    assert_eq!(printed.matches(": nothing to commit since version 1").count(), 8, "{printed}");
    assert_eq!(good(&server, &folder, &["diff", "@"]), "");
    let printed = good(&server, &folder, &["pull", "@"]);
    assert_eq!(printed.matches(": is version 1 already").count(), 8, "{printed}");
    assert!(server.bodies("POST", "/versions").is_empty());
}

#[test]
fn a_change_is_committed_once() {
    let (server, folder) = pulled();
    edit(&folder, "1-system.md", "Be kind.", "Be kind and clear.");
    edit(&folder, "prompt.toml", "temperature = 0.3", "temperature = 0.5 # warmer");
    let push = ["push", "@", "support", "--message", "clearer", "--tag", "a", "--tag", "b"];
    let printed = good(&server, &folder, &push);
    assert_eq!(printed, "support: version 2 is committed\n  warning: is a test\n");
    let body = &server.bodies("POST", "/versions")[0];
    let said = json!({"message": "clearer", "tags": ["a", "b"], "parent": 1, "expected_newest": 1});
    for (field, value) in said.as_object().unwrap() {
        assert_eq!(body[field], *value, "{field}");
    }
    let newest = server.newest("support");
    assert_eq!(newest["messages"][0]["content"], "Be kind and clear.");
    assert_eq!(newest["model"]["temperature"], 0.5);
    let file = says(&folder, "prompt.toml");
    assert!(file.contains("# warmer") && file.contains("version = 2"), "{file}");
    assert_eq!(good(&server, &folder, &push), "support: nothing to commit since version 2\n");
}

#[test]
fn a_default_that_is_written_out_is_no_change() {
    let (server, folder) = pulled();
    edit(&folder, "prompt.toml", "[variables.customer]\ntype = \"string\"", "[variables.customer]");
    edit(&folder, "prompt.toml", "[model]", "[model]\nstop = []");
    let printed = good(&server, &folder, &["push", "@", "--message", "m"]);
    assert_eq!(printed, "support: nothing to commit since version 1\n");
}

#[test]
fn whoever_is_late_is_told_to_pull() {
    let (server, folder) = pulled();
    server.commit("support", chat("By somebody else."));
    edit(&folder, "1-system.md", "kind", "clear");
    for line in [vec!["push", "@", "--message", "m"], vec!["push", "@", "--dry-run"]] {
        let failure = bad(&server, &folder, &line);
        assert_eq!(failure.kind, FailureKind::Conflict);
        assert!(failure.message.contains("pull first"), "{failure}");
    }
    assert_eq!(server.newest("support"), chat("By somebody else."));
    // The same change by somebody else is none.
    server.commit("support", chat("Be clear."));
    let printed = good(&server, &folder, &["push", "@", "--message", "m"]);
    assert_eq!(printed, "support: is version 3 already\n");
    assert!(says(&folder, "prompt.toml").contains("version = 3"));
}

#[test]
fn a_pull_never_overwrites_changes() {
    let (server, folder) = pulled();
    server.commit("support", json!({"text": "New.", "model": {"seed": 1}}));
    edit(&folder, "2-user.md", "name", "first name");
    let failure = bad(&server, &folder, &["pull", "@", "support"]);
    assert_eq!(failure.kind, FailureKind::Broken);
    assert!(failure.message.contains("would be lost: 2-user.md; see"), "{failure}");
    assert!(says(&folder, "2-user.md").contains("first name"));
    let printed = good(&server, &folder, &["pull", "@", "support", "--force"]);
    assert_eq!(printed, "support: version 2; overwritten: 2-user.md\n");
    assert_eq!(says(&folder, "text.md"), "New.\n");
    assert!(!file(&folder, "2-user.md").exists());
    assert_eq!(good(&server, &folder, &["diff", "@"]), "");
}

#[test]
fn a_pull_keeps_comments_where_it_can() {
    let (server, folder) = pulled();
    edit(&folder, "prompt.toml", "[model]", "# cheap\n[model]");
    fs::write(file(&folder, "notes.txt"), "mine").unwrap();
    server.commit("support", chat("Be short."));
    assert_eq!(good(&server, &folder, &["pull", "@"]), "support: version 2\n");
    let toml = says(&folder, "prompt.toml");
    assert!(toml.contains("# cheap") && toml.contains("version = 2"), "{toml}");
    assert_eq!(says(&folder, "1-system.md"), "Be short.\n");
    let mut other = chat("Be short.");
    other["model"]["temperature"] = json!(0.9);
    server.commit("support", other);
    let failure = bad(&server, &folder, &["pull", "@"]);
    assert!(failure.message.contains("lost: comments and form of prompt.toml"), "{failure}");
    good(&server, &folder, &["pull", "@", "--force"]);
    assert_eq!(says(&folder, "notes.txt"), "mine");
}

#[test]
fn files_that_the_node_would_not_take_are_changes_too() {
    let (server, folder) = pulled();
    edit(&folder, "1-system.md", "kind", "{{ nobody }}");
    for (status, field) in [(400, Some("messages[0].content")), (404, None)] {
        // The last is the answer to the first question, after which the check is refused.
        let head = (200, json!({"newest": 1}));
        let version = (200, server.with(|state| state.prompts["support"][0].clone()));
        let refused = refusal(status, "is wrong", field);
        server.with(|state| state.refusals = vec![refused, version, head]);
        let failure = bad(&server, &folder, &["pull", "@", "support"]);
        assert!(failure.message.contains("would be lost: 1-system.md;"), "{failure}");
    }
    let down = refusal(503, "the store is down", None);
    server.with(|state| state.refusals.push(down));
    assert_eq!(bad(&server, &folder, &["pull", "@"]).kind, FailureKind::Unavailable);
}

#[test]
fn a_tool_of_another_file_name_survives_a_pull() {
    let (server, folder) = pulled();
    let mut document = chat("Be kind.");
    document["tools"] = json!([{"name": "get", "parameters": {"type": "object"}}]);
    server.commit("support", document.clone());
    good(&server, &folder, &["pull", "@"]);
    fs::rename(file(&folder, "tools/get.json"), file(&folder, "mine.json")).unwrap();
    edit(&folder, "prompt.toml", "tools/get.json", "mine.json");
    let printed = good(&server, &folder, &["push", "@", "--message", "m"]);
    assert_eq!(printed, "support: nothing to commit since version 2\n");
    document["messages"][0]["content"] = json!("Be short.");
    server.commit("support", document);
    good(&server, &folder, &["pull", "@", "--force"]);
    assert!(!file(&folder, "mine.json").exists() && file(&folder, "tools/get.json").exists());
    assert_eq!(good(&server, &folder, &["diff", "@"]), "");
}

#[test]
fn a_folder_that_cannot_be_read_is_not_overwritten() {
    let (server, folder) = pulled();
    edit(&folder, "prompt.toml", "temperature", "heat");
    let failure = bad(&server, &folder, &["pull", "@"]);
    assert!(failure.message.contains("lost: prompt.toml ("), "{failure}");
    assert!(failure.message.contains("heat"), "{failure}");
    fs::remove_file(file(&folder, "prompt.toml")).unwrap();
    fs::write(file(&folder, "3-user.md"), "mine").unwrap();
    let failure = bad(&server, &folder, &["pull", "@"]);
    assert!(failure.message.contains("lost: 3-user.md;"), "{failure}");
    good(&server, &folder, &["pull", "@", "--force"]);
    assert_eq!(good(&server, &folder, &["diff", "@"]), "");
}

#[test]
fn an_older_version_and_a_label_can_be_pulled() {
    let (server, folder) = pulled();
    server.commit("support", chat("New."));
    good(&server, &folder, &["pull", "@"]);
    good(&server, &folder, &["pull", "@", "support", "--label", "production"]);
    let toml = says(&folder, "prompt.toml");
    assert!(toml.contains("version = 1") && toml.contains("label = \"production\""), "{toml}");
    let printed = good(&server, &folder, &["pull", "@", "--label", "staging"]);
    assert_eq!(printed, "support: has no version in staging; left out\n");
    assert!(
        bad(&server, &folder, &["pull", "@", "support", "--label", "staging"])
            .message
            .contains("staging")
    );
    good(&server, &folder, &["pull", "@", "support", "--version", "2"]);
    assert_eq!(says(&folder, "1-system.md"), "New.\n");
    assert!(
        bad(&server, &folder, &["pull", "@", "--version", "2"])
            .message
            .contains("name that prompt")
    );
}

#[test]
fn secrets_are_told_by_file_and_line() {
    let (server, folder) = pulled();
    edit(&folder, "1-system.md", "Be kind.", "Be kind.\nSECRET-1");
    let path = file(&folder, "1-system.md");
    let expected = format!("{}:2: A key (test-key, SECR…), fingerprint f1", path.display());
    let failure = bad(&server, &folder, &["push", "@", "--message", "m"]);
    assert!(failure.message.contains(&expected), "{failure}");
    assert!(bad(&server, &folder, &["push", "@", "--dry-run"]).message.contains(&expected));
    assert!(server.bodies("POST", "/versions").is_empty());
    let line = ["push", "@", "--message", "m", "--override", "f1=a = b", "--override", "f2=unused"];
    good(&server, &folder, &line);
    let sent = &server.bodies("POST", "/versions")[0]["overrides"];
    assert_eq!(*sent, json!([{"fingerprint": "f1", "reason": "a = b"}]));
}

#[test]
fn the_nodes_refusal_names_file_and_field() {
    let (server, folder) = pulled();
    let place = |name: &str| file(&folder, name).display().to_string();
    let refusals = [
        (
            "messages[1].content",
            "2-user.md",
            "messages[1].content: uses 'x', which is not declared",
        ),
        ("model.temperature", "prompt.toml", "must be 0 to 2"),
    ];
    for (field, name, message) in refusals {
        server.with(|state| state.refusals.push(refusal(400, message, Some(field))));
        let failure = bad(&server, &folder, &["push", "@", "--message", "m"]);
        assert_eq!(failure.kind, FailureKind::Broken);
        assert!(failure.message.contains(&place(name)), "{failure}");
        assert_eq!(failure.message.matches(&format!("{field}: ")).count(), 1, "{failure}");
    }
}

#[test]
fn a_new_prompt_is_made_from_files() {
    let (server, folder) = pulled();
    let place = folder.path().join("new");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("prompt.toml"), "kind = \"text\"\n").unwrap();
    fs::write(place.join("text.md"), "Hello.\n").unwrap();
    let printed = good(&server, &folder, &["push", "@", "--dry-run"]);
    assert!(printed.contains("new: would be a new prompt\n"), "{printed}");
    let failure = bad(&server, &folder, &["diff", "@", "new"]);
    assert_eq!(failure.message, "there are differences");
    good(&server, &folder, &["push", "@", "--message", "first"]);
    assert_eq!(server.bodies("POST", "/versions")[0]["expected_newest"], 0);
    assert_eq!(server.newest("new"), json!({"text": "Hello."}));
    assert_eq!(good(&server, &folder, &["diff", "@"]), "");
}

#[test]
fn one_that_fails_does_not_keep_the_others() {
    let (server, folder) = pulled();
    server.commit("another", json!({"text": "a"}));
    good(&server, &folder, &["pull", "@"]);
    edit(&folder, "1-system.md", "kind", "clear");
    fs::write(folder.path().join("another/prompt.toml"), "kind = 1").unwrap();
    let failure = bad(&server, &folder, &["push", "@", "--message", "m"]);
    assert!(failure.message.contains("another/prompt.toml"), "{failure}");
    assert_eq!(server.newest("support"), chat("Be clear."));
    assert!(
        bad(&server, &folder, &["push", "@", "../x", "--message", "m"])
            .message
            .contains("is no name")
    );
    assert!(
        bad(&server, &folder, &["push", "@", "x", "--message", "m"]).message.contains("is missing")
    );
}

#[test]
fn a_diff_is_as_git_writes_it() {
    let (server, folder) = pulled();
    edit(&folder, "1-system.md", "Be kind.", "Be kind.\nBe clear.");
    let (printed, ended) = super::run(&server, &folder, &["diff", "@", "support"]);
    assert_eq!(ended.unwrap_err().kind, FailureKind::Broken);
    let expected = "--- a/support/1-system.md\tversion 1\n+++ b/support/1-system.md\there\n\
                    @@ -1 +1,2 @@\n Be kind.\n+Be clear.\n";
    assert_eq!(printed, expected);
    server.commit("support", json!({"text": "a"}));
    let line = ["diff", "support", "--from", "1", "--to", "2"];
    let (printed, ended) = super::run(&server, &folder, &line);
    assert!(ended.is_err());
    let gone = "--- a/support/1-system.md\tversion 1\n+++ /dev/null\n@@ -1 +0,0 @@\n-Be kind.\n";
    let made = "--- /dev/null\n+++ b/support/text.md\tversion 2\n@@ -0,0 +1 @@\n+a\n";
    assert!(printed.contains(gone) && printed.contains(made), "{printed}");
    good(&server, &folder, &["diff", "support", "--from", "2", "--to", "2"]);
}

#[test]
fn a_document_that_files_would_lose_is_refused() {
    let (server, folder) = pulled();
    server.with(|state| {
        let versions: &mut Vec<Value> = state.prompts.get_mut("support").unwrap();
        versions[0]["document"]["later"] = json!(1);
        versions[0]["sha256"] = json!("other");
    });
    let failure = bad(&server, &folder, &["pull", "@"]);
    assert!(failure.message.contains("unknown field `later`"), "{failure}");
}
