//! Map and reduce attempts one after the other, without executor or network.

mod disk;
mod units;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use windrow_jobs::fan_in::merge_bytes;
use windrow_jobs::prelude::*;
use windrow_jobs::{Audit, BadRecordBudget, Emitted, FailureCause, Location, PartHandle, StageId};

use super::{Attempt, Left, map, reduce};
use crate::memory::Account;
use crate::model::Stats;
use crate::shuffle::store::SegmentStore;
use crate::testing::{Words, attempt, attempt_id, file_range, whole_file};

fn path(part: &PartHandle) -> &Path {
    part.location.to_local().unwrap()
}

/// Reduces all partitions of the map outputs numbered `maps`, and returns the parts and the counts
/// of what was read.
fn reduce_all(
    words: Words,
    store: &Arc<SegmentStore>,
    staging: &Path,
    maps: u32,
    partitions: u32,
) -> (Vec<String>, Audit) {
    let mut read = Audit::default();
    let parts = (0..partitions).map(|partition| {
        let id = attempt_id(StageId::REDUCE, partition, 1);
        let attempt = Attempt { id, ..attempt(words, store, staging, partitions) };
        let outcome = reduce(&attempt, |_| {
            let all = (0..maps).map(|task| store.sources(id.task.job, (task, 1), partition));
            all.collect::<Result<Vec<_>, _>>()
                .map(|sources| sources.into_iter().flatten().collect())
        })
        .unwrap();
        read.merge(outcome.finished.stats.audit);
        std::fs::read_to_string(path(outcome.finished.part.as_ref().unwrap())).unwrap()
    });
    (parts.collect(), read)
}

fn words(lines: usize) -> String {
    (0..lines).map(|n| format!("w{} x{} the\r\n", n % 97, n % 1013)).collect()
}

/// Lines of all parts, sorted: counted in memory.
fn counted(text: &str) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for word in text.split_ascii_whitespace() {
        *counts.entry(word).or_insert(0) += 1;
    }
    counts.iter().map(|(word, count)| format!("{word}\t{count}")).collect()
}

fn lines(parts: &[String]) -> Vec<String> {
    let mut lines: Vec<String> =
        parts.iter().flat_map(|part| part.lines()).map(String::from).collect();
    lines.sort();
    lines
}

/// Runs a job with these settings, and returns its parts and the stats of its only map.
fn run(
    text: &str,
    words: Words,
    memory_bytes: u64,
    threads: usize,
    fan_in: u32,
) -> (Vec<String>, Stats) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    std::fs::write(&input, text).unwrap();
    let store = Arc::new(SegmentStore::new(folder.path().join("worker"), 0));
    let mut attempt = attempt(words, &store, folder.path(), 3);
    attempt.memory = Account::new(memory_bytes);
    attempt.pairs = attempt.memory.child(memory_bytes);
    attempt.threads = threads;
    attempt.scratch.merge_bytes = merge_bytes(fan_in);
    let mapped = map(&attempt, 0, vec![whole_file(&input)]).unwrap();
    let stats = mapped.finished.stats.clone();
    assert_eq!(attempt.progress.get(), (stats.input_records, stats.input_bytes));
    let entries = std::fs::read_dir(folder.path().join("worker/job-1")).unwrap().count();
    match &mapped.left {
        Left::File(file) => {
            assert_eq!(std::fs::metadata(file.path()).unwrap().len(), stats.output_bytes);
            assert_eq!(attempt.memory.used_bytes(), 0, "all memory is released");
            assert_eq!(entries, 1, "all runs are in one file");
        }
        Left::Held(_) => {
            assert!(attempt.memory.used_bytes() >= stats.output_bytes, "pairs are counted");
            assert_eq!(entries, 0, "nothing is written");
        }
        Left::Part(_) => panic!("a map output is no part"),
    }
    let is_ample = memory_bytes > 1 << 20;
    assert_eq!(matches!(mapped.left, Left::Held(_)), is_ample);
    let (parts, reduced) = reduce_all(words, &store, folder.path(), 1, 3);
    assert_eq!(reduced, stats.audit, "pairs are conserved");
    assert_eq!(reduced.records, stats.output_records);
    (parts, stats)
}

#[test]
fn a_job_counts_as_a_count_in_memory_does() {
    let text = words(3000);
    let (parts, stats) = run(&text, Words::default(), 1 << 30, 2, 8);
    assert_eq!(lines(&parts), counted(&text));
    for part in &parts {
        let keys: Vec<_> = part.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert!(!keys.is_empty() && keys.is_sorted());
    }
    assert_eq!((stats.input_records, stats.input_bytes), (3000, text.len() as u64));
    assert_eq!(stats.output_records, 9000);
    assert_eq!(stats.counters.iter().next(), Some(("taken", 1)));
}

#[test]
fn tiny_memory_spills_and_gives_the_same_parts() {
    let text = words(40_000);
    let (expected, ample) = run(&text, Words::default(), 1 << 30, 2, 8);
    for (has_combiner, threads) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
        let words = Words { has_combiner, ..Words::default() };
        let (parts, stats) = run(&text, words, 1 << 16, threads, 2);
        assert_eq!(parts, expected);
        assert_eq!(stats.input_records, ample.input_records);
    }
}

/// Maps and reduces as a job with a combiner, in so much memory: the first partition, and the stats
/// of the map.
fn combined(input: &Path, memory_bytes: u64, threads: usize) -> (String, Stats) {
    combined_by(input, memory_bytes, threads, None)
}

/// The same; by the only worker if it is said how much of its memory for pairs is free.
fn combined_by(
    input: &Path,
    memory_bytes: u64,
    threads: usize,
    free_bytes: Option<u64>,
) -> (String, Stats) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SegmentStore::new(folder.path().join("worker"), 0));
    let job = Job::new("count", Fragile).combine(Sum).reduce(Sum);
    let of_job = |id| {
        let mut attempt = attempt(Words::default(), &store, Path::new("/out/attempts-1"), 1);
        (attempt.id, attempt.program) = (id, job.build("{}").unwrap());
        attempt
    };
    let mut mapping = of_job(attempt_id(StageId::MAP, 0, 1));
    mapping.memory = Account::new(memory_bytes);
    mapping.pairs = mapping.memory.child(memory_bytes);
    (mapping.threads, mapping.is_only_worker) = (threads, free_bytes.is_some());
    let _others = mapping.pairs.reserve(memory_bytes - free_bytes.unwrap_or(memory_bytes));
    let mapped = map(&mapping, 0, vec![whole_file(input)]).unwrap();
    let mut reducing = of_job(attempt_id(StageId::REDUCE, 0, 1));
    Arc::get_mut(&mut reducing.context).unwrap().staging =
        Location::of_path(folder.path()).unwrap();
    let reduced = reduce(&reducing, |_| store.sources(reducing.id.task.job, (0, 1), 0)).unwrap();
    let part = std::fs::read_to_string(path(reduced.finished.part.as_ref().unwrap())).unwrap();
    (part, mapped.finished.stats)
}

#[test]
fn the_only_worker_combines_pairs_of_several_threads_only_where_memory_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    let text: String = (0..200_000).map(|n| format!("w{} the\n", n % 15_000)).collect();
    std::fs::write(&input, &text).unwrap();
    let memory_bytes = 1 << 30;
    let (expected, combined_once) = combined(&input, memory_bytes, 2);
    assert_eq!(combined_once.output_records, 15_001);
    let (part, ample) = combined_by(&input, memory_bytes, 2, Some(memory_bytes));
    assert_eq!(part, expected);
    // One thread may have mapped everything; else most keys are there twice.
    assert!((15_001..=30_002).contains(&ample.output_records));
    let emitted =
        Emitted { is_partial: ample.output_records > 15_001, ..combined_once.emitted.unwrap() };
    assert_eq!(ample.emitted, Some(emitted));
    let (part, short) = combined_by(&input, memory_bytes, 2, Some(4 << 20));
    assert_eq!((part, short.output_records), (expected, 15_001));
}

#[test]
fn a_map_emits_the_same_wherever_it_spills() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    let line = |n: usize| format!("w{} x{}\n", n * 7919 % 50_000, n % 1013);
    let text: String = (0..100_000).map(line).collect();
    std::fs::write(&input, &text).unwrap();
    let (expected, whole) = combined(&input, 1 << 30, 2);
    let emitted = whole.emitted.unwrap();
    assert!(!emitted.is_partial);
    assert_eq!(emitted.keys.records, 200_000);
    for (memory_bytes, threads) in [(1 << 20, 1), (1 << 20, 2), (3 << 20, 2)] {
        let (part, partial) = combined(&input, memory_bytes, threads);
        assert_eq!(part, expected);
        assert_ne!(partial.audit, whole.audit);
        assert_eq!(partial.emitted, Some(Emitted { is_partial: true, ..emitted }));
    }
    std::fs::write(&input, text.replacen("x5\n", "x6\n", 1)).unwrap();
    assert_ne!(combined(&input, 1 << 20, 2).1.emitted.unwrap().keys, emitted.keys);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_parts_do_not_depend_on_how_the_input_is_cut(
        text in "([a-d ]{0,6}\r?\n){0,30}[a-d ]{0,6}", cuts in prop::collection::vec(0.0..1.0f64, 0..4)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("input");
        std::fs::write(&input, &text).unwrap();
        let store = Arc::new(SegmentStore::new(folder.path().join("worker"), 0));
        let len = text.len() as u64;
        let mut borders: Vec<u64> = cuts.iter().map(|cut| (len as f64 * cut) as u64).collect();
        borders.extend([0, len]);
        borders.sort_unstable();
        let mut maps = Vec::new();
        for (index, range) in borders.windows(2).enumerate() {
            let id = attempt_id(StageId::MAP, index as u32, 1);
            let attempt = Attempt { id, ..attempt(Words::default(), &store, folder.path(), 2) };
            maps.push(map(&attempt, 0, vec![file_range(&input, range[0], range[1])]).unwrap());
        }
        let records: u64 = maps.iter().map(|map| map.finished.stats.input_records).sum();
        prop_assert_eq!(records, text.split_inclusive('\n').count() as u64);
        let (parts, _) = reduce_all(Words::default(), &store, folder.path(), maps.len() as u32, 2);
        prop_assert_eq!(lines(&parts), counted(&text));
    }
}

#[test]
fn a_map_only_part_is_in_input_order() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..60_000).map(|n| format!("line {n}\n")).collect();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::write(&a, &text).unwrap();
    std::fs::write(&b, "last").unwrap();
    let store = Arc::new(SegmentStore::new(folder.path().join("worker"), 0));
    let words = Words { is_map_only: true, ..Words::default() };
    let attempt = Attempt { threads: 4, ..attempt(words, &store, folder.path(), 0) };
    let outcome = map(&attempt, 0, vec![whole_file(&a), whole_file(&b)]).unwrap();
    let part = outcome.finished.part.clone().unwrap();
    let expected: String = text.lines().chain(["last"]).map(|line| format!("[{line}]\n")).collect();
    assert!(std::fs::read_to_string(path(&part)).unwrap() == expected);
    assert_eq!((part.records, part.bytes), (60_001, expected.len() as u64));
    assert_eq!(outcome.finished.stats.input_bytes, text.len() as u64 + 4);
    drop(outcome);
    assert!(!path(&part).exists(), "a dropped outcome leaves no file");
}

#[test]
fn a_cancelled_attempt_stops_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    std::fs::write(&input, words(1000)).unwrap();
    let store = Arc::new(SegmentStore::new(folder.path().join("worker"), 0));
    for is_map_only in [false, true] {
        let words = Words { is_map_only, ..Words::default() };
        let attempt = attempt(words, &store, folder.path(), 2);
        attempt.scratch.cancel.cancel();
        let stopped = map(&attempt, 0, vec![whole_file(&input)]).err();
        assert_eq!(stopped, Some(FailureCause::Cancelled));
    }
    assert_eq!(std::fs::read_dir(folder.path().join("worker/job-1")).unwrap().count(), 0);
    assert!(!folder.path().join("part-00000.1").exists());
}

#[test]
fn a_full_or_missing_staging_folder_fails_the_attempt_and_names_the_part() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SegmentStore::new(folder.path().join("worker"), 0));
    let attempt = attempt(Words::default(), &store, &folder.path().join("gone"), 1);
    let cause = reduce(&attempt, |_| Ok(vec![])).err().unwrap();
    assert!(matches!(&cause, FailureCause::Io { path, .. } if path.ends_with("gone/part-00000.1")));
}

/// Counts words; fails or panics at lines that say so.
struct Fragile;

impl Mapper for Fragile {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        line.split_ascii_whitespace().try_for_each(|word| out.emit(word, 1))?;
        match line {
            "error" => Err(Error::new("bad line")),
            "panic" => panic!("worse line"),
            _ => Ok(()),
        }
    }
}

/// Maps `text` with a budget, and returns the file of bad records.
fn bad_records(
    job: &Job,
    text: &str,
    budget: BadRecordBudget,
    threads: usize,
) -> Result<Option<String>, FailureCause> {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    std::fs::write(&input, text).unwrap();
    let store = Arc::new(SegmentStore::new(folder.path().join("worker"), 0));
    let mut attempt = attempt(Words::default(), &store, folder.path(), 3);
    attempt.program = job.build("{}").unwrap();
    attempt.threads = threads;
    Arc::get_mut(&mut attempt.context).unwrap().skip_bad_records = Some(budget);
    attempt.bad_records.skips_bad_records = true;
    let outcome = map(&attempt, 0, vec![whole_file(&input)]);
    let files = |prefix: &str| {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(prefix)).count()
    };
    let outcome = outcome.inspect_err(|_| assert_eq!(files("bad-"), 0))?;
    let stats = &outcome.finished.stats;
    let bad_records = outcome.finished.bad_records.as_ref();
    assert_eq!(stats.skipped_records, bad_records.map_or(0, |part| part.records));
    assert_eq!(stats.input_records, text.lines().count() as u64);
    let text = bad_records.map(|part| {
        assert!(path(part).ends_with("bad-map-00000.1"));
        std::fs::read_to_string(path(part)).unwrap()
    });
    drop(outcome);
    assert_eq!(files("bad-"), 0, "it goes with the outcome");
    Ok(text)
}

/// A million bytes of lines, a few of which are bad.
fn fragile_text() -> String {
    let line = |n| match n {
        7 | 60_000 | 99_999 => "error\n".to_string(),
        40_000 => "panic\n".to_string(),
        n => format!("w{} x{n}\n", n % 97),
    };
    (0..100_000).map(line).collect()
}

#[test]
fn bad_records_are_in_quarantine_in_the_order_of_the_input() {
    let text = fragile_text();
    let pairs = Job::new("pairs", Fragile).combine(Sum).reduce(Sum);
    let lines = Job::new("lines", Fragile).map_only();
    let budget = BadRecordBudget::Records(4);
    let expected = bad_records(&pairs, &text, budget, 1).unwrap().unwrap();
    let offsets: Vec<_> = expected
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["offset"].as_u64())
        .collect();
    let bad = |line: &str| line == "error" || line == "panic";
    let (mut offset, mut all) = (0, Vec::new());
    for line in text.lines() {
        all.extend(bad(line).then_some(Some(offset)));
        offset += line.len() as u64 + 1;
    }
    assert_eq!(offsets, all);
    let without_path = |text: &str| {
        let of = |line: &str| line[line.find("offset").unwrap()..].to_string();
        text.lines().map(of).collect::<Vec<_>>()
    };
    for (job, threads) in [(&pairs, 4), (&lines, 1), (&lines, 4)] {
        let found = bad_records(job, &text, budget, threads).unwrap().unwrap();
        assert_eq!(without_path(&found), without_path(&expected));
    }
    assert_eq!(bad_records(&pairs, "all good\n", budget, 2), Ok(None));
}

/// Other threads find theirs first: each begins with a run of the input of its own.
#[test]
fn of_several_bad_records_the_first_of_the_input_is_reported() {
    let job = Job::new("pairs", Fragile).combine(Sum).reduce(Sum);
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    let is_bad = |n: usize| n == 20_000 || n > 25_000;
    let line = |n| if is_bad(n) { "error\n".to_string() } else { format!("w{} x{n}\n", n % 97) };
    let text: String = (0..100_000).map(line).collect();
    std::fs::write(&input, &text).unwrap();
    let store = Arc::new(SegmentStore::new(folder.path().join("worker"), 0));
    for threads in [1, 2, 4] {
        let mut attempt = attempt(Words::default(), &store, folder.path(), 3);
        attempt.program = job.build("{}").unwrap();
        attempt.threads = threads;
        let failed = map(&attempt, 0, vec![whole_file(&input)]).err();
        let Some(FailureCause::UserError { place, .. }) = failed else { panic!("{failed:?}") };
        assert_eq!(place.offset, text.find("error").map(|at| at as u64), "{threads} threads");
    }
}

#[test]
fn an_attempt_that_exceeds_the_budget_by_itself_stops() {
    let job = Job::new("pairs", Fragile).reduce(Sum);
    let failed = bad_records(&job, &fragile_text(), BadRecordBudget::Records(3), 1).unwrap_err();
    let FailureCause::BadRecords { skipped: 4, place, message } = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(message, "bad line");
    assert!(place.offset > Some(0));
    let share = "0.01%".parse().unwrap();
    assert!(
        bad_records(&job, &fragile_text(), share, 2).is_ok(),
        "a share of all records is for the job to judge"
    );
}
