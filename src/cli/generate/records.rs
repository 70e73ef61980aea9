//! `gen records`: records of 100 bytes for sorting, as sort benchmarks have them.
//!
//! ```text
//! 10 printable bytes, the key | 2 spaces | 16 hex digits, the record's number | 2 spaces |
//! 69 bytes of filler | LF
//! ```

use std::io;

use super::Content;
use super::file_rng;
use super::output::{Output, Share};
use super::rng::Rng;

const RECORD_BYTES: usize = 100;
const KEY_BYTES: usize = 10;
const NUMBER_AT: usize = 12;
const FILLER_AT: usize = 30;
/// Filler comes as runs of one letter, so that it packs about as well as real data.
const RUN_BYTES: usize = 4;

/// Space to tilde.
const PRINTABLE: u64 = 95;

/// Records with random keys.
pub(super) struct Records {
    seed: u64,
    /// How many different keys there are at most; unlimited if `None`.
    keys: Option<u64>,
}

impl Records {
    pub(super) fn new(seed: u64, keys: Option<u64>) -> Self {
        Self { seed, keys }
    }

    fn fill_key(&self, key: &mut [u8], rng: &mut Rng) {
        match self.keys {
            None => fill_printable(key, rng),
            Some(keys) => fill_printable(key, &mut Rng::new(self.seed, rng.below(keys))),
        }
    }
}

impl Content for Records {
    const EXTENSION: &str = "dat";

    /// The records whose first byte would lie in the share.
    fn write(&self, share: Share, out: &mut Output<'_>) -> io::Result<()> {
        let mut rng = file_rng(self.seed, share);
        let record_bytes = RECORD_BYTES as u64;
        let mut record = [b' '; RECORD_BYTES];
        record[RECORD_BYTES - 1] = b'\n';
        for number in share.start / record_bytes..share.end / record_bytes {
            self.fill_key(&mut record[..KEY_BYTES], &mut rng);
            fill_hex(&mut record[NUMBER_AT..NUMBER_AT + 16], number);
            fill_runs(&mut record[FILLER_AT..RECORD_BYTES - 1], rng.next());
            out.buffer().extend_from_slice(&record);
            out.line_ends()?;
        }
        Ok(())
    }
}

/// Even random printable bytes; ten cost two random numbers.
fn fill_printable(bytes: &mut [u8], rng: &mut Rng) {
    for five in bytes.chunks_mut(5) {
        // A fraction of 1, of which each multiplication takes the next digit in base 95.
        let mut fraction = rng.next();
        for byte in five {
            let product = u128::from(fraction) * u128::from(PRINTABLE);
            *byte = b' ' + (product >> 64) as u8;
            fraction = product as u64;
        }
    }
}

fn fill_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(number & 0xF) as usize];
        number >>= 4;
    }
}

fn fill_runs(filler: &mut [u8], mut random: u64) {
    for run in filler.chunks_mut(RUN_BYTES) {
        run.fill(b'A' + (random & 7) as u8);
        random >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::testing::{content, share};
    use super::*;

    #[test]
    fn records_have_their_shape() {
        let bytes = content(&Records::new(1, None), share(100_050));
        assert_eq!(bytes.len(), 100_000);
        for (n, record) in bytes.chunks(100).enumerate() {
            let text = std::str::from_utf8(record).unwrap();
            assert!(text[..99].bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
            assert_eq!(text[10..30], format!("  {n:016X}  "));
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn keys_use_all_printable_bytes_and_differ() {
        let bytes = content(&Records::new(1, None), share(1_000_000));
        let keys: HashSet<_> = bytes.chunks(100).map(|record| &record[..10]).collect();
        assert_eq!(keys.len(), 10_000);
        for column in 0..KEY_BYTES {
            let used: HashSet<u8> = keys.iter().map(|key| key[column]).collect();
            assert_eq!(used.len() as u64, PRINTABLE, "column {column}");
        }
    }

    #[test]
    fn the_number_of_keys_can_be_limited() {
        let bytes = content(&Records::new(1, Some(7)), share(100_000));
        let keys: HashSet<_> = bytes.chunks(100).map(|record| &record[..10]).collect();
        assert_eq!(keys.len(), 7);
    }
}
