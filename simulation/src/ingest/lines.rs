//! The bodies that clients send: documents of a few sentences, many of them shared, and lines
//! that hold none.

use super::embedder::POISON;
use super::options::Options;
use crate::world::World;

const SENTENCES: [&str; 10] = [
    "The lake is calm today.",
    "Rivers carry silt to the sea.",
    "A dam holds the water back.",
    "Rain falls on the hills all night long.",
    "Springs rise where the rock is cracked.",
    "Ice melts late in the high valleys.",
    "The mill turns when the sluice is open.",
    "Fish wait below the weir.",
    "Salt marshes flood twice a day.",
    "Wells run dry in a long summer.",
];

/// One line of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Document {
        id: String,
        text: String,
        /// Unique over the run.
        write: u64,
    },
    /// The field that the dead letter must name.
    Bad(Option<&'static str>),
    Blank,
}

/// A job's body and what its lines hold, the first line first.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: Vec<Content>,
}

/// Draws a body; `next` numbers the writes, and in a plain run the documents.
pub(super) fn draw(world: &World, options: &Options, next: &mut u64) -> Body {
    let (least, most) = options.lines;
    let count = world.between(least, most.max(least));
    let mut body = Body { bytes: Vec::new(), lines: Vec::new() };
    if world.percent(20) {
        body.bytes.extend_from_slice(b"\xef\xbb\xbf");
    }
    for number in 1..=count {
        let content = content(world, options, next);
        body.bytes.extend(written(world, &content));
        body.lines.push(content);
        let is_last = number == count;
        if !is_last || world.percent(50) {
            let end: &[u8] = if world.percent(20) { b"\r\n" } else { b"\n" };
            body.bytes.extend_from_slice(end);
        }
    }
    body
}

fn content(world: &World, options: &Options, next: &mut u64) -> Content {
    if !options.plain && world.percent(8) {
        let fields = [None, Some("text"), Some("id"), Some("fields")];
        return match world.between(0, 4) {
            4 => Content::Blank,
            place => Content::Bad(fields[place as usize]),
        };
    }
    *next += 1;
    let id = match options.plain {
        true => format!("d{next}"),
        false => format!("d{}", world.between(1, options.documents)),
    };
    let mut sentences = Vec::new();
    for _ in 0..world.between(1, 4) {
        sentences.push(SENTENCES[world.between(0, 9) as usize].to_owned());
    }
    if world.percent(40) {
        sentences.push(format!("Only write {next} has this sentence."));
    }
    if !options.plain && world.percent(5) {
        sentences.push(format!("This one is {POISON} {next}."));
    }
    Content::Document { id, text: sentences.join(" "), write: *next }
}

fn written(world: &World, content: &Content) -> Vec<u8> {
    match content {
        Content::Document { id, text, write } => {
            format!(r#"{{"id": "{id}", "text": "{text}", "fields": {{"write": {write}}}}}"#)
                .into_bytes()
        }
        Content::Blank => b"  ".to_vec(),
        Content::Bad(Some("text")) => br#"{"id": "x"}"#.to_vec(),
        Content::Bad(Some("id")) => br#"{"id": 7, "text": "seven"}"#.to_vec(),
        Content::Bad(Some(_)) => br#"{"id": "x", "text": "a", "fields": [1]}"#.to_vec(),
        Content::Bad(None) => match world.between(0, 2) {
            0 => b"{\"id\": \"x\", \"text\": \"\xff\"}".to_vec(),
            1 => b"not JSON".to_vec(),
            _ => vec![b'x'; 2_500],
        },
    }
}
