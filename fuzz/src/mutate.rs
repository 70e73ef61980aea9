//! Mutations: bytes changed, numbers at limits, chunks moved, duplicated, removed, or taken from
//! another input.

use crate::random::Random;

/// Largest input made.
pub(crate) const INPUT_BYTES_MAX: usize = 16 << 10;

/// Most mutations at once.
const CHANGES_MAX: usize = 4;

/// Longest chunk moved at once.
const PIECE_BYTES_MAX: usize = 64;

/// Mutates `input` a little, sometimes with a chunk of `other`.
pub(crate) fn mutate(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(CHANGES_MAX) {
        change(random, input, other);
    }
    input.truncate(INPUT_BYTES_MAX);
}

fn change(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    if input.is_empty() {
        return insert(random, input, other);
    }
    let at = random.below(input.len());
    match random.below(9) {
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = random.next() as u8,
        2 => input[at] = input[at].wrapping_add(if random.below(2) == 0 { 1 } else { 0xff }),
        3 | 4 => overwrite(input, at, &limit(random)),
        5 => {
            let piece = piece(random, input).to_vec();
            input.splice(at..at, piece);
        }
        6 => {
            let piece = piece(random, input).to_vec();
            overwrite(input, at, &piece);
        }
        7 => drop(input.drain(at..input.len().min(at + 1 + random.below(PIECE_BYTES_MAX)))),
        _ => insert(random, input, other),
    }
}

/// Inserts a chunk of another input, or random bytes.
fn insert(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(input.len() + 1);
    let piece = if other.is_empty() || random.below(4) == 0 {
        vec![random.next() as u8; 1 + random.below(8)]
    } else {
        piece(random, other).to_vec()
    };
    input.splice(at..at, piece);
}

/// A non-empty chunk of the bytes.
fn piece<'a>(random: &mut Random, bytes: &'a [u8]) -> &'a [u8] {
    let start = random.below(bytes.len());
    let len = 1 + random.below(PIECE_BYTES_MAX);
    &bytes[start..bytes.len().min(start + len)]
}

/// Overwrites with as much of `piece` as fits.
fn overwrite(input: &mut [u8], at: usize, piece: &[u8]) {
    let rest = &mut input[at..];
    let len = rest.len().min(piece.len());
    rest[..len].copy_from_slice(&piece[..len]);
}

/// A number at a likely limit: a power of two or one beside it, in one of the usual encodings.
fn limit(random: &mut Random) -> Vec<u8> {
    let power = 1u64 << random.below(64);
    let number = power.wrapping_add(random.below(3) as u64).wrapping_sub(1);
    let number = if random.below(4) == 0 { number.wrapping_neg() } else { number };
    match random.below(6) {
        0 => vec![number as u8],
        1 => (number as u16).to_le_bytes().to_vec(),
        2 => (number as u32).to_le_bytes().to_vec(),
        3 => (number as u32).to_be_bytes().to_vec(),
        4 => number.to_le_bytes().to_vec(),
        _ => {
            let mut digits = Vec::new();
            windrow_jobs::varint::write(number, &mut digits);
            digits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_differ_stay_bounded_and_are_deterministic() {
        let grow = |seed| {
            let mut random = Random::new(seed);
            let mut input = b"seed".to_vec();
            for _ in 0..5_000 {
                let other = vec![random.next() as u8; 300];
                mutate(&mut random, &mut input, &other);
                assert!(input.len() <= INPUT_BYTES_MAX);
            }
            input
        };
        assert_eq!(grow(1), grow(1));
        assert_ne!(grow(1), grow(2));
    }

    #[test]
    fn any_byte_and_any_length_can_be_reached() {
        let mut random = Random::new(3);
        let (mut values, mut lengths) = ([false; 256], [false; 9]);
        for _ in 0..20_000 {
            let mut input = vec![7; 4];
            mutate(&mut random, &mut input, b"");
            input.iter().for_each(|byte| values[*byte as usize] = true);
            lengths[input.len().min(8)] = true;
        }
        assert!(values.iter().all(|seen| *seen) && lengths.iter().all(|seen| *seen));
    }
}
