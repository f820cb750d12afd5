//! What the simulator says to a request, word by word.

use super::request::{Asked, Last};

/// A few words to make long answers of.
const VOCABULARY: [&str; 8] = ["water", "runs", "down", "from", "the", "hills", "to", "Kyoto"];
/// Most words of an answer, so that no request fills the memory.
const WORDS_MAX: usize = 100_000;

/// The answer to `words:N`, part by part as a stream says it.
pub fn words(count: usize) -> Vec<String> {
    spaced(VOCABULARY.iter().copied().cycle().take(count))
}

fn spaced<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let spaced = words.enumerate().map(|(place, word)| match place {
        0 => word.to_owned(),
        _ => format!(" {word}"),
    });
    spaced.collect()
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Each but the first begins with a space: together they are the text, or the arguments.
    pub(super) words: Vec<String>,
    /// The tool that is called; the words are the arguments then.
    pub(super) tool: Option<String>,
    /// Whether the limit cut it short.
    pub(super) is_limited: bool,
}

impl Answer {
    pub(super) fn to(asked: &Asked) -> Answer {
        let wanted = asked.word("words:").and_then(|count| count.parse::<usize>().ok());
        let (text, tool) = match (&asked.last, &asked.tool) {
            (Last::User(_), Some(tool)) => ("{\"city\": \"Kyoto\"}".to_owned(), Some(tool.clone())),
            (Last::ToolResult(result), _) => (format!("The tool says: {result}"), None),
            (Last::User(text), None) => (text.clone(), None),
        };
        let mut words = match (wanted, &tool) {
            (Some(count), None) => words(count.min(WORDS_MAX)),
            _ => spaced(text.split_whitespace().take(WORDS_MAX)),
        };
        let limit = asked.limit.filter(|limit| *limit < words.len());
        words.truncate(limit.unwrap_or(words.len()));
        Answer { words, tool, is_limited: limit.is_some() }
    }

    pub(super) fn text(&self) -> String {
        self.words.concat()
    }

    pub(super) fn output(&self) -> u64 {
        self.words.len() as u64
    }
}

/// A server-sent event to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: Option<&'static str>,
    pub(super) data: String,
    /// Words of the answer that it holds.
    pub(super) words: u64,
}

impl Event {
    /// The event as it stands on the wire.
    pub(super) fn text(&self, line_end: &str) -> String {
        let name = self.name.map(|name| format!("event: {name}{line_end}"));
        format!("{}data: {}{line_end}{line_end}", name.unwrap_or_default(), self.data)
    }
}
