//! Redaction of a text that comes piece by piece: what it gives depends on the text alone, and
//! not on where it was split.
//!
//! The text is cut where it says so itself: at the end of a line or of a sentence, else at a blank
//! once [`MOST_HELD_BYTES`] have gathered. Each part is looked through as a whole.

use std::sync::Arc;

use super::context::floor;
use super::entity::Finding;
use super::restore::Tokens;
use super::session::RedactionSession;
use super::{RedactError, Redactor};

/// Most bytes of an answer that are held back at any time.
pub const MOST_HELD_BYTES: usize = 512;
/// Bytes that stay behind a cut inside a sentence, so that what stands across it is seen whole.
const KEPT: usize = 128;
/// Bytes before a part that tell what it is about.
const BEFORE: usize = 64;
/// Letters that the last word of a sentence has at least: `Dr.` and `St.` end none.
const LAST_WORD: usize = 4;

/// Redacts one text of an answer.
#[derive(Clone)]
pub struct StreamRedactor {
    redactor: Arc<Redactor>,
    session: RedactionSession,
    /// Tokens of the request stay, whatever they look like.
    tokens: Tokens,
    /// Whether the text is JSON, whose escapes stay whole.
    json: bool,
    /// The end of what has gone out, as it came in.
    before: String,
    held: String,
}

impl StreamRedactor {
    /// `session` counts what is found and has no tokens of its own: nobody could restore them.
    pub fn new(
        redactor: Arc<Redactor>,
        session: RedactionSession,
        tokens: Tokens,
        json: bool,
    ) -> StreamRedactor {
        let (before, held) = (String::new(), String::new());
        StreamRedactor { redactor, session, tokens, json, before, held }
    }

    /// What is certain after this piece.
    ///
    /// # Errors
    /// See [`RedactError`]; the text must not go on then.
    pub fn push(&mut self, piece: &str) -> Result<String, RedactError> {
        let mut out = String::new();
        for own in piece.chars() {
            // A part ends before the first character that does not belong to it any more, so
            // that it never hangs on what has not come yet.
            if self.is_end(own) {
                let part = std::mem::take(&mut self.held);
                out.push_str(&self.part(&part)?);
            }
            self.held.push(own);
            if self.held.len() >= MOST_HELD_BYTES {
                self.shorten(&mut out)?;
            }
        }
        Ok(out)
    }

    /// What was held back: the text ends here.
    ///
    /// # Errors
    /// As for [`StreamRedactor::push`].
    pub fn finish(&mut self) -> Result<String, RedactError> {
        let part = std::mem::take(&mut self.held);
        self.part(&part)
    }

    pub fn session(&self) -> &RedactionSession {
        &self.session
    }

    /// Whether what is held is a part, now that this character follows.
    fn is_end(&self, next: char) -> bool {
        let held = self.held.as_str();
        if held.ends_with("\n\n") {
            return next != '\n';
        }
        // The next line is a list's, a table's or code's; an address goes on with words.
        if held.ends_with('\n') && !next.is_alphanumeric() && !next.is_whitespace() {
            return true;
        }
        if !held.ends_with(char::is_whitespace) || next.is_whitespace() {
            return false;
        }
        let said = held.trim_end();
        let Some(sentence) = said.strip_suffix(['.', '!', '?', '…', '。', ';']) else {
            return false;
        };
        let word = sentence.chars().rev().take_while(|own| own.is_lowercase()).count();
        word >= LAST_WORD
    }

    /// Lets go of the beginning of a sentence that is too long.
    fn shorten(&mut self, out: &mut String) -> Result<(), RedactError> {
        let held = std::mem::take(&mut self.held);
        let found = self.find(&held)?;
        let most = floor(&held, held.len() - KEPT);
        let blank = held.get(..most).and_then(|own| own.rfind(char::is_whitespace));
        let mut end = blank.filter(|place| *place > 0).unwrap_or(most);
        // One that stands across the cut stays whole, unless it fills all that is held.
        let across = found.iter().find(|own| own.range.start < end && end < own.range.end);
        if let Some(own) = across.filter(|own| own.range.start > 0) {
            end = own.range.start;
        } else if let Some(own) = across {
            end = own.range.end;
        }
        let own: Vec<Finding> = found.into_iter().filter(|own| own.range.end <= end).collect();
        let (part, rest) = held.split_at(end);
        let redacted = self.session.replace(&self.redactor, part, &own)?;
        out.push_str(redacted.as_deref().unwrap_or(part));
        self.remember(part);
        self.held = rest.to_owned();
        Ok(())
    }

    fn part(&mut self, part: &str) -> Result<String, RedactError> {
        let found = self.find(part)?;
        let redacted = self.session.replace(&self.redactor, part, &found)?;
        self.remember(part);
        Ok(redacted.unwrap_or_else(|| part.to_owned()))
    }

    fn remember(&mut self, part: &str) {
        self.before.push_str(part);
        let from = floor(&self.before, self.before.len().saturating_sub(BEFORE));
        self.before.drain(..from);
    }

    /// What is found in the part, with what stands before it in sight.
    fn find(&self, part: &str) -> Result<Vec<Finding>, RedactError> {
        let lead = self.before.len();
        let both = format!("{}{part}", self.before);
        let shown = if self.json { blanked(&both) } else { both };
        let found = self.redactor.find(self.session.policy(), &shown, &|| false)?;
        let inside = found.into_iter().filter(|own| own.range.start >= lead).map(|mut own| {
            own.range = own.range.start - lead..own.range.end - lead;
            if self.json {
                // What goes on beyond a string of JSON is something else.
                let value = part.get(own.range.clone()).unwrap_or_default();
                let length = value.find(['"', '{', '}']).unwrap_or(value.len());
                own.range.end = own.range.start + length;
            }
            own
        });
        let inside = inside.filter(|own| !own.range.is_empty());
        let touches_token = |own: &Finding| {
            let value = part.get(own.range.clone()).unwrap_or_default();
            let left = part.get(..own.range.start).unwrap_or_default();
            let open = left.rfind('<').filter(|open| !left[*open..].contains('>'));
            let open = open.or_else(|| value.find('<').map(|place| own.range.start + place));
            open.is_some_and(|open| {
                let token = part[open..].find('>').and_then(|end| part.get(open..=open + end));
                token.is_some_and(|token| self.tokens.has(token))
            })
        };
        Ok(inside.filter(|own| !touches_token(own)).collect())
    }
}

/// JSON with its escapes blanked, in as many bytes: `\n` before a word is no letter of it, and a
/// replacement never cuts one.
fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(own) = rest.next() {
        if own != '\\' {
            out.push(own);
            continue;
        }
        out.push(' ');
        let Some(next) = rest.next() else { break };
        // One blank a byte.
        out.extend(std::iter::repeat_n(' ', next.len_utf8()));
        if next == 'u' {
            for _ in 0..4 {
                if rest.next_if(char::is_ascii_hexdigit).is_some() {
                    out.push(' ');
                }
            }
        }
    }
    out
}
