//! The name that a TLS hello asks for.

/// What the first bytes of a tunnel are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hello {
    /// More bytes are needed.
    Short,
    /// The one name of the hello.
    Name(String),
    /// No hello, or one that is not let through.
    Bad(&'static str),
}

/// The most bytes of a hello.
pub(crate) const HELLO_BYTES_MAX: usize = 16 << 10;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ENCRYPTED_HELLO: u16 = 0xfe0d;

/// A cursor that never reads past its end.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    /// A number of so many bytes, the higher one first.
    fn number(&mut self, len: usize) -> Option<usize> {
        Some(self.take(len)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// Bytes behind their length.
    fn counted(&mut self, len: usize) -> Option<&'a [u8]> {
        let count = self.number(len)?;
        self.take(count)
    }
}

/// Reads the hello out of the first records of a connection.
pub(crate) fn read(bytes: &[u8]) -> Hello {
    let mut records = Cursor(bytes);
    let mut message = Vec::new();
    while !records.0.is_empty() {
        if records.0[0] != HANDSHAKE {
            return Hello::Bad("they are no TLS handshake");
        }
        if records.0.len() < 5 {
            return Hello::Short;
        }
        let whole = usize::from(records.0[3]) << 8 | usize::from(records.0[4]);
        if records.0[1] != 3 || whole == 0 || whole > HELLO_BYTES_MAX {
            return Hello::Bad("they are no TLS handshake");
        }
        let piece = &records.0[5..records.0.len().min(5 + whole)];
        message.extend_from_slice(piece);
        if let Some(kind) = message.first()
            && *kind != CLIENT_HELLO
        {
            return Hello::Bad("they are no hello of TLS");
        }
        let mut body = Cursor(message.get(1..).unwrap_or_default());
        if let Some(hello) = body.counted(3) {
            return name(hello);
        }
        if records.take(5 + whole).is_none() {
            break;
        }
    }
    if bytes.len() >= HELLO_BYTES_MAX { Hello::Bad("the hello is too long") } else { Hello::Short }
}

fn name(hello: &[u8]) -> Hello {
    match extensions(hello).and_then(names) {
        Some(Names { encrypted: true, .. }) => {
            Hello::Bad("an encrypted hello hides its host; turn it off")
        }
        Some(Names { name: Some(name), .. }) => Hello::Name(name),
        Some(_) => Hello::Bad("the hello names no host"),
        None => Hello::Bad("the hello is malformed"),
    }
}

fn extensions(hello: &[u8]) -> Option<&[u8]> {
    let mut hello = Cursor(hello);
    // Version and random.
    hello.take(34)?;
    // Session, ciphers, compressions.
    hello.counted(1)?;
    hello.counted(2)?;
    hello.counted(1)?;
    if hello.0.is_empty() {
        return Some(&[]);
    }
    let extensions = hello.counted(2)?;
    hello.0.is_empty().then_some(extensions)
}

#[derive(Default)]
struct Names {
    name: Option<String>,
    encrypted: bool,
}

/// `None` where anything stands twice or does not fit: two readers could differ on it.
fn names(extensions: &[u8]) -> Option<Names> {
    let mut extensions = Cursor(extensions);
    let mut names = Names::default();
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let value = extensions.counted(2)?;
        if kind == usize::from(ENCRYPTED_HELLO) {
            names.encrypted = true;
        }
        if kind == usize::from(SERVER_NAME) {
            let mut value = Cursor(value);
            let mut list = Cursor(value.counted(2)?);
            let host_name = list.number(1)? == 0;
            let name = list.counted(2)?;
            if !host_name || !list.0.is_empty() || !value.0.is_empty() || names.name.is_some() {
                return None;
            }
            names.name = Some(std::str::from_utf8(name).ok()?.to_owned());
        }
    }
    Some(names)
}
