//! Whether a value that only its surroundings make suspicious looks like a secret at all.

use super::allow::{Match, entropy};
use super::placeholder;
use super::words;

/// The share of words above which a value is a name or a phrase.
const WORDY: f64 = 0.6;

/// The entropy a token is above, in bits per character: sixteen random hexadecimal digits have
/// three or more in all but a few of a thousand cases.
const TOKEN_ENTROPY: f64 = 2.9;

/// Words beside a hexadecimal value that make it a checksum or a name of a version.
const CHECKSUM_WORDS: [&str; 16] = [
    "sha1",
    "sha2",
    "sha-",
    "sha5",
    "sha:",
    "md5",
    "commit",
    "digest",
    "checksum",
    "hash",
    "integrity",
    "etag",
    "revision",
    "fingerprint",
    "thumbprint",
    "blob",
];

/// Words beside a value that is meant to be public.
const PUBLIC_WORDS: [&str; 6] =
    ["public", "pubkey", "publishable", "ssh-rsa", "ssh-ed25519", "certificate"];

/// Words that call a value a secret, for values that are otherwise mere identifiers.
const SECRET_WORDS: [&str; 7] =
    ["secret", "token", "passw", "apikey", "api_key", "api-key", "license"];

/// What people write where a password is to stand.
const COMMON: [&str; 16] = [
    "password", "passwort", "passwd", "secret", "test", "user", "admin", "letmein", "welcome",
    "sample", "token", "string", "guest", "root", "demo", "none",
];

/// Whether the secret of a match looks like a generated token.
pub(super) fn token(found: &Match<'_>) -> bool {
    let value = found.secret.trim_matches(['"', '\'', '`', ' ']);
    let around = found.whole.to_ascii_lowercase().replace(&value.to_ascii_lowercase(), " ");
    let has = |words: &[&str], text: &str| words.iter().any(|it| text.contains(it));
    if value.len() < 10 || code(value) || placeholder::is_placeholder(value) {
        return false;
    }
    if uuid(value) {
        return has(&SECRET_WORDS, &around) && distinct(value) > 6;
    }
    let near = found.near.to_ascii_lowercase();
    let hexadecimal = value.bytes().all(|it| it.is_ascii_hexdigit());
    if has(&PUBLIC_WORDS, &around) || (hexadecimal && has(&CHECKSUM_WORDS, &near)) {
        return false;
    }
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let upper = value.bytes().filter(u8::is_ascii_uppercase).count();
    let lower = value.bytes().filter(u8::is_ascii_lowercase).count();
    if upper + lower == 0 || distinct(value) < 7 || entropy(value) <= TOKEN_ENTROPY {
        return false;
    }
    let wordy = words::share(value);
    // Twenty random letters and digits without a digit come once in thirty times.
    if digits == 0 {
        return value.len() >= 16 && upper > 2 && lower > 2 && wordy < WORDY / 2.0;
    }
    wordy < WORDY
}

/// Whether `value` looks like a password, which may be shorter and closer to words than a token.
pub(super) fn password(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'', '`', ' ']);
    // What prose and its markup put after a word.
    let value = value.trim_end_matches(['*', ':', '=', '.', ',', ';']);
    if value.len() < 6 || code(value) || placeholder::is_placeholder(value) || uuid(value) {
        return false;
    }
    let has = |test: fn(char) -> bool| usize::from(value.chars().any(test));
    let digit = has(|it| it.is_ascii_digit());
    let letters = has(|it| it.is_lowercase()) + has(|it| it.is_uppercase());
    let sign = has(|it| !it.is_alphanumeric() && !"_-./:, ".contains(it));
    let core = value.trim_matches(|it: char| !it.is_alphabetic()).to_lowercase();
    if letters == 0 || distinct(value) < 5 || COMMON.contains(&core.as_str()) {
        return false;
    }
    let wordy = words::share(value);
    match digit + letters + sign {
        0 | 1 => false,
        // Two kinds of characters are as likely a name with a number as a password.
        2 => (digit == 1 || sign == 1) && value.len() >= 8 && wordy < WORDY,
        _ => digit + sign > 0 && (wordy < WORDY || sign == 1),
    }
}

/// Whether `value` may be the password of a URL, where anything that is no placeholder counts.
pub(super) fn url_password(value: &str) -> bool {
    let core = value.trim_matches(|it: char| !it.is_alphabetic()).to_lowercase();
    value.len() >= 4
        && !placeholder::is_placeholder(value)
        && !COMMON.contains(&core.as_str())
        && !["pass", "pwd", "pw", "mypassword", "mypass"].contains(&core.as_str())
        && !value.contains(['{', '}', '<', '>', '[', ']', '(', ')'])
        && !value.starts_with(['$', '%'])
}

/// An expression, a path, an address or a list rather than a value.
fn code(value: &str) -> bool {
    value.contains("://")
        || value.contains("::")
        || value.contains("->")
        || value.contains("${")
        || value.contains("{{")
        || value.contains(['(', '[', '\n', '\t', ' '])
        || (value.starts_with(['/', '.', '~']) && words::share(value) > WORDY / 2.0)
        || value.starts_with(['<', '&'])
        || value.ends_with("..")
        || file(value)
        || slug(value)
        || setting(value)
        || members(value)
}

/// `object.member.name`: parts that all begin like names and of which one is a word.
fn members(value: &str) -> bool {
    value.contains('.')
        && value.split('.').all(|part| {
            part.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
                && part.chars().all(|it| it.is_ascii_alphanumeric() || it == '_' || it == '-')
        })
        && words::share(value) > WORDY / 2.0
}

/// A path that ends in a file's name.
fn file(value: &str) -> bool {
    let ending = value.rsplit_once('.').map_or("", |(_, it)| it);
    value.contains(['/', '\\'])
        && (2..=5).contains(&ending.len())
        && ending.bytes().all(|it| it.is_ascii_lowercase())
}

/// `max_tokens=2048`: a name and what it is set to.
fn setting(value: &str) -> bool {
    value.split_once('=').is_some_and(|(name, set)| {
        !set.trim_matches('=').is_empty()
            && name.bytes().all(|it| it.is_ascii_alphabetic() || it == b'_')
            && words::share(name) > WORDY
    })
}

/// `azure-key-123`, `gpt-4-1106-preview`, `os.environ/API_KEY`: three or more parts, each a word,
/// small letters or few letters, with a short number after it.
fn slug(value: &str) -> bool {
    let parts = || value.split(['-', '_', '.', '/', ':']);
    let letters = |it: &str| it.trim_end_matches(|it: char| it.is_ascii_digit()).to_owned();
    let word = |it: &str| it.len() > 3 && words::share(it) > 0.99;
    let small = |it: &str| it.bytes().all(|it| it.is_ascii_lowercase());
    parts().count() > 2
        && (parts().any(|it| word(&letters(it))) || parts().all(|it| small(&letters(it))))
        && parts().all(|it| {
            let name = letters(it);
            let plain = name.bytes().all(|it| it.is_ascii_alphabetic());
            let known = name.len() < 4 || small(&name) || word(&name);
            it.len() - name.len() < 5 && plain && known
        })
}

fn distinct(value: &str) -> usize {
    let mut characters: Vec<char> = value.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    characters.len()
}

fn uuid(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    parts.len() == 5
        && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| {
            part.len() == length && part.bytes().all(|it| it.is_ascii_hexdigit())
        })
}
