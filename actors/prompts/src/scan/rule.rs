//! One rule, and what it finds in a text before anything is held back.

use super::allow::{Allowlist, Match, entropy};
use super::check::Check;
use super::filter::Filter;
use super::pattern::Pattern;

/// How far a match's line is read to each side, in bytes: a text may be one long line.
pub(super) const LINE: usize = 4096;

/// How far before a match the words are that say what it is, in bytes.
const NEAR: usize = 48;

/// A rule ready to run.
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) description: String,
    pub(super) pattern: Pattern,
    /// In lower case. The rule runs on texts that hold one of them; on all texts when it has none.
    pub(super) keywords: Vec<String>,
    /// The group that is the secret; 0 for the first that is not empty.
    pub(super) secret_group: usize,
    /// The entropy a secret must be above, in bits per character; 0 for any.
    pub(super) entropy: f64,
    pub(super) allowlists: Vec<Allowlist>,
    pub(super) filter: Option<Filter>,
    pub(super) check: Option<Check>,
    /// It is one of this module's, rather than of a package.
    pub(super) own: bool,
}

/// A rule, or a part of a rule file, that is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Which rule file: 0 for the built-in ones, then from 1 as they were given.
    pub file: usize,
    /// The rule's id; empty when it is about the whole file.
    pub rule: String,
    /// Why, in words.
    pub reason: String,
}

/// A match of a rule that the rule itself stands by.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) texts: Match<'a>,
    /// Where the secret begins and ends, in bytes.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Rule {
    /// Whether the rule knows a secret by the secret's own form, such as a provider's prefix,
    /// rather than by the words around it.
    pub(super) fn knows_form(&self, secret: &str) -> bool {
        if self.id.contains("generic") || self.check.is_some_and(Check::by_context) {
            return false;
        }
        let secret = secret.to_ascii_lowercase();
        self.own || self.keywords.iter().any(|it| it.len() > 2 && secret.contains(it.as_str()))
    }

    /// How far behind others a finding of the rule stands for the same place; 0 for none.
    pub(super) fn rank(&self, known: bool) -> u8 {
        let generic = self.id.contains("generic");
        4 * u8::from(generic) + 2 * u8::from(!known) + u8::from(!self.own)
    }

    /// Every match in `text`, less what the rule's own entropy, filter and allowlists drop.
    pub(super) fn candidates<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Candidate<'a>> {
        let matches = self.pattern.get().into_iter();
        matches
            .flat_map(move |it| it.captures_iter(text.as_bytes()))
            .filter_map(move |groups| self.candidate(text, &groups))
            .filter(move |it| self.keeps(&it.texts))
    }

    fn candidate<'a>(
        &self,
        text: &'a str,
        groups: &regex::bytes::Captures<'_>,
    ) -> Option<Candidate<'a>> {
        let whole = groups.get(0)?;
        let named = groups.get(self.secret_group).filter(|_| self.secret_group > 0);
        let first = || groups.iter().skip(1).flatten().find(|it| !it.is_empty());
        let secret = named.or_else(first).unwrap_or(whole);
        // A byte class of a pattern may end within a character: the texts take it whole.
        let floor = |at: usize| text.floor_char_boundary(at);
        let ceiling = |at: usize| text.ceil_char_boundary(at);
        let (start, end) = (floor(secret.start()), ceiling(secret.end()));
        let (from, to) = (floor(whole.start()), ceiling(whole.end()));
        let line_start = floor(from.saturating_sub(LINE));
        let line_start =
            text.get(line_start..from)?.rfind('\n').map_or(line_start, |at| line_start + at + 1);
        let line_end = ceiling(to.saturating_add(LINE).min(text.len()));
        let line_end = text.get(to..line_end)?.find('\n').map_or(line_end, |at| to + at);
        let near = line_start.max(floor(from.saturating_sub(NEAR)));
        let secret = text.get(start..end)?;
        let texts = Match {
            secret: secret.trim_matches('\n'),
            whole: text.get(from..to)?.trim_matches('\n'),
            line: text.get(line_start..line_end)?,
            near: text.get(near..to)?,
        };
        let start = start + secret.len() - secret.trim_start_matches('\n').len();
        Some(Candidate { texts, start, end: start + texts.secret.len() })
    }

    fn keeps(&self, found: &Match<'_>) -> bool {
        !found.secret.is_empty()
            && (self.entropy == 0.0 || entropy(found.secret) > self.entropy)
            && !self.filter.as_ref().is_some_and(|it| it.drops(found))
            && !self.allowlists.iter().any(|it| it.allows(&self.id, found))
            && self.check.is_none_or(|it| it.passes(found))
    }

    /// Why a pattern of the rule could not be compiled when a text needed it.
    pub(super) fn failure(&self) -> Option<&str> {
        let of_lists = || self.allowlists.iter().flat_map(|it| &it.patterns);
        self.pattern.failure().or_else(|| of_lists().find_map(Pattern::failure))
    }
}
