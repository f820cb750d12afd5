//! Documents go through files and come back as they were.

use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::document::Document;
use super::super::files::{files_of, message_file, text_of};
use super::super::folder::{self, read};
use super::super::prompt_file::{Source, with_source};

/// Draws the same numbers in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }

    fn text(&mut self) -> String {
        const PIECES: &[&str] = &[
            "a",
            "\n",
            "\r\n",
            "\r",
            " ",
            "\t",
            "\"",
            "'",
            "\"\"\"",
            "'''",
            "\\",
            "\\n",
            "{{ a }}",
            "é",
            "日本",
            "🦀",
            "\u{2028}",
            "\u{feff}",
            "\u{0}",
            "\u{7f}",
            "[source]\n",
            "# x\n",
            "---",
            "\n\n",
            "=",
            "\u{1b}[31m",
            "null",
        ];
        (0..self.below(9)).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 6 } else { 8 }) {
            0 => json!(self.text()),
            1 => json!(self.below(1_000)),
            2 => json!(self.below(1_000) as f64 / 8.0),
            3 => json!(self.below(2) == 0),
            4 => json!(u64::MAX),
            5 => Value::Null,
            6 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => (0..self.below(4))
                .map(|_| (self.text(), self.value(depth - 1)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    fn document(&mut self) -> Value {
        let mut document = json!({});
        if self.below(4) == 0 {
            document["text"] = self.text().into();
        } else {
            let messages = (0..self.below(14) + 1).map(|_| {
                json!({"role": (["system", "user", "assistant"][self.below(3)]), "content": self.text()})
            });
            document["messages"] = messages.collect();
        }
        for number in 0..self.below(4) {
            let kind = ["string", "integer", "number", "boolean", "list", "object"][self.below(6)];
            let mut variable = json!({"type": kind, "description": self.text(), "min": 0.5,
                "max": 2.0, "max_length": self.below(9)});
            let (default, values) = (self.value(3), self.value(2));
            if !default.is_null() {
                variable["default"] = default;
            }
            if self.below(2) == 0 {
                variable["values"] = json!([values, 1]);
            }
            document["variables"][format!("v{number}")] = variable;
        }
        for number in 0..self.below(3) {
            document["partials"][format!("p{number}")] =
                json!({"prompt": "a.b", "version": number});
            let (text, value) = (self.text(), self.value(3));
            let tool = json!({"name": (["Get", "get"][number]), "description": text, "parameters": {"x": value}});
            let before = document["tools"].as_array().cloned().unwrap_or_default();
            document["tools"] = before.into_iter().chain([tool]).collect();
        }
        if self.below(2) == 0 {
            document["model"] = json!({"model": self.text(), "temperature": 1.0, "seed": -3,
                "stop": [self.text(), self.text()], "max_tokens": 9, "top_p": 0.1,
                "response_format": {"type": "json_schema", "x": self.value(2)}});
        }
        document
    }
}

/// Through a folder on disk and back.
fn round_trip(document: &Value) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let source = Source { version: 7, sha256: "ab".to_owned(), label: None };
    let typed = Document::deserialize(document).unwrap();
    folder::write(folder.path(), &files_of(&typed, Some(&source)).unwrap()).unwrap();
    let local =
        read(folder.path()).unwrap_or_else(|failure| panic!("{document}: {failure}")).unwrap();
    assert_eq!(local.source, Some(source));
    let (again, files) = (files_of(&local.document, None), files_of(&typed, None));
    assert_eq!(again.unwrap(), files.unwrap());
    local.document.to_json().unwrap()
}

#[test]
fn any_document_comes_back_as_it_was() {
    let mut draw = Draw(1);
    for _ in 0..400 {
        let document = draw.document();
        let typed = Document::deserialize(&document).unwrap().to_json().unwrap();
        assert_eq!(round_trip(&document), typed);
    }
}

#[test]
fn every_end_of_a_text_survives() {
    let ends =
        ["", "a", "a\n", "a\n\n", "a\r\n", "a\r", "\n", "\r\n", "a\r\nb", "日本\n", "\u{feff}a"];
    for text in ends {
        let document = json!({"text": text});
        assert_eq!(round_trip(&document), document, "{text:?}");
    }
    let huge = format!("{}\r\n", "ä line\n".repeat(120_000));
    assert_eq!(round_trip(&json!({"text": huge}))["text"], huge.as_str());
}

#[test]
fn an_editor_that_drops_or_adds_the_last_end_changes_nothing() {
    assert_eq!(text_of("a", false), text_of("a\n", false));
    assert_eq!(text_of("a", true), text_of("a\n", true));
    assert_ne!(text_of("a\n", false), text_of("a\n\n", false));
}

#[test]
fn messages_of_the_same_role_have_files_of_their_own() {
    let message = |content: &str| json!({"role": "user", "content": content});
    let messages: Vec<Value> = (0..12).map(|number| message(&number.to_string())).collect();
    let document = Document::deserialize(json!({ "messages": messages })).unwrap();
    let files = files_of(&document, None).unwrap();
    for (place, message) in document.messages.iter().enumerate() {
        assert_eq!(files[&message_file(place, message.role)], format!("{place}\n"));
    }
    assert_eq!(round_trip(&json!({ "messages": messages }))["messages"], json!(messages));
}

#[test]
fn prompt_toml_reads_well() {
    let document = json!({
        "messages": [
            {"role": "system", "content": "Be kind.\n"},
            {"role": "user", "content": "{{ customer }}"},
        ],
        "variables": {"customer": {"type": "string", "max_length": 80}, "plans": {"type": "list", "default": ["a", null]}},
        "partials": {"terms": {"prompt": "acme-terms", "version": 3}},
        "tools": [{"name": "get_order", "parameters": {"type": "object"}}],
        "model": {"model": "small", "temperature": 0.3, "stop": ["END"]},
    });
    let source =
        Source { version: 7, sha256: "ab".to_owned(), label: Some("production".to_owned()) };
    let document = Document::deserialize(document).unwrap();
    let files = files_of(&document, Some(&source)).unwrap();
    let expected = r#"kind = "chat"
tools = ["tools/get_order.json"]

[[messages]]
role = "system"
final_newline = true

[[messages]]
role = "user"

[model]
model = "small"
temperature = 0.3
stop = ["END"]

[variables.customer]
type = "string"
max_length = 80

[variables.plans]
type = "list"
default_json = '["a",null]'

[partials.terms]
prompt = "acme-terms"
version = 3

[source]
version = 7
sha256 = "ab"
label = "production"
"#;
    assert_eq!(files["prompt.toml"], expected);
    assert_eq!(files["1-system.md"], "Be kind.\n");
    assert_eq!(files["2-user.md"], "{{ customer }}\n");
    assert!(files["tools/get_order.json"].contains("\"name\": \"get_order\""));
}

#[test]
fn a_new_source_leaves_comments_alone() {
    let source = Source { version: 8, sha256: "cd".to_owned(), label: None };
    let text = "# why\nkind = \"text\" # short\n\n[source]\nversion = 7\nsha256 = \"ab\"\n\n[model] # m\nseed = 1\n";
    let expected = "# why\nkind = \"text\" # short\n\n[source]\nversion = 8\nsha256 = \"cd\"\n\n[model] # m\nseed = 1\n";
    assert_eq!(with_source(text, &source).unwrap(), expected);
    let new = "kind = \"text\"\n\n[source]\nversion = 8\nsha256 = \"cd\"\n";
    assert_eq!(with_source("kind = \"text\"", &source).unwrap(), new);
    // What looks like a section in a text is none, and the form of the rest is not known.
    let trap = "kind = \"text\"\n[variables.a]\ndescription = \"\"\"\n[source]\n\"\"\"\n";
    assert_eq!(with_source(trap, &source), None);
    let trap = trap.replace("[source]\n", "[source]\n# x\n");
    assert_eq!(with_source(&trap, &source), None);
}

/// The failure of a folder with these files.
fn failure(files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    match read(folder.path()) {
        Err(failure) => failure.message,
        Ok(local) => panic!("{files:?} was read: {local:?}"),
    }
}

#[test]
fn what_is_wrong_is_named() {
    let chat = "kind = \"chat\"\n[[messages]]\nrole = \"system\"\n";
    let text = |more: &str| format!("kind = \"text\"\n{more}");
    let unknown = failure(&[("prompt.toml", &text("[model]\nheat = 1\n")), ("text.md", "a")]);
    assert!(unknown.contains("heat") && unknown.contains("line 3"), "{unknown}");
    let missing = failure(&[("prompt.toml", chat)]);
    assert!(missing.contains("1-system.md: is missing; messages[0]"), "{missing}");
    let stray = failure(&[("prompt.toml", chat), ("1-system.md", "a"), ("2-user.md", "b")]);
    assert!(stray.contains("2-user.md: belongs to no message"), "{stray}");
    let both = failure(&[("prompt.toml", chat), ("1-system.md", "a"), ("text.md", "b")]);
    assert!(both.contains("text.md: belongs to no message"), "{both}");
    let outside = failure(&[("prompt.toml", &text("tools = [\"../a.json\"]")), ("text.md", "a")]);
    assert!(outside.contains("tools[0] is '../a.json'; name a file within"), "{outside}");
    let tool = failure(&[
        ("prompt.toml", &text("tools = [\"tools/a.json\"]")),
        ("text.md", "a"),
        ("tools/a.json", "{\"name\": \"a\", \"arguments\": {}}"),
    ]);
    assert!(tool.contains("tools/a.json") && tool.contains("arguments"), "{tool}");
    let time =
        failure(&[("prompt.toml", &text("variables.day.default = 2026-12-01")), ("text.md", "")]);
    assert!(time.contains("variables.day.default holds the time 2026-12-01"), "{time}");
    let infinite =
        failure(&[("prompt.toml", &text("variables.x.values = [inf]")), ("text.md", "")]);
    assert!(infinite.contains("variables.x.values holds inf"), "{infinite}");
    let twice = text("variables.x = {default = 1, default_json = \"1\"}");
    let twice = failure(&[("prompt.toml", &twice), ("text.md", "")]);
    assert!(twice.contains("variables.x.default_json stands beside default"), "{twice}");
    let none = failure(&[("prompt.toml", "kind = \"chat\"")]);
    assert!(none.contains("messages is missing"), "{none}");
}

#[test]
fn bytes_that_are_no_utf_8_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("prompt.toml"), "kind = \"text\"\n").unwrap();
    fs::write(folder.path().join("text.md"), b"a\xff").unwrap();
    let failure = read(folder.path()).unwrap_err();
    assert!(failure.message.ends_with("text.md: is no UTF-8; save it as UTF-8"), "{failure}");
}
