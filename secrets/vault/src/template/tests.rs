//! Templates: where secrets lie, and which are refused.

use headwater_secrets::{SecretError, SecretName};

use super::Template;

#[test]
fn a_place_is_of_one_secret() {
    let name = SecretName::new("KEY").unwrap();
    let check = |path: &str, field: &str, team: &str, expected: Option<(&str, &str)>| {
        let template = Template::new(path, field).unwrap();
        let place = template.path(team, &name);
        let place = place.as_deref().map(|path| (path, template.field(&name)));
        assert_eq!(place, expected, "{path} {team}");
    };
    check("{team}/{name}", "value", "acme", Some(("acme/KEY", "value")));
    check("apps/{name}/of/{team}", "v", "a-b", Some(("apps/KEY/of/a-b", "v")));
    check("{team}", "{name}", "acme", Some(("acme", "KEY")));
    check("{team}/{name}", "value", "ac me%2f", Some(("ac me%2f/KEY", "value")));
    for team in ["", ".", "..", "a..b", "a/b", "a\\b", "{name}", "a\n", " a", "a "] {
        check("{team}/{name}", "value", team, None);
    }
}

#[test]
fn a_template_that_mixes_secrets_is_refused() {
    let check = |path: &str, field: &str, expected: &str| {
        let refused = Template::new(path, field).err();
        let Some(SecretError::Misconfigured(why)) = refused else { panic!("{path} is taken") };
        assert!(why.contains(expected), "{path} {field}: {why}");
    };
    for path in ["", "/{team}", "{team}/", "x-{team}/{name}", "{team}{name}", "../{team}", "{Team}"]
    {
        check(path, "{name}", "`path` has an empty part");
    }
    for path in ["plain", "{name}", "{team}/{team}", "{team}/{name}/{name}"] {
        check(path, "{name}", "`path` needs {team} once");
    }
    check("{team}", "value", "neither `path` nor `field`");
    check("{team}/{name}", "", "`field`");
    check("{team}/{name}", "{team}", "`field`");
}
