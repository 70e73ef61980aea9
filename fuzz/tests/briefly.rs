//! A short run of each target, always with the same inputs. `fuzz/run` looks longer, and further.

use windrow_fuzz::{Fuzzer, all};

/// A third of a second of most targets.
const TRIES: u64 = 30_000;

#[test]
fn no_target_fails_at_its_seeds_or_at_what_is_made_of_them() {
    for target in all() {
        let mut fuzzer = Fuzzer::new(target, 1);
        let found = fuzzer.try_seeds().and_then(|()| fuzzer.run(TRIES));
        if let Err(found) = found {
            panic!("{}: {}\ninput: {}", target.name, found.message, found.input.escape_ascii());
        }
    }
}
