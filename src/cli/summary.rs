//! What became of a job: for people and as JSON.

use std::fmt::Write;

use bytesize::ByteSize;
use serde_json::{Value, json};
use windrow_jobs::one_line;
use windrow_jobs::{JobIdentity, StageId};
use windrow_proto::v1;

/// The state's name, in every output.
pub(crate) fn state_name(state: v1::JobState) -> &'static str {
    match state {
        v1::JobState::Unspecified => "unknown",
        v1::JobState::Running => "running",
        v1::JobState::Publishing => "publishing",
        v1::JobState::Succeeded => "succeeded",
        v1::JobState::Failed => "failed",
        v1::JobState::Cancelled => "cancelled",
    }
}

/// A duration with a sensible number of digits.
pub(crate) fn seconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{:.2} s", ms as f64 / 1e3),
        10_000..600_000 => format!("{:.1} s", ms as f64 / 1e3),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// A size in binary units.
pub(crate) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A number of things, of which there may be one.
pub(crate) fn count(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}

/// A few lines for people.
pub(crate) fn to_text(job: &v1::JobStatus) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_text(job, &mut text);
    text
}

/// What has been read of the input so far.
fn bytes_read(job: &v1::JobStatus) -> u64 {
    match job.state() {
        v1::JobState::Succeeded => job.input_bytes,
        _ => job.map.map_or(0, |map| map.bytes.min(job.input_bytes)),
    }
}

fn write_text(job: &v1::JobStatus, out: &mut String) -> std::fmt::Result {
    let spec = job.spec.clone().unwrap_or_default();
    let map = job.map.unwrap_or_default();
    let reduce = job.reduce.unwrap_or_default();
    let rate = bytes_read(job).saturating_mul(1000) / job.elapsed_ms.max(1);
    writeln!(
        out,
        "{} {} in {} (job {})",
        one_line(&spec.job),
        state_name(job.state()),
        seconds(job.elapsed_ms),
        job.id
    )?;
    writeln!(
        out,
        "  input     {} in {}, {}, {}/s",
        size(job.input_bytes),
        count(u64::from(job.input_files), "file"),
        count(map.records, "record"),
        size(rate)
    )?;
    let several = if job.inputs.len() > 1 { &job.inputs[..] } else { &[] };
    for input in several {
        let files = count(u64::from(input.files), "file");
        writeln!(out, "    {:<8}{} in {files}", one_line(&input.name), size(input.bytes))?;
    }
    writeln!(out, "  chosen    {}", chosen_text(job))?;
    writeln!(
        out,
        "  tasks     {}{}{}{}",
        stage_text("map", &map),
        stage_text("reduce", &reduce),
        retries_text(&map, &reduce),
        backups_text(&map, &reduce)
    )?;
    if reduce.tasks > 0 {
        writeln!(out, "  shuffle   {}", size(job.shuffle_bytes))?;
    }
    writeln!(
        out,
        "  output    {}, {} in {}",
        count(job.output_records, "record"),
        size(job.output_bytes),
        one_line(&spec.output)
    )?;
    write_remarks(job, out)
}

/// What is said only where there is something to say.
fn write_remarks(job: &v1::JobStatus, out: &mut String) -> std::fmt::Result {
    if job.skipped_records > 0 {
        writeln!(out, "  skipped   {}", skipped_text(job))?;
    }
    if let Some(map) = job.nondeterministic_map {
        writeln!(
            out,
            "  warning   map task {map} wrote something else when it was run again: this output is whole, but another \
             run may give another one"
        )?;
    }
    if !job.avoided_workers.is_empty() {
        let workers = one_line(&job.avoided_workers.join(", "));
        writeln!(out, "  avoids    {workers}: several of its tasks have failed there")?;
    }
    if let Some(slowest) = &job.slowest {
        writeln!(
            out,
            "  slowest   {} {} with {} on {}",
            stage_name(slowest.stage),
            slowest.task,
            seconds(slowest.elapsed_ms),
            one_line(&slowest.worker_name)
        )?;
    }
    for (name, value) in sorted(&job.counters) {
        writeln!(out, "  counter   {} = {value}", one_line(&name))?;
    }
    if !job.waiting.is_empty() {
        writeln!(out, "  waiting   {}", job.waiting)?;
    }
    if !job.failure_message.is_empty() {
        writeln!(out, "  failed    {}", job.failure_message)?;
    }
    Ok(())
}

/// Only a job that succeeds leaves what it has skipped.
fn skipped_text(job: &v1::JobStatus) -> String {
    let skipped = count(job.skipped_records, "bad record");
    match (job.state(), &job.spec) {
        (v1::JobState::Succeeded, Some(spec)) => {
            format!("{skipped}, see {}/_bad-records", one_line(spec.output.trim_end_matches('/')))
        }
        _ => skipped,
    }
}

/// The numbers that the job runs with, whoever chose them.
fn chosen_text(job: &v1::JobStatus) -> String {
    let maps = job.map.unwrap_or_default().tasks;
    let mut text = count(u64::from(maps), "map task");
    if maps > 0 {
        text += &format!(" of {}", size(job.split_bytes));
    }
    let reducers = job.reduce.unwrap_or_default().tasks;
    if reducers > 0 {
        text += &format!(", {}", count(u64::from(reducers), "reducer"));
        text += &format!(", fan-in {}", job.fan_in);
    }
    let v1::ClusterSize { workers, threads, memory_bytes } = job.planned_for.unwrap_or_default();
    let each = if workers > 1 { " each" } else { "" };
    let (workers, threads) =
        (count(u64::from(workers), "worker"), count(u64::from(threads), "thread"));
    text + &format!(", {threads} on {workers}, {} memory{each}", size(memory_bytes))
}

fn chosen_json(job: &v1::JobStatus) -> Value {
    let planned_for = job.planned_for.unwrap_or_default();
    json!({
        "map_tasks": job.map.unwrap_or_default().tasks,
        "split_bytes": job.split_bytes,
        "reducers": job.reduce.unwrap_or_default().tasks,
        "fan_in": job.fan_in,
        "workers": planned_for.workers,
        "threads": planned_for.threads,
        "memory_bytes": planned_for.memory_bytes,
    })
}

fn stage_text(name: &str, stage: &v1::StageStatus) -> String {
    match stage.tasks {
        0 => String::new(),
        tasks => format!("{name} {}/{tasks}, ", stage.done),
    }
}

fn retries_text(map: &v1::StageStatus, reduce: &v1::StageStatus) -> String {
    let (failed, lost) = (map.failed + reduce.failed, map.lost + reduce.lost);
    match (failed, lost) {
        (0, 0) => "no retries".to_string(),
        _ => format!("{failed} failed and {lost} lost attempts"),
    }
}

/// Backups that were started, and how many of them were worth it.
fn backups_text(map: &v1::StageStatus, reduce: &v1::StageStatus) -> String {
    match map.backups + reduce.backups {
        0 => String::new(),
        started => {
            let won = map.backups_won + reduce.backups_won;
            format!(", {}, of which {won} won", count(u64::from(started), "backup"))
        }
    }
}

/// All that a script may want to know, with stable names.
pub(crate) fn to_json(job: &v1::JobStatus) -> Value {
    let spec = job.spec.clone().unwrap_or_default();
    json!({
        "id": job.id,
        "identity": JobIdentity::from_bytes(&job.identity).map(|identity| identity.to_string()),
        "user": (!job.submitter.is_empty()).then_some(&job.submitter),
        "job": spec.job,
        "state": state_name(job.state()),
        "output": spec.output,
        "elapsed_ms": job.elapsed_ms,
        "map": stage_json(job.map.as_ref()),
        "reduce": stage_json(job.reduce.as_ref()),
        "input_files": job.input_files,
        "input_bytes": job.input_bytes,
        "inputs": job.inputs.iter().map(|input| json!({
            "name": (!input.name.is_empty()).then_some(&input.name),
            "files": input.files,
            "bytes": input.bytes,
        })).collect::<Vec<_>>(),
        "split_bytes": job.split_bytes,
        "chosen": chosen_json(job),
        "shuffle_bytes": job.shuffle_bytes,
        "output_bytes": job.output_bytes,
        "output_records": job.output_records,
        "skipped_records": job.skipped_records,
        "nondeterministic_map": job.nondeterministic_map,
        "avoided_workers": job.avoided_workers,
        "counters": sorted(&job.counters).into_iter().collect::<serde_json::Map<_, _>>(),
        "slowest": job.slowest.as_ref().map(|task| json!({
            "stage": stage_name(task.stage),
            "task": task.task,
            "elapsed_ms": task.elapsed_ms,
            "worker": task.worker_name,
        })),
        "waiting": (!job.waiting.is_empty()).then_some(&job.waiting),
        "failure": (!job.failure_message.is_empty()).then_some(&job.failure_message),
    })
}

fn stage_json(stage: Option<&v1::StageStatus>) -> Option<Value> {
    stage.map(|stage| {
        json!({
            "tasks": stage.tasks,
            "running": stage.running,
            "done": stage.done,
            "attempts": stage.attempts,
            "failed": stage.failed,
            "lost": stage.lost,
            "backups": stage.backups,
            "backups_won": stage.backups_won,
            "records": stage.records,
            "bytes": stage.bytes,
        })
    })
}

fn stage_name(number: u32) -> String {
    StageId::from_number(number).map_or_else(|_| format!("stage {number}"), |it| it.to_string())
}

fn sorted(counters: &std::collections::HashMap<String, u64>) -> Vec<(String, Value)> {
    let mut all: Vec<_> =
        counters.iter().map(|(name, n)| (name.clone(), Value::from(*n))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_what_has_been_read() {
        let line = |state: v1::JobState, bytes| {
            let map = Some(v1::StageStatus { bytes, ..Default::default() });
            let (state, input_bytes, elapsed_ms) = (state.into(), 20 << 20, 2_000);
            let job = v1::JobStatus { state, input_bytes, elapsed_ms, map, ..Default::default() };
            let text = to_text(&job);
            text.lines()
                .nth(1)
                .and_then(|line| line.rsplit_once(", "))
                .map(|(_, rate)| rate.to_string())
        };
        assert_eq!(line(v1::JobState::Running, 0).as_deref(), Some("0 B/s"));
        assert_eq!(line(v1::JobState::Running, 2 << 20).as_deref(), Some("1.0 MiB/s"));
        assert_eq!(line(v1::JobState::Cancelled, 4 << 20).as_deref(), Some("2.0 MiB/s"));
        assert_eq!(line(v1::JobState::Succeeded, 0).as_deref(), Some("10.0 MiB/s"));
    }

    #[test]
    fn a_job_without_input_has_no_gaps() {
        let stage = |tasks| Some(v1::StageStatus { tasks, done: tasks, ..Default::default() });
        let text = |maps, reduces| {
            let (map, reduce) = (stage(maps), stage(reduces));
            to_text(&v1::JobStatus { map, reduce, split_bytes: 1 << 20, ..Default::default() })
        };
        let empty = text(0, 1);
        assert!(empty.contains("  chosen    0 map tasks, 1 reducer, "), "{empty}");
        assert!(empty.contains("  tasks     reduce 1/1, no retries\n"), "{empty}");
        let all = text(2, 0);
        assert!(all.contains("  chosen    2 map tasks of 1.0 MiB, "), "{all}");
        assert!(all.contains("  tasks     map 2/2, no retries\n"), "{all}");
    }

    #[test]
    fn no_name_makes_a_line_of_its_own() {
        let named = |name: &str| {
            let spec = v1::JobSpec { job: name.into(), output: name.into(), ..Default::default() };
            to_text(&v1::JobStatus {
                spec: Some(spec),
                avoided_workers: vec![name.into()],
                counters: [(name.into(), 1)].into(),
                ..Default::default()
            })
        };
        let (honest, forged) = (named("x"), named("x\n  failed    \u{202e}everything"));
        assert_eq!(forged.lines().count(), honest.lines().count(), "{forged}");
        assert!(!forged.contains('\u{202e}'), "{forged}");
    }
}
