//! Numbers as planes of bytes: the lowest byte of all, then the next byte of all, as long as any
//! number needs it.
//!
//! If numbers are small or close together, the higher planes hardly vary, and compress well.

use bytes::Bytes;

/// Most planes: numbers have four bytes.
const PLANES_MAX: usize = 4;

/// The planes of some numbers; at least one, unless there are no numbers.
pub fn planes(numbers: &[u32]) -> Vec<Bytes> {
    let Some(largest) = numbers.iter().max() else { return Vec::new() };
    let planes = (PLANES_MAX - largest.leading_zeros() as usize / 8).max(1);
    let plane = |plane| numbers.iter().map(move |number| number.to_le_bytes()[plane]).collect();
    (0..planes).map(plane).collect()
}

/// The numbers of some planes; `None` if there are too many planes, or their lengths differ.
pub fn numbers(planes: &[Bytes]) -> Option<Vec<u32>> {
    let count = planes.first().map_or(0, Bytes::len);
    if planes.len() > PLANES_MAX || planes.iter().any(|plane| plane.len() != count) {
        return None;
    }
    let number =
        |at| planes.iter().rev().fold(0, |number, plane| number << 8 | u32::from(plane[at]));
    Some((0..count).map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_round_trip_in_the_fewest_planes() {
        for (count, sent) in [
            (0, &[][..]),
            (1, &[0, 0, 0]),
            (1, &[255, 1]),
            (2, &[256]),
            (2, &[65_535, 3]),
            (3, &[65_536, 0, 7]),
            (4, &[u32::MAX, 0]),
        ] {
            let planes = planes(sent);
            assert_eq!(planes.len(), count, "{sent:?}");
            assert_eq!(numbers(&planes).as_deref(), Some(sent));
        }
    }

    #[test]
    fn planes_of_different_lengths_are_refused() {
        assert_eq!(numbers(&[Bytes::from_static(&[1, 2]), Bytes::from_static(&[1])]), None);
        assert_eq!(numbers(&vec![Bytes::from_static(&[1]); 5]), None);
    }
}
