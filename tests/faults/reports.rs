//! A worker's report arrives, but the answer does not: the report is repeated, and counted once.

use libtest_mimic::Trial;

use super::small_job::{MAPS, REDUCES, SmallJob, all_at_once, assert_none_failed};
use crate::support::{Cluster, Direction, Proxy, case, eventually};

pub fn tests() -> Vec<Trial> {
    vec![
        case("faults::reports::answer_to_a_map_lost", || answer_lost("map")),
        case("faults::reports::answer_to_a_reduce_lost", || answer_lost("reduce")),
    ]
}

fn answer_lost(stage: &str) {
    let job = SmallJob::new();
    let mut cluster = Cluster::with_options(0, all_at_once());
    let proxy = Proxy::to_url(&cluster.url);
    cluster.add_worker_at(&proxy.url(), &[]);
    cluster.add_worker_at(&proxy.url(), &[]);
    cluster.wait_for_workers(2);
    let submit = cluster.start_submit(job.arguments(&[]));
    job.wait_for("map", MAPS);
    if stage == "reduce" {
        job.open("map");
        job.wait_for("reduce", REDUCES);
    }
    // From now on, workers can send but not receive.
    proxy.stall(Direction::ToClient);
    let before = proxy.accepted();
    job.open(stage);
    let done = |status: &serde_json::Value| status[stage]["done"] == status[stage]["tasks"];
    eventually("the reports to be heard", || done(&cluster.status(1)));
    proxy.reset();
    proxy.heal();
    job.open_all();
    submit.finish().expect_code(0);
    job.assert_output();
    assert_none_failed(&cluster, 1);
    let status = cluster.status(1);
    assert_eq!(status["map"]["attempts"], MAPS, "{status}");
    assert_eq!(status["reduce"]["attempts"], REDUCES, "{status}");
    if stage == "map" {
        assert!(proxy.accepted() >= before + 2, "{} connections", proxy.accepted());
    }
}
