//! What a tool is called: its name, its version, a reference to both, and a pinned hash.

use std::fmt;
use std::str::FromStr;

use crate::problem::{Problem, short};

const NAME_BYTES: usize = 48;
const PIN_BYTES_MIN: usize = 8;
const HASH_BYTES: usize = 64;
const TEAM_BYTES: usize = 64;
const SECRET_BYTES: usize = 64;
/// Stands between name and version in a function's name; no tool's name holds it.
const WIRE_MARK: &str = "_v";

const NAME_RULE: &str = "1 to 48 of a-z, 0-9 and '-', a letter first, as in web-search";
const VERSION_RULE: &str = "a whole number from 1, without a sign or zeros before it, as in 2";
const PIN_RULE: &str = "8 to 64 hexadecimal digits in lower case, the first ones of the \
                        definition's SHA-256";
const REFERENCE_RULE: &str =
    "a tool's name, as in web-search, web-search@2 or web-search@2#5f3a90c1";
pub(crate) const TEAM_RULE: &str =
    "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit";
pub(crate) const SECRET_RULE: &str = "1 to 64 of A-Z, 0-9 and '_', a letter first";

/// Whether it may name a team.
pub(crate) fn is_team(name: &str) -> bool {
    let begins_well =
        name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    let may_hold =
        |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || ".-_".contains(one);
    begins_well && name.len() <= TEAM_BYTES && name.chars().all(may_hold)
}

/// Whether it may name a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let begins_well = name.starts_with(|first: char| first.is_ascii_uppercase());
    let may_hold = |one: char| one.is_ascii_uppercase() || one.is_ascii_digit() || one == '_';
    begins_well && name.len() <= SECRET_BYTES && name.chars().all(may_hold)
}

/// A tool's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolName(String);

impl ToolName {
    /// # Errors
    /// When the text is no name; the field is `name`.
    pub fn new(text: impl Into<String>) -> Result<ToolName, Problem> {
        let text = text.into();
        let good = text.len() <= NAME_BYTES
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        match good {
            true => Ok(ToolName(text)),
            false => Err(Problem::new("name", format!("'{}' is not {NAME_RULE}", short(&text)))),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ToolName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A version of a tool; versions are counted from 1 and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolVersion(u32);

impl ToolVersion {
    pub const FIRST: ToolVersion = ToolVersion(1);

    /// # Errors
    /// For 0; the field is `version`.
    pub fn new(number: u32) -> Result<ToolVersion, Problem> {
        match number {
            0 => Err(Problem::new("version", format!("'0' is not {VERSION_RULE}"))),
            number => Ok(ToolVersion(number)),
        }
    }

    pub fn get(self) -> u32 {
        self.0
    }

    /// The one after it; none after the last that can be counted.
    pub fn next(self) -> Option<ToolVersion> {
        self.0.checked_add(1).map(ToolVersion)
    }
}

impl fmt::Display for ToolVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

impl FromStr for ToolVersion {
    type Err = Problem;

    fn from_str(text: &str) -> Result<ToolVersion, Problem> {
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        let number = if plain { text.parse().ok() } else { None };
        number.map(ToolVersion).ok_or_else(|| {
            Problem::new("version", format!("'{}' is not {VERSION_RULE}", short(text)))
        })
    }
}

/// The SHA-256 of a definition, as 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionHash(String);

impl DefinitionHash {
    pub(crate) fn of(digest: &[u8]) -> DefinitionHash {
        DefinitionHash(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// # Errors
    /// When the text is no whole hash; the field is `hash`.
    pub fn new(text: &str) -> Result<DefinitionHash, Problem> {
        match HashPin::new(text) {
            Ok(HashPin(whole)) if whole.len() == HASH_BYTES => Ok(DefinitionHash(whole)),
            _ => Err(Problem::new("hash", "is not 64 hexadecimal digits in lower case")),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DefinitionHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How a definition's hash begins: who pins it is not served another one silently.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashPin(String);

impl HashPin {
    /// # Errors
    /// When it is too short, too long or not hexadecimal; the field is `hash`.
    pub fn new(text: &str) -> Result<HashPin, Problem> {
        let hexadecimal = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match hexadecimal && (PIN_BYTES_MIN..=HASH_BYTES).contains(&text.len()) {
            true => Ok(HashPin(text.to_owned())),
            false => Err(Problem::new("hash", format!("'{}' is not {PIN_RULE}", short(text)))),
        }
    }

    pub fn fits(&self, hash: &DefinitionHash) -> bool {
        hash.0.starts_with(&self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a caller asks for: a name, perhaps a version, perhaps how that version's hash begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolReference {
    pub name: ToolName,
    pub version: Option<ToolVersion>,
    /// Never there without a version.
    pub pin: Option<HashPin>,
}

impl ToolReference {
    /// The default version of a tool.
    pub fn of(name: ToolName) -> ToolReference {
        ToolReference { name, version: None, pin: None }
    }

    /// One version of a tool.
    pub fn to(name: ToolName, version: ToolVersion) -> ToolReference {
        ToolReference { name, version: Some(version), pin: None }
    }

    /// Reads a function's name that `wire_name` has written; a bare tool's name, which models
    /// shorten it to, is a reference to the default version.
    ///
    /// # Errors
    /// When no tool is called so; the field is `function`.
    pub fn of_wire(function: &str) -> Result<ToolReference, Problem> {
        let wrong = || {
            let problem = format!(
                "'{}' names no function of a tool; use a name as it was offered, as in \
                 web-search_v2",
                short(function)
            );
            Problem::new("function", problem)
        };
        let (name, version) = match function.rsplit_once(WIRE_MARK) {
            None => (function, None),
            Some((name, version)) => (name, Some(version.parse().map_err(|_| wrong())?)),
        };
        let name = ToolName::new(name).map_err(|_| wrong())?;
        Ok(ToolReference { name, version, pin: None })
    }
}

/// The name of a function that models and MCP clients call: it fits `^[a-zA-Z0-9_-]{1,64}$`.
pub(crate) fn wire_name(name: &ToolName, version: ToolVersion) -> String {
    format!("{name}{WIRE_MARK}{version}")
}

impl fmt::Display for ToolReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name.0)?;
        if let Some(version) = self.version {
            write!(out, "@{version}")?;
        }
        match &self.pin {
            Some(pin) => write!(out, "#{}", pin.0),
            None => Ok(()),
        }
    }
}

impl FromStr for ToolReference {
    type Err = Problem;

    fn from_str(text: &str) -> Result<ToolReference, Problem> {
        let wrong = |why: String| Problem::new("tool", format!("{why}; write {REFERENCE_RULE}"));
        let (rest, pin) = match text.split_once('#') {
            None => (text, None),
            Some((rest, pin)) => {
                (rest, Some(HashPin::new(pin).map_err(|problem| wrong(problem.to_string()))?))
            }
        };
        let (name, version) = match rest.split_once('@') {
            None => (rest, None),
            Some((name, version)) => {
                (name, Some(version.parse().map_err(|why: Problem| wrong(why.to_string()))?))
            }
        };
        if pin.is_some() && version.is_none() {
            return Err(wrong("a hash pins a version, and none is named".to_owned()));
        }
        let name = ToolName::new(name).map_err(|problem| wrong(problem.to_string()))?;
        Ok(ToolReference { name, version, pin })
    }
}
