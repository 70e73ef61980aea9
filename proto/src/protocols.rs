//! The protocol that two builds speak with each other.

use std::ops::RangeInclusive;

use crate::v1::Build;

/// The protocols that a build speaks.
pub fn spoken(build: &Build) -> RangeInclusive<u32> {
    let min = if build.protocol_min == 0 { build.protocol_version } else { build.protocol_min };
    min..=build.protocol_version
}

/// The highest protocol that both speak; `None` if there is none.
pub fn common(a: &Build, b: &Build) -> Option<u32> {
    let (a, b) = (spoken(a), spoken(b));
    let highest = *a.end().min(b.end());
    (highest >= *a.start().max(b.start())).then_some(highest)
}

/// The protocols of a build, for people: "protocol 2", or "protocols 2 to 4".
pub fn named(build: &Build) -> String {
    let spoken = spoken(build);
    if spoken.start() == spoken.end() {
        format!("protocol {}", spoken.end())
    } else {
        format!("protocols {} to {}", spoken.start(), spoken.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(protocol_min: u32, protocol_version: u32) -> Build {
        Build { protocol_min, protocol_version, ..Build::default() }
    }

    #[test]
    fn the_highest_common_protocol_is_spoken() {
        for (a, b, spoken) in [
            ((2, 2), (2, 2), Some(2)),
            ((2, 4), (3, 7), Some(4)),
            ((3, 7), (2, 4), Some(4)),
            ((2, 9), (3, 3), Some(3)),
            // A build without a lowest protocol speaks only one.
            ((0, 3), (2, 4), Some(3)),
            ((0, 1), (2, 4), None),
            ((5, 6), (2, 4), None),
            // An empty range has nothing in common with any.
            ((6, 5), (1, 9), None),
        ] {
            assert_eq!(common(&build(a.0, a.1), &build(b.0, b.1)), spoken, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_range_of_protocols_is_printed_for_people() {
        assert_eq!(named(&build(0, 1)), "protocol 1");
        assert_eq!(named(&build(2, 2)), "protocol 2");
        assert_eq!(named(&build(2, 4)), "protocols 2 to 4");
    }
}
