//! What templates render to, and what is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{Bundle, Compiled, PromptDocument, Rendered, replace_markers, show_markers};

fn bundle(document: Value, partials: &[(&str, Bundle)]) -> Bundle {
    let document: PromptDocument = serde_json::from_value(document).unwrap();
    let partials = partials.iter().map(|(name, bundle)| ((*name).to_owned(), bundle.clone()));
    Bundle { document, partials: partials.collect() }
}

/// The text, or the error.
fn render(bundle: &Bundle, variables: Value) -> String {
    let compiled = match Compiled::new(bundle) {
        Ok(compiled) => compiled,
        Err(problem) => return format!("refused: {problem}"),
    };
    match compiled.render(variables.as_object().unwrap()) {
        Ok(Rendered::Text(text)) => text,
        Ok(Rendered::Chat(messages)) => {
            let told = messages.iter().map(|one| format!("{}: {}", one.role.name(), one.content));
            told.collect::<Vec<_>>().join("\n")
        }
        Err(problem) => format!("wrong: {problem}"),
    }
}

fn greeting() -> Bundle {
    bundle(json!({"text": "Hello {{ name }}", "variables": {"name": {"default": "you"}}}), &[])
}

#[test]
fn templates_render_what_they_say() {
    let greeting = greeting();
    let outer = bundle(
        json!({"text": "<{% include 'greeting' %}>", "partials": {"greeting": {"prompt": "g", "version": 1}}}),
        &[("greeting", greeting.clone())],
    );
    let cases: Vec<(Bundle, Value, &str)> = vec![
        (greeting.clone(), json!({}), "Hello you"),
        (greeting.clone(), json!({"name": null}), "Hello you"),
        (greeting.clone(), json!({"name": "Ann"}), "Hello Ann"),
        (
            greeting.clone(),
            json!({"nme": "Ann"}),
            "wrong: variables.nme: is no variable of this prompt; it has: name",
        ),
        (greeting.clone(), json!({"name": 3}), "wrong: variables.name: must be a string"),
        (
            greeting.clone(),
            json!({"name": "\u{F8F0}KEY\u{F8F1}"}),
            "wrong: variables.name: holds a character of the private use area that stands for secrets here (U+F8F0, U+F8F1); remove it",
        ),
        // A value is data: what looks like a template in it is not read as one.
        (greeting.clone(), json!({"name": "{{ secret.KEY }}"}), "Hello {{ secret.KEY }}"),
        (outer.clone(), json!({"name": "Bo"}), "<Hello Bo>"),
        (
            bundle(
                json!({"text": "{% include 'deep' %}", "partials": {"deep": {"prompt": "o", "version": 2}}}),
                &[("deep", outer)],
            ),
            json!({}),
            "<Hello you>",
        ),
        (
            bundle(
                json!({"messages": [
                    {"role": "system", "content": "Be {{ tone }}."},
                    {"role": "user", "content": "{% if more %}More.{% endif %}"},
                    {"role": "user", "content": "{% for one in list %}{{ loop.index }}{{ one }} {% endfor %}"},
                ], "variables": {"tone": {"values": ["kind", "short"]}, "more": {"type": "boolean", "default": false}, "list": {"type": "list", "max_length": 3}}}),
                &[],
            ),
            json!({"tone": "kind", "list": ["a", "b"]}),
            "system: Be kind.\nuser: 1a 2b ",
        ),
    ];
    for (bundle, variables, expected) in cases {
        assert_eq!(render(&bundle, variables), expected);
    }
}

#[test]
fn values_that_are_not_allowed_are_told() {
    let cases: Vec<(Bundle, Value, &str)> = vec![
        (
            bundle(
                json!({"text": "{{ n }}", "variables": {"n": {"type": "integer", "min": 1, "max": 5}}}),
                &[],
            ),
            json!({"n": 6}),
            "wrong: variables.n: must be 1 to 5",
        ),
        (
            bundle(json!({"text": "{{ n }}", "variables": {"n": {"values": ["a"]}}}), &[]),
            json!({"n": "b"}),
            "wrong: variables.n: must be one of \"a\"",
        ),
        (
            bundle(json!({"text": "{{ n }}", "variables": {"n": {"max_length": 2}}}), &[]),
            json!({"n": "äöü"}),
            "wrong: variables.n: has 3 characters; at most 2 are allowed",
        ),
        (
            bundle(json!({"text": "{{ n }}", "variables": {"n": {}}}), &[]),
            json!({}),
            "wrong: variables.n: is missing; give a string",
        ),
        (
            bundle(
                json!({"text": "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"}),
                &[],
            ),
            json!({}),
            "wrong: text: takes too long or makes too much; shorten its loops",
        ),
    ];
    for (bundle, variables, expected) in cases {
        assert_eq!(render(&bundle, variables), expected);
    }
}

#[test]
fn templates_that_cannot_be_followed_are_refused() {
    let cases = [
        (json!({}), "messages: is missing; give messages for a chat, or text"),
        (json!({"text": "  "}), "text: is empty; an empty prompt is never served"),
        (
            json!({"text": "a", "messages": [{"role": "user", "content": "b"}]}),
            "text: stands beside messages; give one of both",
        ),
        (
            json!({"text": "{{ a"}),
            "text: has an error of syntax in line 1: unexpected end of input, expected end of variable block",
        ),
        (json!({"text": "{{ a }}"}), "text: uses 'a', which is not declared; add it to variables"),
        (
            json!({"text": "{% include 'b' %}"}),
            "text: includes 'b', which is not there; add it to partials",
        ),
        (
            json!({"text": "{% include b %}", "variables": {"b": {}}}),
            "text: includes a partial by a name that is made as it renders; write the name as a string",
        ),
        (
            json!({"text": "{{ secret }}"}),
            "text: uses secrets in a way that cannot be followed; write secret.NAME, of A-Z, 0-9 and '_'",
        ),
        (
            json!({"text": "{{ secret.key }}"}),
            "text: uses secrets in a way that cannot be followed; write secret.NAME, of A-Z, 0-9 and '_'",
        ),
        (
            json!({"text": "{{ secret[x] }}", "variables": {"x": {}}}),
            "text: uses secrets in a way that cannot be followed; write secret.NAME, of A-Z, 0-9 and '_'",
        ),
        (
            json!({"text": "a", "variables": {"secret": {}}}),
            "variables.secret: is no name of a variable: 1 to 64 letters, digits and '_', beginning with none of the digits, and not 'secret'",
        ),
        (
            json!({"text": "a", "variables": {"x": {"type": "integer", "default": "b"}}}),
            "variables.x.default: must be a whole number",
        ),
        (json!({"text": "a", "model": {"temperature": 3.0}}), "model.temperature: must be 0 to 2"),
    ];
    for (document, expected) in cases {
        assert_eq!(render(&bundle(document, &[]), json!({})), format!("refused: {expected}"));
    }
}

#[test]
fn secrets_are_markers_until_they_are_sent() {
    let bundle = bundle(json!({"text": "key={{ secret.TOOL_KEY }};"}), &[]);
    let compiled = Compiled::new(&bundle).unwrap();
    assert_eq!(compiled.secrets().iter().collect::<Vec<_>>(), ["TOOL_KEY"]);
    let Rendered::Text(text) = compiled.render(&serde_json::Map::new()).unwrap() else { panic!() };
    assert_eq!(show_markers(&text), "key={{ secret.TOOL_KEY }};");
    let known = BTreeMap::from([("TOOL_KEY", "s3")]);
    assert_eq!(replace_markers(&text, |name| known.get(name).copied()), "key=s3;");
    assert_eq!(replace_markers(&text, |_| None), text);
}

#[test]
fn equal_documents_have_one_hash() {
    let one: PromptDocument =
        serde_json::from_str(r#"{"variables":{"b":{},"a":{}},"text":"x"}"#).unwrap();
    let other: PromptDocument =
        serde_json::from_str(r#"{"text":"x","variables":{"a":{"type":"string"},"b":{}}}"#).unwrap();
    assert_eq!(one.sha256(), other.sha256());
    assert_eq!(
        one.canonical(),
        r#"{"text":"x","variables":{"a":{"type":"string"},"b":{"type":"string"}}}"#
    );
}
