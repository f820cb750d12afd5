//! Names of prompts, and of what belongs to them.

/// Bytes of the longest name.
const NAME_BYTES: usize = 64;

/// What a name must look like, for error texts.
pub const NAME_RULE: &str =
    "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit";

/// Whether it may name a prompt, a golden set, an experiment, a variant or a goal.
pub fn is_prompt_name(name: &str) -> bool {
    let begins_well =
        name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    let may_hold =
        |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || ".-_".contains(one);
    begins_well && name.len() <= NAME_BYTES && name.chars().all(may_hold)
}

/// Whether a template can name it: a variable, or a partial.
pub fn is_variable_name(name: &str) -> bool {
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let may_hold = |one: char| one.is_ascii_alphanumeric() || one == '_';
    begins_well && name.len() <= NAME_BYTES && name.chars().all(may_hold)
}

/// Whether it may name a secret.
pub fn is_secret_name(name: &str) -> bool {
    let begins_well = name.starts_with(|first: char| first.is_ascii_uppercase());
    let may_hold = |one: char| one.is_ascii_uppercase() || one.is_ascii_digit() || one == '_';
    begins_well && name.len() <= NAME_BYTES && name.chars().all(may_hold)
}
