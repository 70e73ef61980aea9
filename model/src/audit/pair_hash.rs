//! The hash of one pair: folded multiplication, as in wyhash, over key and value at once.
//!
//! It is our own for two reasons. It must never change, on any machine, since digests of different
//! workers are compared. And each pair is hashed twice on its way, so it saves time that key and
//! value share one start and one end, which two calls of a general hash would not. It finds faults,
//! not forgeries: nothing in it is secret.
//!
//! ```text
//!  state --> key, 32 bytes a step in two lanes --> value, likewise --> lengths --> hash
//! ```

/// The constants of wyhash, version 4: odd, with half of their bits set.
const SECRETS: [u64; 5] = [
    0xa076_1d64_78bd_642f,
    0xe703_7ed1_a0b4_28db,
    0x8ebc_6af0_9c88_c6e3,
    0x5899_65cc_7537_4cc3,
    0x1d8e_4e27_c47d_124f,
];

/// The hash of a pair, whose key and value are below 4 GiB.
#[inline]
pub(super) fn pair_hash(key: &[u8], value: &[u8]) -> u64 {
    let state = absorb(absorb(SECRETS[4], key), value);
    // The lengths say where the key ends, and which bytes the last step read twice.
    let lengths = (key.len() as u64) << 32 | value.len() as u64;
    fold(state ^ SECRETS[3], lengths ^ SECRETS[1])
}

/// The exclusive or of both halves of a product: each bit depends on many bits of both factors.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn absorb(state: u64, bytes: &[u8]) -> u64 {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) if bytes.len() > 16 => absorb_long(state, bytes, first, last),
        _ => step(state, SECRETS[0], short(bytes)),
    }
}

/// The last step always reads the last 32 bytes, which may overlap the step before; `first` and
/// `last` read inputs shorter than that.
#[inline]
fn absorb_long(state: u64, bytes: &[u8], first: &[u8; 16], last: &[u8; 16]) -> u64 {
    let (mut a, mut b) = (state, state ^ SECRETS[2]);
    let mut before_last = first;
    if let Some(tail) = bytes.last_chunk::<32>() {
        let (chunks, _) = bytes[..bytes.len() - 1].as_chunks::<32>();
        for chunk in chunks {
            let [low, high] = halves(chunk);
            a = step(a, SECRETS[0], words(low));
            b = step(b, SECRETS[1], words(high));
        }
        before_last = halves(tail)[0];
    }
    a = step(a, SECRETS[0], words(before_last));
    b = step(b, SECRETS[1], words(last));
    a ^ b
}

#[inline]
fn step(state: u64, secret: u64, [low, high]: [u64; 2]) -> u64 {
    fold(low ^ secret, high ^ state)
}

#[inline]
fn halves(bytes: &[u8; 32]) -> [&[u8; 16]; 2] {
    let (halves, _) = bytes.as_chunks();
    [&halves[0], &halves[1]]
}

#[inline]
fn words(bytes: &[u8; 16]) -> [u64; 2] {
    let (words, _) = bytes.as_chunks();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

/// All of at most sixteen bytes; the middle ones may be read twice.
#[inline]
fn short(bytes: &[u8]) -> [u64; 2] {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return [u64::from_le_bytes(*first), u64::from_le_bytes(*last)];
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return [u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into()];
    }
    match bytes {
        [] => [0, 0],
        [first, .., last] => [u64::from(*first) << 8 | u64::from(*last), bytes[1].into()],
        [only] => [u64::from(*only), 0],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// `count` bytes; the first 256 differ.
    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n * 7 + 1) as u8).collect()
    }

    /// Computed by another implementation of the description above.
    #[test]
    fn hashes_never_change() {
        for (key, value, expected) in KNOWN {
            let hash = pair_hash(&bytes(key), &bytes(value));
            assert_eq!(hash, expected, "{key} and {value} bytes: {hash:#018x}");
        }
    }

    /// Lengths of key and value, and the hash.
    const KNOWN: [(usize, usize, u64); 14] = [
        (0, 0, 0xc2b8_5d8b_25b9_baa2),
        (1, 0, 0x27fa_0f65_c76b_e922),
        (0, 1, 0xff98_e117_a1e2_ef94),
        (3, 2, 0x4f44_9b39_3a71_ff01),
        (4, 7, 0xe1a2_880c_0020_8b80),
        (8, 1, 0xc544_a296_3ac6_e9e8),
        (16, 16, 0xc202_d352_ad4b_82bd),
        (17, 31, 0xedba_2b2b_2157_2028),
        (10, 32, 0x88a3_4e05_7c30_dacc),
        (10, 33, 0x1734_9b94_10a0_b9e5),
        (10, 64, 0x4a13_018b_a20c_b8aa),
        (10, 65, 0xe265_2955_4e60_f77b),
        (10, 90, 0xc654_4f1f_fdd5_2dd0),
        (200, 1000, 0xa7f4_1355_aac2_015e),
    ];

    #[test]
    fn where_the_key_ends_matters() {
        let all = bytes(70);
        let hashes: HashSet<u64> = (0..=70).map(|at| pair_hash(&all[..at], &all[at..])).collect();
        assert_eq!(hashes.len(), 71);
    }

    #[test]
    fn runs_of_one_byte_differ_by_length() {
        for byte in [0, b'a', 0xff] {
            let run = [byte; 100];
            let lengths = (0..100).flat_map(|key| (0..100).map(move |value| (key, value)));
            let hashes: HashSet<u64> =
                lengths.map(|(key, value)| pair_hash(&run[..key], &run[..value])).collect();
            assert_eq!(hashes.len(), 10_000);
        }
    }

    proptest! {
        #[test]
        fn every_byte_counts(
            key in vec(any::<u8>(), 0..80), value in vec(any::<u8>(), 0..200), xor in 1u8.., at: prop::sample::Index,
        ) {
            prop_assume!(!key.is_empty() || !value.is_empty());
            let hash = pair_hash(&key, &value);
            let at = at.index(key.len() + value.len());
            let (mut other_key, mut other_value) = (key, value);
            *other_key.iter_mut().chain(&mut other_value).nth(at).unwrap() ^= xor;
            let changed = hash ^ pair_hash(&other_key, &other_value);
            prop_assert!((8..=56).contains(&changed.count_ones()), "{changed:064b}");
        }
    }
}
