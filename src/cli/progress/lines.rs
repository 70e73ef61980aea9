//! Plain lines on standard error for logs: one when something has changed, at most one a second.

use std::time::{Duration, Instant};

use windrow_proto::v1;

use super::{Reporter, tasks_text, waiting};
use crate::cli::{stderr, stdout, summary};
use crate::client::Accepted;

const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Lines {
    printed: Option<Instant>,
    last: String,
    waits: bool,
}

impl Reporter for Lines {
    fn shipped(&mut self, bytes: u64) {
        if bytes > 0 {
            stderr::line(format_args!("sent {} of program and side files", summary::size(bytes)));
        }
    }

    fn accepted(&mut self, job: &Accepted, detached: bool) {
        if detached {
            stdout::line(format_args!("{}", job.number));
        } else {
            stderr::line(format_args!("job {} accepted", job.number));
        }
    }

    fn update(&mut self, status: &v1::JobStatus) {
        let waits_for = waiting(status);
        if !waits_for.is_empty() && !self.waits {
            stderr::line(format_args!("waiting: {waits_for}"));
        }
        self.waits = !waits_for.is_empty();
        if self.printed.is_some_and(|printed| printed.elapsed() < INTERVAL) {
            return;
        }
        let map = status.map.unwrap_or_default();
        let reduce = status.reduce.unwrap_or_default();
        let mut line = format!(
            "map {}, {} records, {}",
            tasks_text(&map),
            map.records,
            summary::size(map.bytes)
        );
        if reduce.tasks > 0 && map.done == map.tasks {
            line += &format!("; reduce {}, {} records", tasks_text(&reduce), reduce.records);
        }
        if line != self.last {
            stderr::line(format_args!("{line}"));
            self.last = line;
            self.printed = Some(Instant::now());
        }
    }

    fn note(&mut self, text: &str) {
        stderr::line(format_args!("windrow: {text}"));
    }

    fn finished(&mut self, status: &v1::JobStatus) {
        stdout::text(&summary::to_text(status));
    }
}
