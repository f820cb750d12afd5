//! Variables: which are read, which patterns are refused, and no two secrets in one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use headwater_secrets::{SecretError, SecretName, SecretSource};

use super::{EnvironmentSettings, EnvironmentSource};

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn settings(variable: &str) -> EnvironmentSettings {
    EnvironmentSettings { variable: variable.to_owned() }
}

fn look_up(variable: &str) -> Option<OsString> {
    match variable {
        "HEADWATER_SECRET_A_045B_KEY" => Some("canary-minus".into()),
        "HEADWATER_SECRET_A_095B_KEY" => Some("canary-underscore".into()),
        "HEADWATER_SECRET_A_EMPTY" | "HEADWATER_SECRET__KEY" => Some("".into()),
        "HEADWATER_SECRET_A_BYTES" => Some(OsString::from_vec(vec![b'c', 0xff])),
        _ => None,
    }
}

#[tokio::test]
async fn a_variable_is_of_one_team_and_name() {
    let source = EnvironmentSource::with_look_up(&EnvironmentSettings::default(), look_up).unwrap();
    for (team, wanted, expected) in [
        ("a-b", "KEY", Ok("canary-minus")),
        ("a_b", "KEY", Ok("canary-underscore")),
        ("a", "B_KEY", Err("has no secret")),
        ("A-B", "KEY", Err("has no secret")),
        ("a_045b", "KEY", Err("has no secret")),
        ("", "KEY", Err("has no secret")),
        ("a", "EMPTY", Err("HEADWATER_SECRET_A_EMPTY is empty; give it a value")),
        ("a", "BYTES", Err("HEADWATER_SECRET_A_BYTES holds no UTF-8")),
    ] {
        let value = source.get(team, &name(wanted)).await;
        match (&value, expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value.expose(), expected),
            (Err(error), Err(expected)) => {
                let shown = format!("{error} {error:?}");
                assert!(shown.contains(expected) && !shown.contains("canary"), "{shown}");
            }
            _ => panic!("{team} {wanted}: {value:?}"),
        }
    }
}

#[test]
fn no_two_secrets_share_a_variable() {
    let letters = ["", "a", "b", "A", "0", "9", "_", "-", "."];
    let mut teams = vec![String::new()];
    for _ in 0..3 {
        teams =
            teams.iter().flat_map(|team| letters.map(|letter| format!("{team}{letter}"))).collect();
        teams.sort();
        teams.dedup();
    }
    teams.extend(["_045", "a_045b", "a045b", "ä", "\u{e3}", "_195_164", "a_b_c"].map(String::from));
    let names = ["A", "B", "A_B", "B_A", "A_0", "A__B", "A9", "B_045A"].map(name);
    for pattern in ["S_{TEAM}_{NAME}", "S_{TEAM}__{NAME}"] {
        let source = EnvironmentSource::new(&settings(pattern)).unwrap();
        let mut seen = BTreeMap::new();
        for team in &teams {
            for name in &names {
                let variable = source.variable(team, name);
                let other = seen.insert(variable.clone(), (team, name));
                assert_eq!(other, None, "{variable} is of {team} {name} too");
            }
        }
    }
}

#[test]
fn a_pattern_that_reaches_too_far_is_refused() {
    for pattern in [
        "",
        "{TEAM}_{NAME}",
        "_{TEAM}_{NAME}",
        "S{TEAM}_{NAME}",
        "S_{TEAM}{NAME}",
        "S_{TEAM}_X_{NAME}",
        "S_{NAME}_{TEAM}",
        "S_{NAME}",
        "S_{TEAM}",
        "S_{TEAM}_{NAME}_X",
        "S_{TEAM}_{TEAM}_{NAME}",
        "s_{TEAM}_{NAME}",
        "S=_{TEAM}_{NAME}",
    ] {
        let refused = EnvironmentSource::new(&settings(pattern)).err();
        let Some(SecretError::Misconfigured(why)) = refused else { panic!("{pattern} is taken") };
        assert!(why.contains("`variable`") && why.contains("HEADWATER_SECRET_"), "{why}");
    }
}

#[tokio::test]
async fn the_real_environment_is_read() {
    // Cargo sets CARGO_PKG_NAME for each test.
    let source = EnvironmentSource::new(&settings("CARGO_{TEAM}_{NAME}")).unwrap();
    let value = source.get("pkg", &name("NAME")).await.unwrap();
    assert_eq!(value.expose(), env!("CARGO_PKG_NAME"));
}

#[test]
fn settings_refuse_what_they_do_not_know() {
    let read = serde_json::from_str::<EnvironmentSettings>;
    assert_eq!(read("{}").unwrap(), EnvironmentSettings::default());
    assert!(read(r#"{"pattern": "S_{TEAM}_{NAME}"}"#).is_err());
}
