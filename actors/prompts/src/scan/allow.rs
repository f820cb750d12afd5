//! What a rule file itself calls harmless: allowlists, stopwords and the entropy they stand beside.

use aho_corasick::AhoCorasick;

use super::pattern::Pattern;

/// The texts of one match that allowlists and filters look at.
#[derive(Clone, Copy)]
pub(super) struct Match<'a> {
    /// The part that is the secret.
    pub(super) secret: &'a str,
    /// All that the rule's pattern matched.
    pub(super) whole: &'a str,
    /// The line, or lines, the match stands on, as far as [`super::rule::LINE`] goes.
    pub(super) line: &'a str,
    /// The match and the few words of its line before it.
    pub(super) near: &'a str,
}

/// Which text of a match something looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Secret,
    Whole,
    Line,
    /// A property of the scanned file, such as its path: a prompt's text has none.
    Nothing,
}

impl Target {
    pub(super) fn of<'a>(self, found: &Match<'a>) -> &'a str {
        match self {
            Self::Secret => found.secret,
            Self::Whole => found.whole,
            Self::Line => found.line,
            Self::Nothing => "",
        }
    }
}

/// One allowlist.
pub(super) struct Allowlist {
    /// Every condition must hold, rather than one of them.
    pub(super) all: bool,
    /// It names paths or commits, which a prompt's text has not: such a condition never holds.
    pub(super) elsewhere: bool,
    pub(super) target: Target,
    pub(super) patterns: Vec<Pattern>,
    pub(super) stopwords: Option<AhoCorasick>,
    /// The rules it is for; empty for all.
    pub(super) rules: Vec<String>,
}

impl Allowlist {
    /// Whether the match is harmless by this list.
    pub(super) fn allows(&self, rule: &str, found: &Match<'_>) -> bool {
        if !self.rules.is_empty() && !self.rules.iter().any(|it| it == rule) {
            return false;
        }
        let target = self.target.of(found);
        let pattern = || self.patterns.iter().any(|it| it.is_match(target));
        let stopword = || self.stopwords.as_ref().is_some_and(|it| it.is_match(found.secret));
        if !self.all {
            return pattern() || stopword();
        }
        !self.elsewhere
            && (self.patterns.is_empty() || pattern())
            && (self.stopwords.is_none() || stopword())
    }
}

/// Shannon's entropy in bits, as gitleaks computes it: how often each character comes, over the
/// length in bytes. A rule keeps a secret whose entropy is above its threshold.
pub(super) fn entropy(text: &str) -> f64 {
    let mut characters: Vec<char> = text.chars().collect();
    characters.sort_unstable();
    let length = text.len() as f64;
    characters
        .chunk_by(|left, right| left == right)
        .map(|same| same.len() as f64 / length)
        .map(|share| -share * share.log2())
        .sum()
}
