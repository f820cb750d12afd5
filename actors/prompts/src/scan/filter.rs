//! The filter expressions of betterleaks' rules, as far as they speak of the match alone.

use aho_corasick::AhoCorasick;

use super::allow::{Match, Target, entropy};
use super::pattern::Pattern;

/// An expression that is true for a match to be dropped.
pub(super) enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    /// Entropy at most, or below, a bound in bits per character.
    Entropy {
        target: Target,
        inclusive: bool,
        bound: f64,
    },
    Matches(Target, Vec<Pattern>),
    Contains(Target, Option<AhoCorasick>),
}

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// What of it cannot be honoured here, in words: the full language has slices of the scanned
    /// file, bound names, and functions with their own word lists and models.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: source };
        let filter = reader.any(0)?;
        reader.skip();
        if reader.rest.is_empty() { Ok(filter) } else { Err(reader.unexpected()) }
    }

    pub(super) fn drops(&self, found: &Match<'_>) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|it| it.drops(found)),
            Self::All(parts) => parts.iter().all(|it| it.drops(found)),
            Self::Not(part) => !part.drops(found),
            Self::Entropy { target, inclusive, bound } => {
                let bits = entropy(target.of(found));
                bits < *bound || (*inclusive && bits <= *bound)
            }
            Self::Matches(target, patterns) => {
                patterns.iter().any(|it| it.is_match(target.of(found)))
            }
            Self::Contains(target, words) => {
                words.as_ref().is_some_and(|it| it.is_match(target.of(found)))
            }
        }
    }
}

/// Parentheses within each other: more would be an attack on the stack.
const MAX_DEPTH: usize = 16;

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn any(&mut self, depth: usize) -> Result<Filter, String> {
        let mut parts = vec![self.all(depth)?];
        while self.take("||") {
            parts.push(self.all(depth)?);
        }
        Ok(Filter::Any(parts))
    }

    fn all(&mut self, depth: usize) -> Result<Filter, String> {
        let mut parts = vec![self.one(depth)?];
        while self.take("&&") {
            parts.push(self.one(depth)?);
        }
        Ok(Filter::All(parts))
    }

    fn one(&mut self, depth: usize) -> Result<Filter, String> {
        if depth > MAX_DEPTH {
            return Err("the filter nests too deeply".to_owned());
        }
        if self.take("!") {
            return Ok(Filter::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.any(depth + 1)?;
            return self.need(")").map(|()| inner);
        }
        self.take("filter.");
        if self.take("entropy(") {
            return self.entropy();
        }
        if self.take("matchesAny(") {
            let target = self.target()?;
            let patterns = self.list()?.into_iter().map(Pattern::new).collect::<Result<_, _>>()?;
            return self.need(")").map(|()| Filter::Matches(target, patterns));
        }
        if self.take("containsAny(") {
            let target = self.target()?;
            let words = AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build(self.list()?)
                .map_err(|error| error.to_string())?;
            return self.need(")").map(|()| Filter::Contains(target, Some(words)));
        }
        Err(self.unexpected())
    }

    fn entropy(&mut self) -> Result<Filter, String> {
        let target = self.target()?;
        self.need(")")?;
        let inclusive = self.take("<=");
        if !inclusive {
            self.need("<")?;
        }
        self.skip();
        let digits = self.rest.len()
            - self.rest.trim_start_matches(|it: char| it.is_ascii_digit() || it == '.').len();
        let (number, rest) = self.rest.split_at_checked(digits).unwrap_or((self.rest, ""));
        let bound = number.parse().map_err(|_| self.unexpected())?;
        self.rest = rest;
        Ok(Filter::Entropy { target, inclusive, bound })
    }

    fn target(&mut self) -> Result<Target, String> {
        const TARGETS: [(&str, Target); 5] = [
            ("finding[\"secret\"]", Target::Secret),
            ("finding[\"match\"]", Target::Whole),
            ("finding[\"line\"]", Target::Line),
            ("(attributes[\"path\"] ?? \"\")", Target::Nothing),
            ("get(attributes, \"path\", \"\")", Target::Nothing),
        ];
        for (name, target) in TARGETS {
            if self.take(name) {
                self.take(",");
                return Ok(target);
            }
        }
        Err(self.unexpected())
    }

    fn list(&mut self) -> Result<Vec<&'a str>, String> {
        self.need("[")?;
        let mut strings = Vec::new();
        while !self.take("]") {
            strings.push(self.string()?);
            self.take(",");
        }
        Ok(strings)
    }

    fn string(&mut self) -> Result<&'a str, String> {
        self.skip();
        for quote in ['`', '"'] {
            let Some(rest) = self.rest.strip_prefix(quote) else { continue };
            let Some((string, rest)) = rest.split_once(quote) else { break };
            // Only the raw form may hold a backslash: the other would need unescaping.
            if quote == '"' && string.contains('\\') {
                return Err("a quoted string of the filter holds a backslash".to_owned());
            }
            self.rest = rest;
            return Ok(string);
        }
        Err(self.unexpected())
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip();
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }

    fn need(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix("//") else { return };
            self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }

    fn unexpected(&self) -> String {
        let shown: String = self.rest.trim_start().chars().take(40).collect();
        format!("the filter has an expression that is not supported here, at: {shown}")
    }
}
