//! Where a guest's file lies, below its working folder.

/// The most bytes of a path.
const PATH_BYTES_MAX: usize = 512;

/// A relative path below the guest's working folder: no empty part, no `.` or `..`, no NUL.
///
/// What lies there is looked up by the engine inside the guest's own root, so a symbolic link that
/// the guest has planted leads nowhere but into the guest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestPath(String);

/// Why a text is no guest path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "path {path:?} is not allowed; write a relative path of at most {PATH_BYTES_MAX} bytes without \
     empty parts, `.`, `..` or control characters, as in data/input.csv"
)]
pub struct GuestPathError {
    pub path: String,
}

impl GuestPath {
    /// # Errors
    /// When the text is empty, absolute, longer than 512 bytes, or has a part that is not a name.
    pub fn new(path: impl Into<String>) -> Result<Self, GuestPathError> {
        let path = path.into();
        let named = |part: &str| !part.is_empty() && part != "." && part != "..";
        let good = path.len() <= PATH_BYTES_MAX
            && path.split('/').all(named)
            && !path.chars().any(char::is_control);
        if good { Ok(Self(path)) } else { Err(GuestPathError { path }) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
