//! A short run of each target with deterministic inputs. `fuzz/run` searches longer.

use windrow_fuzz::{Fuzzer, all};

/// A third of a second for most targets.
const TRIES: u64 = 30_000;

#[test]
fn no_target_fails_on_its_seeds_or_their_mutations() {
    for target in all() {
        let mut fuzzer = Fuzzer::new(target, 1);
        let found = fuzzer.try_seeds().and_then(|()| fuzzer.run(TRIES));
        if let Err(found) = found {
            panic!("{}: {}\ninput: {}", target.name, found.message, found.input.escape_ascii());
        }
    }
}
