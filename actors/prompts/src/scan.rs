//! Finds secrets in the texts of a prompt version, by rules that are data.
//!
//! The rules are in the TOML shape of gitleaks and of betterleaks. This module's own are always on;
//! an operator may add a package's, unchanged. Beyond what a rule says of itself, a finding is held
//! back when it is a placeholder or a template's expression, and, when only the words around it
//! make it suspicious, when it is a name, a word, a checksum or a public identifier.
//!
//! A comment such as `gitleaks:allow` has no effect: who writes a prompt must not be able to
//! silence the scan of it. An exception is made by someone else, with a reason, by a finding's
//! fingerprint.

mod allow;
mod check;
mod file;
mod filter;
mod pattern;
mod placeholder;
mod plausible;
mod rule;
mod template;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::AhoCorasick;
use sha2::{Digest, Sha256};

use allow::Allowlist;
use filter::Filter;
pub use rule::Skipped;
use rule::{Candidate, Rule};
use template::Templates;

/// This module's own rules.
const OWN_RULES: [&str; 4] = [
    include_str!("scan/rules.toml"),
    include_str!("scan/rules/code.toml"),
    include_str!("scan/rules/models.toml"),
    include_str!("scan/rules/services.toml"),
];

/// How many characters of a secret [`masked`] shows at most.
const SHOWN: usize = 4;

/// How many hexadecimal digits of SHA-256 a fingerprint has.
const FINGERPRINT: usize = 32;

/// A rule file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It is not TOML.
    #[error("rule file {file} is not TOML: {reason}")]
    Syntax {
        /// Which file: 0 for the built-in ones, then from 1 as they were given.
        file: usize,
        /// What the TOML reader says.
        reason: String,
    },
    /// A field of it has a value that cannot be used.
    #[error("rule file {file}, rule {rule:?}, field {field}: {reason}")]
    Field {
        /// Which file: 0 for the built-in ones, then from 1 as they were given.
        file: usize,
        /// The rule's id, `#` and its place when it has none, or nothing for the file itself.
        rule: String,
        /// The field's name.
        field: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The keywords of all rules together cannot be searched for.
    #[error("the rules' keywords cannot be searched for: {0}")]
    Keywords(String),
}

/// A secret found in a text. It never holds the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The id of the rule that found it.
    pub rule: String,
    /// What that rule looks for.
    pub description: String,
    /// Where the secret begins, in bytes of the text.
    pub start: usize,
    /// Where the secret ends, in bytes of the text.
    pub end: usize,
    /// The line it begins on, from 1.
    pub line: usize,
    /// The character of that line it begins at, from 1.
    pub column: usize,
    /// The first 32 hexadecimal digits of SHA-256 over the rule's id, a zero byte and the secret.
    /// It names the finding in an exception without telling the secret. A short password could be
    /// guessed from it, so it is for those who may read the prompt.
    pub fingerprint: String,
}

/// Which rules run, and how far. Only measurements differ from [`Scanner::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Whether this module's own rules run.
    pub own_rules: bool,
    /// Whether placeholders and implausible findings are held back; without it a package's rules
    /// find what their own tool finds.
    pub hold_back: bool,
}

/// The rules of one file, with what holds for all of them.
struct Group {
    rules: Vec<Rule>,
    allowlists: Vec<Allowlist>,
    filter: Option<Filter>,
    file: usize,
}

/// A set of rules, ready to scan texts.
pub struct Scanner {
    groups: Vec<Group>,
    keywords: AhoCorasick,
    /// For each keyword, the rules it wakes, as (group, rule).
    wakes: Vec<Vec<(usize, usize)>>,
    /// The rules without keywords.
    always: Vec<(usize, usize)>,
    skipped: Vec<Skipped>,
    hold_back: bool,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rules: usize = self.groups.iter().map(|it| it.rules.len()).sum();
        out.debug_struct("Scanner").field("rules", &rules).finish_non_exhaustive()
    }
}

impl Scanner {
    /// This module's own rules, and those of the given rule files.
    ///
    /// # Errors
    /// A file that is not TOML, or a field of a rule that cannot be used; it is named.
    pub fn new(rule_files: &[&str]) -> Result<Self, RuleError> {
        Self::with_mode(Mode { own_rules: true, hold_back: true }, rule_files)
    }

    /// The rules of `mode`, for measurements.
    ///
    /// # Errors
    /// As [`Scanner::new`].
    pub fn with_mode(mode: Mode, rule_files: &[&str]) -> Result<Self, RuleError> {
        let own = OWN_RULES.iter().filter(|_| mode.own_rules).map(|text| (*text, 0));
        let given = rule_files.iter().copied().zip(1..);
        let mut groups = Vec::new();
        let mut skipped = Vec::new();
        for (text, number) in own.chain(given) {
            let file = file::read(text, number, number == 0)?;
            skipped.extend(file.skipped);
            let (rules, allowlists, filter) = (file.rules, file.allowlists, file.filter);
            groups.push(Group { rules, allowlists, filter, file: number });
        }
        let wakes = keywords(&groups);
        let keywords = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(wakes.keys())
            .map_err(|error| RuleError::Keywords(error.to_string()))?;
        let wakes = wakes.into_values().collect();
        let without = |it: &((usize, usize), &Rule)| it.1.keywords.is_empty();
        let always = numbered(&groups).filter(without).map(|(number, _)| number).collect();
        Ok(Self { groups, keywords, wakes, always, skipped, hold_back: mode.hold_back })
    }

    /// The rules that are not applied, each with its reason, and those of them that turned out too
    /// large to compile in a scan before.
    pub fn skipped(&self) -> Vec<Skipped> {
        let failed = self.groups.iter().flat_map(|group| {
            group.rules.iter().filter_map(|rule| {
                let reason = rule.failure()?.to_owned();
                Some(Skipped { file: group.file, rule: rule.id.clone(), reason })
            })
        });
        self.skipped.iter().cloned().chain(failed).collect()
    }

    /// The secrets in `text`, in the order they begin; where rules find the same place, the finding
    /// of the most specific one.
    pub fn scan(&self, text: &str) -> Vec<Finding> {
        let templates = Templates::of(text);
        let mut found: Vec<(u8, Candidate<'_>, &Rule)> = Vec::new();
        for (group, rule) in self.awake(text) {
            for candidate in rule.candidates(text) {
                let texts = &candidate.texts;
                let dropped = group.filter.as_ref().is_some_and(|it| it.drops(texts))
                    || group.allowlists.iter().any(|it| it.allows(&rule.id, texts));
                let known = rule.knows_form(texts.secret);
                let held = || self.hold_back && !stands(text, &templates, rule, &candidate, known);
                if !dropped && !held() {
                    found.push((rule.rank(known), candidate, rule));
                }
            }
        }
        // The most specific first; of two alike the longer, so that the whole secret is told.
        found.sort_by_key(|(rank, it, _)| (*rank, std::cmp::Reverse(it.end - it.start), it.start));
        let mut kept = BTreeMap::<usize, (Candidate<'_>, &Rule)>::new();
        for (_, candidate, rule) in found {
            // Those kept are apart from each other, so only the last that begins before matters.
            let before = kept.range(..candidate.end).next_back();
            if before.is_none_or(|(_, (it, _))| it.end <= candidate.start) {
                kept.insert(candidate.start, (candidate, rule));
            }
        }
        let mut place = Place { at: 0, line: 1, column: 1 };
        kept.values().map(|(candidate, rule)| finding(text, &mut place, rule, candidate)).collect()
    }

    /// The rules to run on `text`: those with a keyword in it, and those without keywords.
    fn awake(&self, text: &str) -> Vec<(&Group, &Rule)> {
        let mut seen = vec![false; self.wakes.len()];
        for keyword in self.keywords.find_overlapping_iter(text) {
            if let Some(it) = seen.get_mut(keyword.pattern().as_usize()) {
                *it = true;
            }
        }
        let found = self.wakes.iter().zip(seen).filter(|(_, seen)| *seen);
        let awake: BTreeSet<(usize, usize)> =
            found.flat_map(|(rules, _)| rules).chain(&self.always).copied().collect();
        awake
            .into_iter()
            .filter_map(|(group, rule)| {
                let group = self.groups.get(group)?;
                Some((group, group.rules.get(rule)?))
            })
            .collect()
    }
}

/// All keywords once, with the rules each wakes.
fn keywords(groups: &[Group]) -> BTreeMap<&str, Vec<(usize, usize)>> {
    let mut wakes = BTreeMap::<&str, Vec<(usize, usize)>>::new();
    for (number, rule) in numbered(groups) {
        for keyword in &rule.keywords {
            wakes.entry(keyword).or_default().push(number);
        }
    }
    wakes
}

/// All rules, each with its group's number and its own within the group.
fn numbered(groups: &[Group]) -> impl Iterator<Item = ((usize, usize), &Rule)> {
    groups.iter().enumerate().flat_map(|(group, it)| {
        it.rules.iter().enumerate().map(move |(rule, it)| ((group, rule), it))
    })
}

/// Whether a finding is worth telling, whatever rule made it.
fn stands(
    text: &str,
    templates: &Templates,
    rule: &Rule,
    candidate: &Candidate<'_>,
    known: bool,
) -> bool {
    let secret = candidate.texts.secret;
    if templates.explain(text, candidate.start, candidate.end)
        || placeholder::is_placeholder(secret)
    {
        return false;
    }
    // A rule of this module's has judged the value by its own check already.
    known || rule.own || plausible::token(&candidate.texts)
}

/// How far a text's lines and characters are counted.
struct Place {
    at: usize,
    line: usize,
    column: usize,
}

impl Place {
    fn advance(&mut self, text: &str, to: usize) {
        let passed = text.get(self.at..to).unwrap_or_default();
        self.at = to;
        if let Some((before, last)) = passed.rsplit_once('\n') {
            self.line += 1 + before.matches('\n').count();
            self.column = 1 + last.chars().count();
        } else {
            self.column += passed.chars().count();
        }
    }
}

fn finding(text: &str, place: &mut Place, rule: &Rule, candidate: &Candidate<'_>) -> Finding {
    place.advance(text, candidate.start);
    let mut hash = Sha256::new();
    hash.update(rule.id.as_bytes());
    hash.update([0]);
    hash.update(candidate.texts.secret.as_bytes());
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Finding {
        rule: rule.id.clone(),
        description: rule.description.clone(),
        start: candidate.start,
        end: candidate.end,
        line: place.line,
        column: place.column,
        fingerprint: digits.chars().take(FINGERPRINT).collect(),
    }
}

/// The first characters of the secret and `…`, for a person to know it by: at most four, and at
/// most a quarter of it. `text` is the text the finding was made in.
pub fn masked(text: &str, finding: &Finding) -> String {
    let secret = text.get(finding.start..finding.end).unwrap_or_default();
    let shown = SHOWN.min(secret.chars().count() / 4);
    secret.chars().take(shown).chain(['…']).collect()
}
