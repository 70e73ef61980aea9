//! A bar a stage on a terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use windrow_proto::v1;

use super::{Reporter, tasks_text, waiting};
use crate::cli::{stdout, summary};
use crate::client::Accepted;

pub(crate) struct Bars {
    bars: MultiProgress,
    map: ProgressBar,
    reduce: ProgressBar,
}

impl Bars {
    pub(crate) fn new() -> Self {
        let bars = MultiProgress::new();
        let bar = |name: &'static str| {
            let style = ProgressStyle::with_template("{prefix:>6} [{bar:30}] {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = bars.add(ProgressBar::new(0));
            bar.set_style(style.progress_chars("=> "));
            bar.set_prefix(name);
            bar
        };
        let (map, reduce) = (bar("map"), bar("reduce"));
        Self { bars, map, reduce }
    }
}

impl Reporter for Bars {
    fn shipped(&mut self, bytes: u64) {
        if bytes > 0 {
            self.note(&format!("sent {} of program and side files", summary::size(bytes)));
        }
    }

    fn accepted(&mut self, job: &Accepted, detached: bool) {
        if detached {
            let _ = self.bars.clear();
            stdout::line(format_args!("{}", job.number));
        } else {
            self.note(&format!("job {} accepted", job.number));
        }
    }

    fn update(&mut self, status: &v1::JobStatus) {
        let waiting = match waiting(status) {
            "" => String::new(),
            waiting => format!(", waiting: {}", stdout::escaped(waiting)),
        };
        if let Some(map) = &status.map {
            show(&self.map, map, status.elapsed_ms, &waiting);
        }
        if let Some(reduce) = &status.reduce {
            show(&self.reduce, reduce, status.elapsed_ms, "");
        }
    }

    fn note(&mut self, text: &str) {
        let _ = self.bars.println(stdout::escaped(text));
    }

    fn finished(&mut self, status: &v1::JobStatus) {
        self.map.finish_and_clear();
        self.reduce.finish_and_clear();
        let _ = self.bars.clear();
        stdout::text(&summary::to_text(status));
    }
}

/// The bar follows bytes where they are known, since tasks are few and large.
fn show(bar: &ProgressBar, stage: &v1::StageStatus, elapsed_ms: u64, note: &str) {
    let (length, position) = match stage.total_bytes {
        0 => (u64::from(stage.tasks), u64::from(stage.done)),
        total => (total, stage.bytes.min(total)),
    };
    bar.set_length(length);
    bar.set_position(position);
    let rate = stage.bytes.saturating_mul(1000) / elapsed_ms.max(1);
    bar.set_message(format!(
        "{}, {} records, {} ({}/s){note}",
        tasks_text(stage),
        stage.records,
        summary::size(stage.bytes),
        summary::size(rate)
    ));
}
