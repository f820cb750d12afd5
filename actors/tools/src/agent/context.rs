//! What of a run's messages the model is sent: the oldest results of tools make room first.

use super::Message;

/// Bytes of the texts of a message.
pub fn bytes_of(message: &Message) -> u64 {
    let bytes = match message {
        Message::System { text } | Message::User { text } | Message::Note { text } => text.len(),
        Message::Assistant { text, calls } => {
            let of_calls = calls.iter().map(|call| call.name.len() + call.arguments.len());
            text.len() + of_calls.sum::<usize>()
        }
        Message::Tool { name, text, .. } => name.len() + text.len(),
    };
    bytes as u64
}

/// The messages, with as many of the oldest results replaced by a line as it takes to keep within
/// the bound; no message goes missing, since a provider wants a result for each call. Where that
/// is not enough, the provider says so.
pub fn trim(messages: &[Message], bytes_max: u64) -> Vec<Message> {
    let mut bytes: u64 = messages.iter().map(bytes_of).sum();
    let mut trimmed = messages.to_vec();
    for message in &mut trimmed {
        if bytes <= bytes_max {
            break;
        }
        let before = bytes_of(message);
        if let Message::Tool { text, .. } = message {
            let note =
                format!("[left out to save room: an earlier result of {} bytes]", text.len());
            if note.len() < text.len() {
                *text = note;
            }
        }
        bytes = bytes - before + bytes_of(message);
    }
    trimmed
}
