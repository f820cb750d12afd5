//! The numbers with which a call of WASI preview 1 fails.

/// A failure that the guest sees, by its number in preview 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Errno {
    BadDescriptor = 8,
    Busy = 10,
    Exists = 20,
    Fault = 21,
    FileTooLarge = 22,
    IllegalBytes = 25,
    Invalid = 28,
    Io = 29,
    IsFolder = 31,
    Loop = 32,
    TooManyOpen = 33,
    TooManyLinks = 34,
    NameTooLong = 37,
    NoEntry = 44,
    NoSpace = 51,
    NotFolder = 54,
    NotEmpty = 55,
    NotSocket = 57,
    NotSupported = 58,
    NotPermitted = 63,
    ReadOnly = 69,
    NoSeek = 70,
    CrossDevice = 75,
}

impl Errno {
    pub(crate) const fn number(self) -> i32 {
        self as i32
    }
}
