//! A batch of records as bytes of the spill: its length, its checksum, and itself. What a process
//! was writing when it ended has no good checksum, and nothing stands behind it.

/// Length and CRC-32, four bytes each, little-endian.
const HEADER_BYTES: usize = 8;
/// A frame that claims to be longer is no frame.
const FRAME_BYTES_MAX: usize = 256 << 20;

pub(super) fn wrap(body: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_BYTES_MAX)?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
    frame.extend(length.to_le_bytes());
    frame.extend(crc32fast::hash(body).to_le_bytes());
    frame.extend(body);
    Some(frame)
}

/// The bodies of all good frames from the start, and how many bytes they are together.
pub(super) fn unwrap(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let (mut bodies, mut at) = (Vec::new(), 0);
    while let Some(body) = first(&bytes[at..]) {
        bodies.push(body);
        at += HEADER_BYTES + body.len();
    }
    (bodies, at)
}

fn first(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    // Zeros are what a file system may leave of a page that was never written.
    let body = rest.get(..length).filter(|body| !body.is_empty())?;
    (crc32fast::hash(body) == u32::from_le_bytes(*checksum)).then_some(body)
}
