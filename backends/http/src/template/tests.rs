//! What a value can do to an address: fill its place, and nothing else.

use super::Template;

fn fill(template: &str, value: &str) -> Result<String, String> {
    let template = Template::parse(template).expect("a template");
    template.fill(|_| Ok(value.to_owned())).map(String::from)
}

#[test]
fn values_stay_in_their_place() {
    for (value, path) in [
        ("7", "/users/7/posts"),
        ("a b", "/users/a%20b/posts"),
        ("a/b", "/users/a%2Fb/posts"),
        ("?x=1#y", "/users/%3Fx%3D1%23y/posts"),
        ("@evil.example", "/users/%40evil.example/posts"),
        ("a;b", "/users/a%3Bb/posts"),
        ("%2e%2e", "/users/%252e%252e/posts"),
        ("é", "/users/%C3%A9/posts"),
        ("...", "/users/.../posts"),
    ] {
        let filled = fill("https://api.example/users/{id}/posts?v=1", value);
        assert_eq!(filled, Ok(format!("https://api.example{path}?v=1")), "{value}");
    }
}

#[test]
fn values_that_would_climb_are_refused() {
    for value in ["", ".", "..", "../x", "a/../b", "a\\..\\b", "a\nb", "a\0"] {
        assert!(fill("https://api.example/users/{id}", value).is_err(), "{value:?}");
    }
    assert!(fill("https://api.example/.{id}", ".").is_err());
    assert!(fill("https://api.example/%2e{id}/x", ".").is_err());
}

#[test]
fn a_template_is_checked() {
    for wrong in [
        "ftp://a/b",
        "//a/b",
        "https://{host}/b",
        "https://a.{tld}/b",
        "https://user:pass@a/b",
        "https://a/b?q={q}",
        "https://a/{b",
        "https://a/b}",
        "https://a/{}",
        "https://a/{{b}}",
        "https://a/../b",
        "https://a/%2E%2e/b",
        "https://a/b#c",
        "https:///b",
    ] {
        assert!(Template::parse(wrong).is_err(), "{wrong}");
    }
    let template = Template::parse("http://[::1]:81/a/{b}-{c}/{b}").expect("a template");
    assert_eq!(template.parameters().into_iter().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!((template.host(), template.port()), ("::1", 81));
}
