//! Word count of real text equals a plain count, however the work is split and wherever it runs.

use libtest_mimic::Trial;

use crate::support::{
    Cluster, ClusterOptions, Dir, Mode, books, both, case, count_words, read_parts, root_case,
    sorted_lines,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = both("word_count::equals_a_plain_count", equals_a_plain_count);
    tests.push(case("word_count::same_bytes_in_every_mode", same_bytes_in_every_mode));
    tests.push(root_case("word_count::workers_of_other_hosts", workers_of_other_hosts));
    tests.extend(both("word_count::small_splits_and_memory", small_splits_and_memory));
    tests
}

fn equals_a_plain_count(mode: &Mode) {
    let expected = count_words(&books());
    for (threads, reducers) in [("1", "1"), ("2", "3"), ("2", "16"), ("1", "16")] {
        let dir = Dir::new();
        mode.run(arguments(&dir, &["--threads", threads, "--reducers", reducers])).expect_code(0);
        let parts = read_parts(&dir.join("out"));
        assert_eq!(parts.len().to_string(), reducers);
        for part in parts.values() {
            let keys: Vec<&[u8]> = part
                .split(|&b| b == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| line.split(|&b| b == b'\t').next().unwrap())
                .collect();
            assert!(keys.is_sorted_by(|a, b| a < b), "a part is not sorted by key");
        }
        assert_eq!(sorted_lines(&dir.join("out")), expected);
    }
}

fn same_bytes_in_every_mode() {
    let embedded = Dir::new();
    let cluster = Dir::new();
    let flags = ["--reducers", "5", "--split-size", "100KB"];
    Mode::Embedded.run(arguments(&embedded, &flags)).expect_code(0);
    Mode::Cluster(Box::new(Cluster::start(3))).run(arguments(&cluster, &flags)).expect_code(0);
    assert_eq!(read_parts(&embedded.join("out")), read_parts(&cluster.join("out")));
}

/// No worker can read another's files: all shuffled data goes over gRPC.
fn workers_of_other_hosts() {
    let dir = Dir::new();
    let options = ClusterOptions { own_hosts: true, ..ClusterOptions::default() };
    let cluster = Cluster::with_options(3, options);
    cluster.submit(arguments(&dir, &["--reducers", "5", "--split-size", "10KB"])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&books()));
}

fn small_splits_and_memory(mode: &Mode) {
    let dir = Dir::new();
    let flags = ["--reducers", "2", "--split-size", "20KB", "--memory", "1MiB"];
    mode.run(arguments(&dir, &flags)).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&books()));
}

fn arguments(dir: &Dir, flags: &[&str]) -> Vec<String> {
    let mut all =
        vec!["word-count".to_string(), "--output".into(), dir.join("out").display().to_string()];
    all.extend(flags.iter().map(ToString::to_string));
    all.push("--input".into());
    all.extend(books().iter().map(|book| book.display().to_string()));
    all
}
