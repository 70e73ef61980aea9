//! How the raw bytes of a block encode its pairs. Lengths are LEB128 varints.
//!
//! ```text
//!  layout 0, whole keys:       key_len value_len key value  ...
//!  layout 1, shared prefixes:  shared suffix_len value_len suffix value  ...
//! ```
//!
//! In layout 1, a key consists of the first `shared` bytes of the previous key and the suffix. A
//! block's first pair shares nothing, so that each block can be read by itself.

use windrow_jobs::pairs::RecordRef;
use windrow_jobs::varint;

use super::header::Header;

/// How pairs are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Layout {
    Whole = 0,
    SharedPrefixes = 1,
}

impl Layout {
    /// The layout with this number in a header.
    pub fn of(number: u8) -> Option<Self> {
        [Self::Whole, Self::SharedPrefixes].into_iter().find(|layout| *layout as u8 == number)
    }
}

/// The place of one pair in a block's data; the value follows the key.
#[derive(Clone, Copy)]
pub struct Entry {
    key: u32,
    value: u32,
    end: u32,
}

impl Entry {
    #[cfg(test)]
    pub fn append(data: &mut Vec<u8>, record: RecordRef<'_>) -> Self {
        let key = data.len() as u32;
        let value = key + record.key.len() as u32;
        data.extend_from_slice(record.key);
        data.extend_from_slice(record.value);
        Self { key, value, end: data.len() as u32 }
    }

    #[inline]
    pub fn record<'a>(&self, data: &'a [u8]) -> RecordRef<'a> {
        RecordRef {
            key: &data[self.key as usize..self.value as usize],
            value: &data[self.value as usize..self.end as usize],
        }
    }
}

/// Appends a pair in layout 0.
#[inline]
pub fn push_whole(raw: &mut Vec<u8>, record: RecordRef<'_>) {
    let RecordRef { key, value } = record;
    if key.len() < 0x80 && value.len() < 0x80 {
        raw.extend_from_slice(&[key.len() as u8, value.len() as u8]);
    } else {
        varint::write(key.len() as u64, raw);
        varint::write(value.len() as u64, raw);
    }
    raw.extend_from_slice(key);
    raw.extend_from_slice(value);
}

/// Appends a pair in layout 1, whose key shares its first `shared` bytes with the previous key.
#[inline]
pub fn push_shared(raw: &mut Vec<u8>, shared: usize, record: RecordRef<'_>) {
    let (suffix, value) = (&record.key[shared..], record.value);
    if shared < 0x80 && suffix.len() < 0x80 && value.len() < 0x80 {
        raw.extend_from_slice(&[shared as u8, suffix.len() as u8, value.len() as u8]);
    } else {
        varint::write(shared as u64, raw);
        varint::write(suffix.len() as u64, raw);
        varint::write(value.len() as u64, raw);
    }
    raw.extend_from_slice(suffix);
    raw.extend_from_slice(value);
}

/// Length of the longest common prefix, eight bytes at a time.
#[inline]
pub fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    let mut at = 0;
    for (x, y) in a_words.iter().zip(b_words) {
        let difference = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if difference != 0 {
            return at + difference.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(x, y)| x == y).count()
}

/// Finds the pairs of a block in layout 0 whose raw bytes start at `from`. `None` unless they fill
/// the rest of `data`.
pub fn index(data: &[u8], from: usize, header: &Header, entries: &mut Vec<Entry>) -> Option<()> {
    let mut at = from;
    let mut data_bytes = 0;
    entries.reserve(header.records());
    for _ in 0..header.records() {
        let [key_bytes, value_bytes] = lengths(data, &mut at)?;
        let value = at.checked_add(key_bytes)?;
        let end = value.checked_add(value_bytes).filter(|end| *end <= data.len())?;
        // All offsets fit: the data is at most `RAW_BYTES_MAX` and a header.
        entries.push(Entry { key: at as u32, value: value as u32, end: end as u32 });
        data_bytes += end - at;
        at = end;
    }
    (at == data.len() && data_bytes == header.data_bytes()).then_some(())
}

/// Expands a block in layout 1 to the keys and values in `data`. `None` if `raw` is malformed.
pub fn expand(
    raw: &[u8],
    header: &Header,
    data: &mut Vec<u8>,
    entries: &mut Vec<Entry>,
) -> Option<()> {
    let mut at = 0;
    let mut last_key = 0..0;
    data.clear();
    data.reserve(header.data_bytes());
    entries.reserve(header.records());
    for _ in 0..header.records() {
        let [shared, suffix_bytes, value_bytes] = lengths(raw, &mut at)?;
        let end = at.checked_add(suffix_bytes)?.checked_add(value_bytes)?;
        let rest = raw.get(at..end)?;
        if shared > last_key.len() {
            return None;
        }
        // All three count bytes that exist, so their sum does not overflow.
        let key = data.len();
        let value = key + shared + suffix_bytes;
        if value + value_bytes > header.data_bytes() {
            return None;
        }
        data.extend_from_within(last_key.start..last_key.start + shared);
        data.extend_from_slice(rest);
        entries.push(Entry { key: key as u32, value: value as u32, end: data.len() as u32 });
        last_key = key..value;
        at = end;
    }
    (at == raw.len() && data.len() == header.data_bytes()).then_some(())
}

/// Reads `N` lengths at `at` and moves past them.
#[inline]
fn lengths<const N: usize>(data: &[u8], at: &mut usize) -> Option<[usize; N]> {
    let mut rest = data.get(*at..)?;
    if let Some(short) = rest.first_chunk::<N>()
        && short.iter().all(|digit| *digit < 0x80)
    {
        *at += N;
        return Some(short.map(usize::from));
    }
    let mut lengths = [0; N];
    for length in &mut lengths {
        *length = usize::try_from(varint::read(&mut rest)?).ok()?;
    }
    *at = data.len() - rest.len();
    Some(lengths)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_common_prefix_is_the_longest(a in vec(0u8..2, 0..40), b in vec(0u8..2, 0..40)) {
            let plain = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
            prop_assert_eq!(common_prefix(&a, &b), plain);
            prop_assert_eq!(common_prefix(&a, &a), a.len());
        }
    }
}
