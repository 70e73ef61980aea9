//! Records of 100 bytes, and the ranges of their keys: of about equal size, from a sample.

pub const RECORD_BYTES: usize = 100;
const KEY_BYTES: usize = 10;

/// The key as an 80-bit number, which sorts as its bytes do.
#[inline(always)]
pub fn key(record: &[u8]) -> u128 {
    let mut wide = [0; 16];
    wide[16 - KEY_BYTES..].copy_from_slice(&record[..KEY_BYTES]);
    u128::from_be_bytes(wide)
}

/// Finds a key's range by its first two bytes.
pub struct Splitters {
    range_of: Vec<u16>,
    pub ranges: usize,
}

impl Splitters {
    /// Ranges that divide `sample` evenly, as far as two bytes distinguish keys.
    pub fn new(mut sample: Vec<u128>, ranges: usize) -> Self {
        sample.sort_unstable();
        let of = |prefix: u128| {
            let below = sample.partition_point(|&key| key >> 64 < prefix);
            (below * ranges / (sample.len() + 1)) as u16
        };
        Self { range_of: (0..1 << 16).map(of).collect(), ranges }
    }

    #[inline(always)]
    pub fn range(&self, key: u128) -> usize {
        usize::from(self.range_of[(key >> 64) as usize])
    }
}
