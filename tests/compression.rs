//! The output does not depend on the compression of shuffled data, in files and streams.

use libtest_mimic::Trial;

use crate::conformance::arguments;
use crate::support::{
    Cluster, ClusterOptions, Dir, Mode, case, count_words, generated_words, root_case, sorted_lines,
};

const METHODS: [&str; 3] = ["none", "lz4", "zstd"];

pub fn tests() -> Vec<Trial> {
    vec![
        case("compression::of_spilled_runs", of_spilled_runs),
        root_case("compression::of_streams", of_streams),
    ]
}

/// Word counts without a combiner and with little memory: map outputs are files of several runs.
fn flags(method: &str) -> [&str; 6] {
    ["--memory", "512KiB", "--reducers", "3", "--compress", method]
}

fn of_spilled_runs() {
    for method in METHODS {
        let dir = Dir::new();
        let inputs = generated_words(&dir, 2, 400_000);
        Mode::Embedded.run(arguments("trouble", &dir, &flags(method))).expect_code(0);
        assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs), "{method}");
    }
}

fn of_streams() {
    let options = ClusterOptions { own_hosts: true, ..ClusterOptions::default() };
    let cluster = Cluster::with_options(2, options);
    for method in METHODS {
        let dir = Dir::new();
        let inputs = generated_words(&dir, 4, 200_000);
        let flags = [&flags(method)[..], &["--split-size", "200KB"]].concat();
        cluster.submit(arguments("trouble", &dir, &flags)).expect_code(0);
        assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs), "{method}");
    }
}
