//! From a job's description to tasks: lists the input files, cuts them into splits, chooses the numbers left open.
//!
//! Everything here blocks on the file system, so it runs outside the event loop, and before anything is scheduled.

mod error;
mod listing;
mod numbers;
mod splits;

use std::fs;

use windrow_jobs::JobSpec;
use windrow_jobs::program::SplitPoints;
use windrow_scheduler::{JobPlan, SplitPlan};

pub(crate) use error::PlanError;
pub(crate) use listing::InputFile;
pub(crate) use numbers::ClusterSize;
pub(crate) use splits::{Range, Split};

/// Most map tasks of a job: the coordinator's state grows with them.
const MAP_TASKS_MAX: u64 = 1_000_000;

/// A job cut into tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// All input files, in the order of their paths.
    pub(crate) files: Vec<InputFile>,
    /// One a map task.
    pub(crate) splits: Vec<Split>,
    /// Most bytes of a split, as chosen.
    pub(crate) split_bytes: u64,
    /// Number of reduce tasks, as chosen; 0 for a map-only job.
    pub(crate) partitions: u32,
    /// Sum of the sizes of all files.
    pub(crate) input_bytes: u64,
    /// Where the ranges of an ordered job begin; empty for all others.
    pub(crate) split_points: SplitPoints,
}

impl Plan {
    /// Plans `spec`. Blocks on the file system.
    pub(crate) fn make(
        spec: &JobSpec,
        map_only: bool,
        cluster: ClusterSize,
    ) -> Result<Self, PlanError> {
        let files = listing::list(&spec.inputs)?;
        refuse_inside_output(spec, &files)?;
        let input_bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let options = &spec.options;
        let split_bytes = options
            .split_bytes
            .unwrap_or_else(|| numbers::default_split_bytes(input_bytes, cluster));
        // Checked before any split is made. Neighbours fill more than one split, so it bounds their number too.
        let tasks = input_bytes / split_bytes;
        if tasks > MAP_TASKS_MAX {
            return Err(PlanError::TooManyTasks { split_bytes, tasks, most: MAP_TASKS_MAX });
        }
        let partitions = match options.reducers {
            Some(1..) if map_only => return Err(PlanError::NoReduceStage),
            _ if map_only => 0,
            Some(reducers) => reducers,
            None => numbers::default_reducers(input_bytes, cluster),
        };
        let splits = splits::cut(&files, split_bytes);
        let split_points = SplitPoints::default();
        Ok(Self { files, splits, split_bytes, partitions, input_bytes, split_points })
    }

    /// What the scheduler needs to know of it.
    pub(crate) fn to_schedule(&self, spec: &JobSpec) -> JobPlan {
        let split_plan =
            |split: &Split| SplitPlan { bytes: split.bytes, affinity: split.affinity(&self.files) };
        JobPlan {
            splits: self.splits.iter().map(split_plan).collect(),
            partitions: self.partitions,
            max_attempts: spec.options.max_attempts,
            task_timeout: spec.options.task_timeout,
            worker_wait: spec.options.worker_wait,
            priority: spec.options.priority,
        }
    }
}

/// Compared as the system sees them, so that no link hides one inside the other.
fn refuse_inside_output(spec: &JobSpec, files: &[InputFile]) -> Result<(), PlanError> {
    let Ok(output) = fs::canonicalize(&spec.output) else {
        return Ok(()); // It does not exist yet, so nothing lies inside it.
    };
    let inside = |file: &&InputFile| {
        fs::canonicalize(&file.path).is_ok_and(|path| path.starts_with(&output))
    };
    match files.iter().find(inside) {
        Some(file) => Err(PlanError::InsideOutput { input: file.path.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use windrow_jobs::JobOptions;

    use super::*;

    const CLUSTER: ClusterSize = ClusterSize { workers: 1, threads: 2 };

    fn spec(input: &Path, output: &Path) -> JobSpec {
        JobSpec {
            job: "word-count".into(),
            params: "null".into(),
            inputs: vec![input.display().to_string()],
            output: output.to_path_buf(),
            options: JobOptions::default(),
        }
    }

    #[test]
    fn chosen_numbers_give_way_to_flags() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), [b'x'; 1_000]).unwrap();
        let mut spec = spec(dir.path(), Path::new("/nonexistent/out"));
        let plan = Plan::make(&spec, false, CLUSTER).unwrap();
        assert_eq!((plan.splits.len(), plan.partitions), (1, 1));
        spec.options.split_bytes = Some(100);
        spec.options.reducers = Some(7);
        let plan = Plan::make(&spec, false, CLUSTER).unwrap();
        assert_eq!((plan.splits.len(), plan.partitions), (10, 7));
    }

    #[test]
    fn a_map_only_job_has_no_partitions_and_takes_no_reducers() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        let mut spec = spec(dir.path(), Path::new("/nonexistent/out"));
        assert_eq!(Plan::make(&spec, true, CLUSTER).unwrap().partitions, 0);
        spec.options.reducers = Some(2);
        assert!(matches!(Plan::make(&spec, true, CLUSTER), Err(PlanError::NoReduceStage)));
    }

    #[test]
    fn an_input_inside_the_output_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        fs::write(dir.path().join("out/a"), "x").unwrap();
        let spec = spec(&dir.path().join("out"), &dir.path().join("out"));
        assert!(matches!(Plan::make(&spec, false, CLUSTER), Err(PlanError::InsideOutput { .. })));
    }
}
