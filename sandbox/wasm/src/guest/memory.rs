//! The guest's memory for one call: every place and length is checked before a byte is touched.

use crate::guest::errno::Errno;

/// The most buffers of one read or write.
const BUFFERS_MAX: u32 = 1_024;
/// The most bytes of a path.
const PATH_BYTES_MAX: u32 = 4_096;

pub(crate) struct Memory<'a>(pub(crate) &'a mut [u8]);

impl Memory<'_> {
    pub(crate) fn bytes(&self, at: u32, count: u32) -> Result<&[u8], Errno> {
        let at = at as usize;
        self.0.get(at..at + count as usize).ok_or(Errno::Fault)
    }

    pub(crate) fn bytes_mut(&mut self, at: u32, count: u32) -> Result<&mut [u8], Errno> {
        let at = at as usize;
        self.0.get_mut(at..at + count as usize).ok_or(Errno::Fault)
    }

    pub(crate) fn put(&mut self, at: u32, bytes: &[u8]) -> Result<(), Errno> {
        let at = at as usize;
        let place = self.0.get_mut(at..at + bytes.len()).ok_or(Errno::Fault)?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn put_u32(&mut self, at: u32, value: u32) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    pub(crate) fn put_u64(&mut self, at: u32, value: u64) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    /// A path as the guest gave it; preview 1 says that paths are UTF-8.
    pub(crate) fn path(&self, at: u32, count: u32) -> Result<String, Errno> {
        if count > PATH_BYTES_MAX {
            return Err(Errno::NameTooLong);
        }
        let text = std::str::from_utf8(self.bytes(at, count)?);
        let text = text.map_err(|_| Errno::IllegalBytes)?;
        if text.contains('\0') { Err(Errno::Invalid) } else { Ok(text.to_owned()) }
    }

    /// Places and lengths of buffers, all of them in the guest's memory.
    pub(crate) fn buffers(&self, at: u32, count: u32) -> Result<Vec<(u32, u32)>, Errno> {
        if count > BUFFERS_MAX {
            return Err(Errno::Invalid);
        }
        let list = self.bytes(at, count * 8)?;
        let mut buffers = Vec::with_capacity(count as usize);
        for pair in list.chunks_exact(8) {
            let [a, b, c, d, e, f, g, h] = pair else { return Err(Errno::Fault) };
            let place = u32::from_le_bytes([*a, *b, *c, *d]);
            let length = u32::from_le_bytes([*e, *f, *g, *h]);
            self.bytes(place, length)?;
            buffers.push((place, length));
        }
        Ok(buffers)
    }

    /// A list of texts as `args_get` gives it: places at `list`, texts with a NUL from `texts` on.
    pub(crate) fn put_list(&mut self, list: u32, texts: u32, of: &[Vec<u8>]) -> Result<(), Errno> {
        let mut place = texts;
        let mut entry = list;
        for text in of {
            self.put_u32(entry, place)?;
            self.put(place, text)?;
            let end = place.checked_add(text.len() as u32).ok_or(Errno::Fault)?;
            self.put(end, &[0])?;
            place = end.checked_add(1).ok_or(Errno::Fault)?;
            entry = entry.checked_add(4).ok_or(Errno::Fault)?;
        }
        Ok(())
    }
}
