//! The coordinator is killed at each step of a publication, or finds the output folder gone: the output is whole and
//! visible once, or there is none.

use libtest_mimic::Trial;

use super::coordinator_deaths::{Deaths, survive, survive_overwriting, trials};

pub fn tests() -> Vec<Trial> {
    let mut tests = trials("publication", DEATHS, |deaths| survive(deaths, &[]));
    tests.extend(trials("publication::overwriting", DEATHS_OVERWRITING, survive_overwriting));
    tests
}

/// Two parts, then the manifest. What comes after a death goes on from there.
const DEATHS: &[Deaths] = &[
    &["publish-part-renamed:1", "publish-part-renamed:2", "publish-before-manifest:1"],
    &["publish-before-manifest:1", "publish-before-manifest:1", "publish-after-manifest:1"],
    &["publish-after-manifest:1"],
];

/// Three parts and a manifest are moved aside before.
const DEATHS_OVERWRITING: &[Deaths] = &[
    &["publish-moved-aside:1", "publish-moved-aside:1", "publish-all-aside:1"],
    &["publish-moved-aside:4", "publish-part-renamed:1", "publish-before-manifest:1"],
    &["publish-all-aside:1", "publish-part-renamed:2", "publish-after-manifest:1"],
    &["publish-after-manifest:1"],
];
