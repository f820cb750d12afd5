//! Patterns of names, where `*` stands for any characters.

/// Whether the whole text fits. Its work is at most the product of both lengths.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, place));
            at += 1;
        } else if pattern.get(at) == text.get(place) {
            at += 1;
            place += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            at = star_at + 1;
            place = taken + 1;
        } else {
            return false;
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}
