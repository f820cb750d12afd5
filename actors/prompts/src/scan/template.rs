//! The places of a text that a template fills in, or that tell a reader to fill them in.

/// A form of such a place: how it opens, how it closes, and what may stand between.
struct Form {
    open: &'static str,
    close: &'static str,
    holds: fn(char) -> bool,
}

/// The longest place, in bytes: an opening brace alone must not make the rest of a text one.
const LONGEST: usize = 300;

/// How many letters and digits beside the filled places make a secret all the same.
const LITERAL: usize = 16;

const FORMS: [Form; 7] = [
    Form { open: "{{", close: "}}", holds: |it| it != '\n' },
    Form { open: "{%", close: "%}", holds: |it| it != '\n' },
    Form { open: "${", close: "}", holds: |it| it != '\n' },
    Form { open: "$(", close: ")", holds: |it| it != '\n' },
    Form { open: "<%", close: "%>", holds: |it| it != '\n' },
    // Without signs of markup: an element with a value in an attribute is none.
    Form { open: "<", close: ">", holds: |it| it.is_alphanumeric() || " _-.:|/'".contains(it) },
    Form { open: "{", close: "}", holds: |it| it.is_ascii_alphanumeric() || "_.".contains(it) },
];

/// All such places of one text, in order.
pub(super) struct Templates {
    spans: Vec<(usize, usize)>,
}

impl Templates {
    pub(super) fn of(text: &str) -> Self {
        let mut spans = Vec::new();
        let mut at = 0;
        while let Some(rest) = text.get(at..) {
            let Some(offset) = rest.find(['{', '$', '<']) else { break };
            at += offset;
            let rest = rest.get(offset..).unwrap_or_default();
            match FORMS.iter().find_map(|form| form.length(rest)) {
                Some(length) => {
                    spans.push((at, at + length));
                    at += length;
                }
                None => at += 1,
            }
        }
        Self { spans }
    }

    /// Whether what stands from `start` to `end` is such a place, or little beside such places.
    ///
    /// A quoted literal within an expression is not: `{{ client("…") }}` holds its key for real.
    pub(super) fn explain(&self, text: &str, start: usize, end: usize) -> bool {
        let first = self.spans.partition_point(|(_, close)| *close <= start);
        let touched = self.spans.get(first..).unwrap_or_default();
        let mut touched = touched.iter().take_while(|(open, _)| *open < end).peekable();
        let Some((open, close)) = touched.peek() else { return false };
        if *open < start && end <= *close {
            let before = text.get(..start).unwrap_or_default();
            return !before.ends_with(['"', '\'', '`']);
        }
        let mut literal = 0;
        let mut from = start;
        for (open, close) in touched {
            literal += letters_and_digits(text, from, *open);
            from = *close;
        }
        literal + letters_and_digits(text, from, end) < LITERAL
    }
}

fn letters_and_digits(text: &str, from: usize, to: usize) -> usize {
    let part = text.get(from..to).unwrap_or_default();
    part.chars().filter(|it| it.is_alphanumeric()).count()
}

impl Form {
    /// The length of such a place right at the start of `rest`, in bytes.
    fn length(&self, rest: &str) -> Option<usize> {
        let body = rest.strip_prefix(self.open)?;
        let body = body.get(..body.floor_char_boundary(LONGEST))?;
        let length = body.find(self.close)?;
        let filled = length > 0 && body.get(..length)?.chars().all(self.holds);
        filled.then_some(self.open.len() + length + self.close.len())
    }
}
