//! The bytes of a file in memory: pages that were written, and holes that read as zeros.

use std::collections::BTreeMap;

/// The bytes of one page, the smallest part of a file that costs memory.
pub(crate) const PAGE_BYTES: u64 = 4_096;

#[derive(Debug, Default)]
pub(crate) struct Pages {
    length: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES as usize]>>,
}

impl Pages {
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// What the pages take of memory, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES
    }

    /// What a write at a place would take more than there is, in bytes.
    pub(crate) fn more_bytes(&self, at: u64, count: u64) -> u64 {
        if count == 0 {
            return 0;
        }
        let (first, last) = (at / PAGE_BYTES, (at + count - 1) / PAGE_BYTES);
        let there = self.pages.range(first..=last).count() as u64;
        (last - first + 1 - there) * PAGE_BYTES
    }

    /// Copies what lies at a place, up to the end; tells how many bytes that were.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> usize {
        let count = self.length.saturating_sub(at).min(into.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let place = at + done as u64;
            let (page, offset) = (place / PAGE_BYTES, (place % PAGE_BYTES) as usize);
            let part = (PAGE_BYTES as usize - offset).min(count - done);
            let target = &mut into[done..done + part];
            match self.pages.get(&page) {
                Some(bytes) => target.copy_from_slice(&bytes[offset..offset + part]),
                None => target.fill(0),
            }
            done += part;
        }
        count
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let place = at + done as u64;
            let (page, offset) = (place / PAGE_BYTES, (place % PAGE_BYTES) as usize);
            let part = (PAGE_BYTES as usize - offset).min(bytes.len() - done);
            let target =
                self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE_BYTES as usize]));
            target[offset..offset + part].copy_from_slice(&bytes[done..done + part]);
            done += part;
        }
        self.length = self.length.max(at + bytes.len() as u64);
    }

    /// Cuts the file, or makes it longer with a hole.
    pub(crate) fn set_length(&mut self, length: u64) {
        if length < self.length {
            let whole = length.div_ceil(PAGE_BYTES);
            self.pages.split_off(&whole);
            if let Some(page) = self.pages.get_mut(&(length / PAGE_BYTES)) {
                page[(length % PAGE_BYTES) as usize..].fill(0);
            }
        }
        self.length = length;
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length as usize];
        self.read(0, &mut bytes);
        bytes
    }
}
