//! Reads rule files in the TOML shape of gitleaks and betterleaks.

use aho_corasick::AhoCorasick;
use toml::{Table, Value};

use super::RuleError;
use super::allow::{Allowlist, Target};
use super::check::Check;
use super::filter::Filter;
use super::pattern::Pattern;
use super::rule::{Rule, Skipped};

/// What one rule file says.
pub(super) struct RuleFile {
    pub(super) rules: Vec<Rule>,
    /// Its global allowlists, which hold for its own rules alone.
    pub(super) allowlists: Vec<Allowlist>,
    /// Its global filter, likewise.
    pub(super) filter: Option<Filter>,
    pub(super) skipped: Vec<Skipped>,
}

/// Fields of a rule that change nothing here: words about it, and betterleaks' questions to a
/// provider whether a secret is alive, which it asks only when told to.
const WITHOUT_EFFECT: [&str; 4] = ["description", "tags", "validate", "specificity"];

const HONOURED: [&str; 10] = [
    "id",
    "regex",
    "path",
    "secretGroup",
    "entropy",
    "keywords",
    "allowlists",
    "allowlist",
    "filter",
    "check",
];

/// Fields of a file that change nothing here. A `prefilter` passes over files by their path.
const FILE_WITHOUT_EFFECT: [&str; 6] =
    ["title", "description", "minVersion", "betterleaksMinVersion", "prefilter", "rules"];

/// Reads the text of the `number`th rule file; `own` is this module's.
pub(super) fn read(text: &str, number: usize, own: bool) -> Result<RuleFile, RuleError> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| RuleError::Syntax {
        file: number,
        reason: error.to_string(),
    })?;
    let mut file =
        RuleFile { rules: Vec::new(), allowlists: Vec::new(), filter: None, skipped: Vec::new() };
    let place = Place { file: number, rule: "" };
    file.allowlists = allowlists(&table, &place)?;
    let mut skip = |rule: &str, reason: String| {
        file.skipped.push(Skipped { file: number, rule: rule.to_owned(), reason });
    };
    match string(&table, "filter", &place)?.map(Filter::parse) {
        None => {}
        Some(Ok(filter)) => file.filter = Some(filter),
        Some(Err(reason)) => skip("", format!("the file's filter is not applied: {reason}")),
    }
    for field in table.keys() {
        let known = ["allowlist", "allowlists", "filter"];
        if !known.contains(&field.as_str()) && !FILE_WITHOUT_EFFECT.contains(&field.as_str()) {
            skip("", format!("the file's field {field} is not applied: it is not supported here"));
        }
    }
    for (index, value) in list(&table, "rules", &place)?.iter().enumerate() {
        let unnamed = format!("#{}", index + 1);
        let place = Place { file: number, rule: &unnamed };
        let table = value.as_table().ok_or_else(|| place.error("rules", "must be a table"))?;
        let id = string(table, "id", &place)?
            .filter(|it| !it.is_empty())
            .ok_or_else(|| place.error("id", "is missing"))?;
        let place = Place { file: number, rule: id };
        if file.rules.iter().any(|it| it.id == id) {
            return Err(place.error("id", "is there twice"));
        }
        match rule(table, id, &place, own)? {
            Ok(rule) => file.rules.push(rule),
            Err(reason) => skip(id, reason),
        }
    }
    Ok(file)
}

/// One rule, or why it is skipped.
fn rule(
    table: &Table,
    id: &str,
    place: &Place<'_>,
    own: bool,
) -> Result<Result<Rule, String>, RuleError> {
    if let Some(field) = table.keys().find(|it| !known_field(it, own)) {
        return Ok(Err(match field.as_str() {
            "required" => "it needs other rules' matches nearby".to_owned(),
            "skipReport" => "it is only a part of another rule and reports nothing".to_owned(),
            _ => format!("its field {field} is not supported here"),
        }));
    }
    if table.contains_key("path") {
        return Ok(Err("it is for files of a certain path, which a prompt's text has not".into()));
    }
    let Some(regex) = string(table, "regex", place)? else {
        return Ok(Err("it has no regex".to_owned()));
    };
    let pattern = Pattern::new(regex).map_err(|reason| place.error("regex", reason))?;
    let filter = match string(table, "filter", place)?.map(Filter::parse).transpose() {
        Ok(filter) => filter,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut keywords = strings(table, "keywords", place)?;
    keywords.iter_mut().for_each(|it| *it = it.to_lowercase());
    let check = match string(table, "check", place)? {
        None => None,
        Some(name) => {
            let reason = "names no check of this module";
            Some(Check::named(name).ok_or_else(|| place.error("check", reason))?)
        }
    };
    Ok(Ok(Rule {
        id: id.to_owned(),
        description: string(table, "description", place)?.unwrap_or_default().to_owned(),
        pattern,
        keywords,
        secret_group: group(table, place)?,
        entropy: number(table, "entropy", place)?,
        allowlists: allowlists(table, place)?,
        filter,
        check,
        own,
    }))
}

fn known_field(field: &str, own: bool) -> bool {
    // `check` is this module's own field: a package that has one means something else by it.
    (HONOURED.contains(&field) && (own || field != "check")) || WITHOUT_EFFECT.contains(&field)
}

fn allowlists(table: &Table, place: &Place<'_>) -> Result<Vec<Allowlist>, RuleError> {
    let single = table.get("allowlist").into_iter();
    single
        .chain(list(table, "allowlists", place)?)
        .map(|value| {
            let table = value
                .as_table()
                .ok_or_else(|| place.error("allowlists", "must be tables".to_owned()))?;
            allowlist(table, place)
        })
        .collect()
}

fn allowlist(table: &Table, place: &Place<'_>) -> Result<Allowlist, RuleError> {
    let all = match string(table, "condition", place)?.map(str::to_uppercase).as_deref() {
        None | Some("" | "OR" | "||") => false,
        Some("AND" | "&&") => true,
        Some(_) => return Err(place.error("condition", "must be OR or AND")),
    };
    let target = match string(table, "regexTarget", place)? {
        None | Some("" | "secret") => Target::Secret,
        Some("match") => Target::Whole,
        Some("line") => Target::Line,
        Some(_) => return Err(place.error("regexTarget", "must be secret, match or line")),
    };
    let patterns = strings(table, "regexes", place)?
        .iter()
        .map(|it| Pattern::new(it).map_err(|reason| place.error("regexes", reason)))
        .collect::<Result<_, _>>()?;
    let words = strings(table, "stopwords", place)?;
    let stopwords = if words.is_empty() {
        None
    } else {
        let built = AhoCorasick::builder().ascii_case_insensitive(true).build(&words);
        Some(built.map_err(|error| place.error("stopwords", error.to_string()))?)
    };
    let elsewhere = !strings(table, "paths", place)?.is_empty()
        || !strings(table, "commits", place)?.is_empty();
    let rules = strings(table, "targetRules", place)?;
    Ok(Allowlist { all, elsewhere, target, patterns, stopwords, rules })
}

/// Where in the rule files an error is.
struct Place<'a> {
    file: usize,
    rule: &'a str,
}

impl Place<'_> {
    fn error(&self, field: &str, reason: impl Into<String>) -> RuleError {
        RuleError::Field {
            file: self.file,
            rule: self.rule.to_owned(),
            field: field.to_owned(),
            reason: reason.into(),
        }
    }
}

fn string<'a>(
    table: &'a Table,
    field: &str,
    place: &Place<'_>,
) -> Result<Option<&'a str>, RuleError> {
    let Some(value) = table.get(field) else { return Ok(None) };
    value.as_str().map(Some).ok_or_else(|| place.error(field, "must be a string"))
}

fn list<'a>(table: &'a Table, field: &str, place: &Place<'_>) -> Result<&'a [Value], RuleError> {
    let Some(value) = table.get(field) else { return Ok(&[]) };
    value.as_array().map(Vec::as_slice).ok_or_else(|| place.error(field, "must be a list"))
}

fn strings(table: &Table, field: &str, place: &Place<'_>) -> Result<Vec<String>, RuleError> {
    let word = |it: &Value| it.as_str().map(str::to_owned);
    let words: Option<Vec<String>> = list(table, field, place)?.iter().map(word).collect();
    words.ok_or_else(|| place.error(field, "must be a list of strings"))
}

fn number(table: &Table, field: &str, place: &Place<'_>) -> Result<f64, RuleError> {
    match table.get(field) {
        None => Ok(0.0),
        Some(Value::Float(number)) => Ok(*number),
        Some(Value::Integer(number)) => Ok(*number as f64),
        Some(_) => Err(place.error(field, "must be a number of bits per character")),
    }
}

fn group(table: &Table, place: &Place<'_>) -> Result<usize, RuleError> {
    match table.get("secretGroup") {
        None => Ok(0),
        Some(value) => value
            .as_integer()
            .and_then(|it| usize::try_from(it).ok())
            .ok_or_else(|| place.error("secretGroup", "must be the number of a group")),
    }
}
