//! Values that stand for a secret and are none: `xxxx`, `YOUR_KEY`, `1234567890`.

/// Words that only a placeholder has.
const WORDS: [&str; 27] = [
    "example",
    "your_",
    "your-",
    "yourapi",
    "yourkey",
    "yourtoken",
    "yoursecret",
    "yourpass",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "changeit",
    "redacted",
    "insert_",
    "insert-",
    "replace_",
    "replace-",
    "replaceme",
    "dummy",
    "_here",
    "-here",
    "notreal",
    "not-a-real",
    "not_a_real",
    "todo_",
    // The identifier that RFC 4122 and half of all documentation use.
    "123e4567-e89b",
];

/// Runs that a keyboard or an alphabet gives, and chance does not.
const RUNS: [&str; 6] =
    ["abcdefghij", "0123456789", "1234567890", "9876543210", "qwertyuiop", "a1b2c3d4"];

/// Signs whose repetition blanks a value out.
const BLANKS: &str = "xX*.#_-0?•…";

/// How often a blanking sign must follow itself.
const BLANK_RUN: usize = 6;

/// Whether `secret` stands for a secret that someone is to fill in.
pub(super) fn is_placeholder(secret: &str) -> bool {
    let lower = secret.to_ascii_lowercase();
    WORDS.iter().any(|it| lower.contains(it))
        || (secret.len() < 48 && RUNS.iter().any(|it| lower.contains(it)))
        || blanked(secret)
        || (secret.len() < 200 && ["...", "***", "…"].iter().any(|it| secret.contains(it)))
        || one_sign(secret)
        || reference(secret)
}

/// `xxxxxx` or `......` in a value short enough not to hold such a run by chance.
fn blanked(secret: &str) -> bool {
    let signs: Vec<char> = secret.chars().collect();
    let longest = signs
        .chunk_by(|left, right| left == right)
        .filter(|run| run.first().is_some_and(|it| BLANKS.contains(*it)))
        .map(<[char]>::len)
        .max()
        .unwrap_or(0);
    secret.len() < 200 && longest >= BLANK_RUN
}

/// Half of it is one and the same sign.
fn one_sign(secret: &str) -> bool {
    let mut signs: Vec<char> = secret.chars().collect();
    signs.sort_unstable();
    let most = signs.chunk_by(|left, right| left == right).map(<[char]>::len).max().unwrap_or(0);
    most * 2 >= signs.len()
}

/// `$NAME`, `%NAME%`, `@NAME@`, `:name`: a name to be looked up.
fn reference(secret: &str) -> bool {
    let name = |it: &str| {
        !it.is_empty() && it.chars().all(|it| it.is_ascii_alphanumeric() || it == '_' || it == '.')
    };
    let single_case = |it: &str| {
        !(it.contains(|it: char| it.is_ascii_lowercase())
            && it.contains(|it: char| it.is_ascii_uppercase()))
    };
    secret.strip_prefix('$').is_some_and(|it| name(it) && single_case(it))
        || ["%", "@", "__"].iter().any(|sign| {
            secret
                .strip_prefix(sign)
                .and_then(|it| it.strip_suffix(sign))
                .is_some_and(|it| name(it) && single_case(it))
        })
}
