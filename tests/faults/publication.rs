//! The coordinator is killed at each step of a publication, or the output folder disappears: the
//! output becomes visible whole, once, or not at all.

use std::fs;

use libtest_mimic::Trial;

use super::coordinator_deaths::{Deaths, survive, survive_overwriting, trials};
use super::small_job::{MAPS, REDUCES, SmallJob, all_at_once};
use crate::conformance::path;
use crate::support::{Cluster, Dir, case, count_words, generated_words, sorted_lines};

pub fn tests() -> Vec<Trial> {
    let mut tests = trials("publication", DEATHS, |deaths| survive(deaths, &[]));
    tests.extend(trials("publication::overwriting", DEATHS_OVERWRITING, survive_overwriting));
    tests.push(case("faults::publication::output_deleted_in_map", || output_deleted("map")));
    tests.push(case("faults::publication::output_deleted_in_reduce", || output_deleted("reduce")));
    tests
}

/// Two parts, then the manifest. After each death, publication continues from there.
const DEATHS: &[Deaths] = &[
    &["publish-part-renamed:1", "publish-part-renamed:2", "publish-before-manifest:1"],
    &["publish-before-manifest:1", "publish-before-manifest:1", "publish-after-manifest:1"],
    &["publish-after-manifest:1"],
];

/// Before that, three parts and a manifest are moved aside.
const DEATHS_OVERWRITING: &[Deaths] = &[
    &["publish-moved-aside:1", "publish-moved-aside:1", "publish-all-aside:1"],
    &["publish-moved-aside:4", "publish-part-renamed:1", "publish-before-manifest:1"],
    &["publish-all-aside:1", "publish-part-renamed:2", "publish-after-manifest:1"],
    &["publish-after-manifest:1"],
];

/// The output folder of a running job is removed: the job fails and names it. The cluster is not
/// affected.
fn output_deleted(stage: &str) {
    let job = SmallJob::new();
    let cluster = Cluster::with_options(2, all_at_once());
    let submit = cluster.start_submit(job.arguments(&[]));
    job.wait_for("map", MAPS);
    if stage == "reduce" {
        job.open("map");
        job.wait_for("reduce", REDUCES);
    }
    fs::remove_dir_all(job.output()).unwrap();
    job.open_all();
    submit.finish().expect_code(1).expect_said(&path(&job.output())).expect_said("removed");
    job.assert_no_output();
    assert_eq!(cluster.status(1)["state"], "failed");

    let next = Dir::new();
    let inputs = generated_words(&next, 1, 1_000);
    cluster.submit(crate::conformance::arguments("word-count", &next, &[])).expect_code(0);
    assert_eq!(sorted_lines(&next.join("out")), count_words(&inputs));
}
