//! Where a team's secret lies: a path and a field, no two secrets in one place.

use headwater_secrets::{SecretError, SecretName};

const TEAM: &str = "{team}";
const NAME: &str = "{name}";

/// A checked path and field.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    path: String,
    field: String,
}

impl Template {
    /// # Errors
    /// [`SecretError::Misconfigured`] when two secrets could lie in one place.
    pub(crate) fn new(path: &str, field: &str) -> Result<Template, SecretError> {
        let wrong = |why: &str| Err(SecretError::Misconfigured(why.to_owned()));
        let parts: Vec<&str> = path.split('/').collect();
        let is_placeholder = |part: &&&str| matches!(**part, TEAM | NAME);
        if !parts.iter().all(|part| matches!(*part, TEAM | NAME) || is_plain(part)) {
            return wrong(
                "`path` has an empty part, or one that is neither plain nor {team} or {name} as a \
                 whole; give parts between /, as in {team}/{name}",
            );
        }
        let placeholders: Vec<&str> = parts.iter().filter(is_placeholder).copied().collect();
        if !matches!(placeholders[..], [TEAM] | [TEAM, NAME] | [NAME, TEAM]) {
            return wrong("`path` needs {team} once, and {name} at most once, as in {team}/{name}");
        }
        if field != NAME && (field.is_empty() || field.contains(['{', '}'])) {
            return wrong("`field` is neither a plain name nor {name}; give one of both");
        }
        if !parts.contains(&NAME) && field != NAME {
            return wrong("neither `path` nor `field` holds {name}; give it to one of both");
        }
        Ok(Template { path: path.to_owned(), field: field.to_owned() })
    }

    /// The path below the mount; `None` for a team that no part of a path can be.
    pub(crate) fn path(&self, team: &str, name: &SecretName) -> Option<String> {
        let parts = self.path.split('/').map(|part| match part {
            TEAM => team,
            NAME => name.as_str(),
            plain => plain,
        });
        is_plain(team).then(|| parts.collect::<Vec<_>>().join("/"))
    }

    pub(crate) fn field<'a>(&'a self, name: &'a SecretName) -> &'a str {
        if self.field == NAME { name.as_str() } else { &self.field }
    }
}

/// One part of a path that stays where it stands: Vault refuses every `..`.
pub(crate) fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && part != "."
        && !part.contains("..")
        && !part.contains(['/', '\\', '{', '}'])
        && !part.contains(char::is_control)
        && part.trim() == part
}

#[cfg(test)]
mod tests;
