//! How teams, projects, tiers and users may be called.

/// Longest name of a team, a project or a tier, in characters.
pub const NAME_LENGTH: usize = 64;
/// Longest name of a user, in characters: providers of identities use long ones.
const USER_LENGTH: usize = 128;

/// Whether a team, project or tier may be called so: `[A-Za-z0-9._-]`, 1 to 64 long.
pub fn is_name(value: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !value.is_empty() && value.len() <= NAME_LENGTH && value.chars().all(letter)
}

/// Whether a user may be called so: 1 to 128 visible ASCII characters, as in `auth0|7f3a` or
/// `ada@example.com`.
pub fn is_user_name(value: &str) -> bool {
    let visible = |c: char| c.is_ascii_graphic();
    !value.is_empty() && value.len() <= USER_LENGTH && value.chars().all(visible)
}
