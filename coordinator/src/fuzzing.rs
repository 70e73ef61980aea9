//! The fuzz targets of this crate: see `windrow_jobs::fuzzing`. Not for users.

use windrow_jobs::fuzzing::{HeapBound, Target};

use crate::{driver, output, rpc, security};

/// The fuzz targets of this crate.
pub const TARGETS: &[Target] = &[
    driver::fuzzing::JOURNAL,
    rpc::fuzzing::REPORTS,
    rpc::fuzzing::SUBMISSIONS,
    output::fuzzing::FILES,
    security::fuzzing::REQUESTS,
    security::fuzzing::TOKENS,
    SHOWN,
];

const SHOWN: Target = Target {
    name: "shown-text",
    seeds: || vec![b"a\x1b[31mb\n\xc2\x9b\xff".to_vec()],
    check: shown,
    heap: HeapBound::SMALL,
};

/// Escaped text never moves a cursor, and plain text is unchanged.
fn shown(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let line = windrow_jobs::one_line(&text);
    assert!(!line.contains(char::is_control), "{line:?}");
    assert!(line == text || line.len() > text.len(), "only escaped text changes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_valid_inputs() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            seeds.iter().for_each(|seed| (target.check)(seed));
        }
    }
}
