//! Plain lines on standard error for logs: one when a stage moves on, at most one a second.

use std::time::{Duration, Instant};

use windrow_proto::v1;

use super::{Reporter, tasks_text};
use crate::cli::summary;

const INTERVAL: Duration = Duration::from_secs(1);
/// A job that waits for less is only starting.
const WAITING_MS_MIN: u64 = 500;

#[derive(Default)]
pub(crate) struct Lines {
    last: Option<Instant>,
    waits: bool,
}

impl Reporter for Lines {
    fn accepted(&mut self, job: u64, detached: bool) {
        if detached {
            println!("{job}");
        } else {
            eprintln!("job {job} accepted");
        }
    }

    fn update(&mut self, status: &v1::JobStatus) {
        let waits = !status.waiting.is_empty() && status.elapsed_ms >= WAITING_MS_MIN;
        if waits && !self.waits {
            eprintln!("waiting: {}", status.waiting);
        }
        self.waits = waits;
        if self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        self.last = Some(Instant::now());
        let map = status.map.clone().unwrap_or_default();
        let reduce = status.reduce.clone().unwrap_or_default();
        let mut line = format!(
            "map {}, {} records, {}",
            tasks_text(&map),
            map.records,
            summary::size(map.bytes)
        );
        if reduce.tasks > 0 && map.done == map.tasks {
            line += &format!("; reduce {}, {} records", tasks_text(&reduce), reduce.records);
        }
        eprintln!("{line}");
    }

    fn note(&mut self, text: &str) {
        eprintln!("windrow: {text}");
    }

    fn finished(&mut self, status: &v1::JobStatus) {
        print!("{}", summary::to_text(status));
    }
}
