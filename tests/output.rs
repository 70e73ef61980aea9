//! What an output folder contains, and when.

use std::fs;

use libtest_mimic::Trial;

use crate::conformance::{arguments, gated, gates, path, processes, wait_until_succeeded};
use crate::support::{
    Cluster, Dir, Mode, Process, both, case, eventually, generated_words, read_parts, windrow,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = both("output::manifest_tells_the_truth", manifest_tells_the_truth);
    tests.extend(both("output::empty_folder_is_used", empty_folder_is_used));
    tests.push(case("output::nothing_visible_before_success", nothing_visible_before_success));
    tests.push(case("output::one_job_an_output", one_job_an_output));
    tests.extend(both(
        "output::links_planted_by_a_job_are_not_followed",
        links_planted_by_a_job_are_not_followed,
    ));
    tests
        .extend(both("output::a_lock_that_is_a_link_is_refused", a_lock_that_is_a_link_is_refused));
    tests
}

fn manifest_tells_the_truth(mode: &Mode) {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 2, 5_000);
    mode.run(arguments("word-count", &dir, &["--reducers", "3"])).expect_code(0);
    let output = dir.join("out");
    let manifest = fs::read_to_string(output.join("_SUCCESS")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["job"]["name"], "word-count");
    let read = &manifest["job"]["inputs"];
    assert_eq!(read.as_array().unwrap().len(), 2);
    assert_eq!(read[0]["path"], path(&inputs[0]));
    assert_eq!(read[0]["bytes"], fs::metadata(&inputs[0]).unwrap().len());
    let parts = read_parts(&output);
    let told = manifest["parts"].as_array().unwrap();
    assert_eq!(told.len(), parts.len());
    for (part, (name, bytes)) in told.iter().zip(&parts) {
        assert_eq!(part["name"], *name);
        assert_eq!(part["bytes"], bytes.len());
        assert_eq!(part["records"], bytes.iter().filter(|&&b| b == b'\n').count());
        assert_eq!(part["crc64"].as_str().unwrap().len(), 16);
    }
}

/// A job plants links under the names that publication uses itself.
fn links_planted_by_a_job_are_not_followed(mode: &Mode) {
    let dir = Dir::new();
    let kept = dir.join("kept");
    fs::create_dir_all(kept.join("tokens")).unwrap();
    fs::write(kept.join("key"), "secret").unwrap();
    let out = path(&dir.join("out"));
    dir.write("in/acts", "temporary\n");
    mode.run(arguments("reach", &dir, &[])).expect_code(0);
    let plants = ["_SUCCESS", "replaced.all-aside"].map(|name| (name, kept.join("key")));
    let plants = plants.into_iter().chain([("replaced", kept.join("tokens"))]);
    let acts = plants.map(|(name, to)| format!("plant {out} {name} {}\n", to.display()));
    dir.write("in/acts", acts.collect::<String>());
    mode.run(arguments("reach", &dir, &["--overwrite"])).expect_code(0);
    assert_eq!(fs::read_to_string(kept.join("key")).unwrap(), "secret");
    assert_eq!(fs::read_dir(kept.join("tokens")).unwrap().count(), 0);
    assert!(fs::symlink_metadata(dir.join("out/_SUCCESS")).unwrap().is_file());
    assert!(!dir.join("out/_temporary").exists());
    let parts = read_parts(&dir.join("out"));
    assert!(parts.values().any(|part| part == b"done\t3\n"), "{parts:?}");
    Process::start(windrow(["verify", &out])).finish().expect_code(0);
}

/// A user who may write to the output has planted the link before.
fn a_lock_that_is_a_link_is_refused(mode: &Mode) {
    let dir = Dir::new();
    generated_words(&dir, 1, 100);
    let kept = dir.write("kept", "mine");
    let temporary = dir.join("out/_temporary");
    fs::create_dir_all(&temporary).unwrap();
    std::os::unix::fs::symlink(&kept, temporary.join("lock")).unwrap();
    let refused = mode.run(arguments("word-count", &dir, &[]));
    refused.expect_code(1).expect_said("_temporary/lock: it is a link");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "mine");
}

fn empty_folder_is_used(mode: &Mode) {
    let dir = Dir::new();
    generated_words(&dir, 1, 100);
    fs::create_dir(dir.join("out")).unwrap();
    mode.run(arguments("word-count", &dir, &["--reducers", "1"])).expect_code(0);
    let names: Vec<_> = read_parts(&dir.join("out")).into_keys().collect();
    assert_eq!(names, ["part-00000"]);
}

/// While a reduce still runs, finished parts are not visible.
fn nothing_visible_before_success() {
    let dir = Dir::new();
    generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    fs::write(gates.join("map-go"), "").unwrap();
    let cluster = Cluster::start(1);
    let job = cluster.submit_detached(gated(&dir, &["--reducers", "1"]));
    eventually("a running reduce", || !processes(&gates, "reduce-").is_empty());
    let visible = || {
        let names = fs::read_dir(dir.join("out")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy() != "_temporary").count()
    };
    assert_eq!(visible(), 0);
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    assert_eq!(visible(), 2);
}

fn one_job_an_output() {
    let dir = Dir::new();
    generated_words(&dir, 1, 1_000);
    let gates = gates(&dir);
    let cluster = Cluster::start(1);
    let job = cluster.submit_detached(gated(&dir, &[]));
    cluster.submit(arguments("word-count", &dir, &[])).expect_code(1).expect_said("out");
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
}
