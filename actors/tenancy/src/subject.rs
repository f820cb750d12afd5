//! Whom limits are set for: a team, a project of it, a user of it. Each has books of its own,
//! under its name, so that nothing that is counted for one is counted for another.

use std::fmt;

/// Between a team and its project, and twice between a team and its user. No team and no project
/// has it in its name, so a name stands for one subject.
const MARK: char = '/';

/// Whose limits a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject<'a> {
    /// `acme`
    Team(&'a str),
    /// `acme/search`
    Project { team: &'a str, project: &'a str },
    /// `acme//alice`
    User { team: &'a str, user: &'a str },
}

impl<'a> Subject<'a> {
    /// The subject of this name. What its parts may be called is the caller's to check.
    pub fn named(name: &'a str) -> Subject<'a> {
        let Some((team, rest)) = name.split_once(MARK) else { return Subject::Team(name) };
        match rest.strip_prefix(MARK) {
            Some(user) => Subject::User { team, user },
            None => Subject::Project { team, project: rest },
        }
    }

    /// The team that it is, or is a part of.
    pub fn team(&self) -> &'a str {
        match self {
            Subject::Team(team) | Subject::Project { team, .. } | Subject::User { team, .. } => {
                team
            }
        }
    }

    /// The name of its books.
    pub fn name(&self) -> String {
        match self {
            Subject::Team(team) => (*team).to_owned(),
            Subject::Project { team, project } => format!("{team}{MARK}{project}"),
            Subject::User { team, user } => format!("{team}{MARK}{MARK}{user}"),
        }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Team(team) => write!(f, "team '{team}'"),
            Subject::Project { team, project } => {
                write!(f, "project '{project}' of team '{team}'")
            }
            Subject::User { team, user } => write!(f, "user '{user}' of team '{team}'"),
        }
    }
}

/// Who asks: a team, and who of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payer<'a> {
    pub team: &'a str,
    pub project: Option<&'a str>,
    pub user: Option<&'a str>,
}

impl<'a> Payer<'a> {
    /// The project and the user, where there are any.
    pub fn parts(&self) -> impl Iterator<Item = Subject<'a>> + use<'a> {
        let team = self.team;
        let project = self.project.map(|project| Subject::Project { team, project });
        let user = self.user.map(|user| Subject::User { team, user });
        project.into_iter().chain(user)
    }
}

/// A whole team.
impl<'a> From<&'a str> for Payer<'a> {
    fn from(team: &'a str) -> Self {
        Payer { team, project: None, user: None }
    }
}
