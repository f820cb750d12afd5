//! Names of teams, projects and users, both ways, and who pays.

use crate::{Payer, Subject};

#[test]
fn a_name_is_one_subject_and_a_subject_has_one_name() {
    let (team, project, user) = ("acme", "search", "ada@example.com");
    for (name, subject, told) in [
        ("acme", Subject::Team(team), "team 'acme'"),
        ("acme/search", Subject::Project { team, project }, "project 'search' of team 'acme'"),
        (
            "acme//ada@example.com",
            Subject::User { team, user },
            "user 'ada@example.com' of team 'acme'",
        ),
        // Users may have the mark in their names.
        ("acme///a/b", Subject::User { team, user: "/a/b" }, "user '/a/b' of team 'acme'"),
    ] {
        assert_eq!(Subject::named(name), subject);
        assert_eq!(subject.name(), name);
        assert_eq!(subject.team(), team);
        assert_eq!(subject.to_string(), told);
    }
}

#[test]
fn a_payer_is_a_team_and_those_of_its_parts_that_are_named() {
    let names = |payer: Payer<'_>| payer.parts().map(|part| part.name()).collect::<Vec<_>>();
    let (team, project, user) = ("acme", Some("search"), Some("ada"));
    assert_eq!(names(Payer::from("acme")), [""; 0]);
    assert_eq!(names(Payer { team, project, user: None }), ["acme/search"]);
    assert_eq!(names(Payer { team, project: None, user }), ["acme//ada"]);
    assert_eq!(names(Payer { team, project, user }), ["acme/search", "acme//ada"]);
}
