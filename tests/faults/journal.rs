//! The journal suffers.

use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    Vec::new()
}
