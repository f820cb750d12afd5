//! Chance: one seeded stream of numbers for each purpose, so that one use does not shift another.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// A stream of drawn numbers.
#[derive(Debug, Clone)]
pub struct Chance(Pcg64Mcg);

impl Chance {
    /// The stream of this seed for this purpose.
    pub fn of(seed: u64, purpose: &str) -> Chance {
        Chance(Pcg64Mcg::seed_from_u64(mix(seed ^ name_hash(purpose))))
    }

    /// An evenly spread 64-bit number.
    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `first` up to and including `last`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        let choices = last.saturating_sub(first).saturating_add(1);
        first + self.draw() % choices
    }

    /// True in so many of 100 cases.
    pub fn percent(&mut self, share: u64) -> bool {
        self.draw() % 100 < share
    }

    /// A place in a list of this length; 0 for an empty one.
    pub fn place(&mut self, length: usize) -> usize {
        if length == 0 { 0 } else { (self.draw() % length as u64) as usize }
    }

    /// Puts a list into a drawn order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.place(last + 1));
        }
    }
}

/// FNV-1a: the same on every machine and in every build.
fn name_hash(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Spreads neighbouring seeds over all 64 bits.
fn mix(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
