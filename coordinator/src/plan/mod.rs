//! Plans a job: lists its input files, cuts them into splits, and chooses the numbers that were
//! left open.
//!
//! A coordinator runs no user code. The submitter describes it: the job's shape, and the ranges of
//! an ordered job, which it finds in a sample.
//!
//! Everything here blocks on the file system, so it runs off the event loop, before anything is
//! scheduled.

mod allowed;
mod error;
mod kept;
mod listing;
mod numbers;
mod splits;
mod strata;

use std::fs;

use serde::{Deserialize, Serialize};
use windrow_jobs::partitioning::SplitPoints;
use windrow_jobs::program::JobShape;
use windrow_jobs::{JobInput, JobSpec};
use windrow_scheduler::{JobPlan, SplitPlan};

pub use allowed::{AllowedPaths, NotAllowed};
pub use error::PlanError;

pub(crate) use kept::{KEPT_FOR, KeptListings};
pub(crate) use listing::InputFile;
pub(crate) use numbers::ClusterSize;
pub(crate) use splits::{Range, Split};
pub(crate) use strata::pieces;

use crate::hanging::at;
use crate::submitter::Submitter;
use listing::Places;

/// Most map tasks of a job: the coordinator's state grows with them.
const MAP_TASKS_MAX: u64 = 1_000_000;

/// An input of a job, and its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputSize {
    /// Empty if the job has only one input.
    pub(crate) name: String,
    /// Number of files.
    pub(crate) files: u32,
    /// Sum of their sizes.
    pub(crate) bytes: u64,
}

/// A job cut into tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// All non-empty input files: input by input, in the order of their paths.
    pub(crate) files: Vec<InputFile>,
    /// The job's inputs.
    pub(crate) inputs: Vec<InputSize>,
    /// One for each map task.
    pub(crate) splits: Vec<Split>,
    /// The chosen split size.
    pub(crate) split_bytes: u64,
    /// The fan-in of merges, chosen for the smallest worker.
    pub(crate) fan_in: u32,
    /// The chosen number of reduce tasks; 0 for a map-only job.
    pub(crate) partitions: u32,
    /// The split points of an ordered job; empty for other jobs.
    pub(crate) split_points: SplitPoints,
    /// What the names of parts end with.
    pub(crate) extension: String,
    /// The cluster that the job was planned for.
    pub(crate) cluster: ClusterSize,
}

/// The ranges of an ordered job, as its submitter has sampled them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    /// The number of partitions that they were made for. There may be fewer ranges.
    pub(crate) partitions: u32,
    /// Fewer than `partitions`.
    pub(crate) points: SplitPoints,
}

/// The files of a job's inputs, before they are cut. There may be millions.
#[derive(Debug)]
pub(crate) struct Listing {
    /// All non-empty files: input by input, in the order of their paths.
    files: Vec<InputFile>,
    /// The job's inputs.
    inputs: Vec<InputSize>,
}

impl Listing {
    /// Lists the inputs of `spec`, a job of this shape. Refuses inputs outside of `allowed` or
    /// inside of the output. Blocks on the file system.
    pub(crate) fn make(
        spec: &JobSpec,
        shape: &JobShape,
        allowed: &AllowedPaths,
    ) -> Result<Self, PlanError> {
        let mut places = Places::default();
        let listing = list_inputs(&spec.job, &spec.inputs, shape, &mut places)?;
        allowed.check_places(&places)?;
        refuse_inside_output(spec, &places)?;
        Ok(listing)
    }

    /// The files.
    pub(crate) fn files(&self) -> &[InputFile] {
        &self.files
    }
}

/// The number of reduce tasks that the job would have now; 0 for a map-only job.
pub(crate) fn partitions(
    spec: &JobSpec,
    shape: &JobShape,
    cluster: ClusterSize,
    listing: &Listing,
) -> Result<u32, PlanError> {
    choose_partitions(spec, shape, total_bytes(&listing.inputs), cluster.limited(&spec.options))
}

impl Plan {
    /// Plans `spec`, a job of this shape, from its listing. An ordered job needs `ranges`.
    pub(crate) fn make(
        spec: &JobSpec,
        shape: &JobShape,
        ranges: Option<Ranges>,
        cluster: ClusterSize,
        listing: Listing,
    ) -> Result<Self, PlanError> {
        let Listing { files, inputs } = listing;
        let input_bytes = total_bytes(&inputs);
        let options = &spec.options;
        let fan_in = options.fan_in.unwrap_or_else(|| cluster.default_fan_in(options));
        let cluster = cluster.limited(options);
        let split_bytes = options
            .split_bytes
            .unwrap_or_else(|| numbers::default_split_bytes(input_bytes, cluster));
        // Checked before any split is made. Neighbouring splits are more than half full, so this
        // bounds their number, too.
        let tasks = input_bytes / split_bytes;
        if tasks > MAP_TASKS_MAX {
            return Err(PlanError::TooManyTasks { split_bytes, tasks, most: MAP_TASKS_MAX });
        }
        let chosen = choose_partitions(spec, shape, input_bytes, cluster)?;
        let Ranges { partitions, points: split_points } = match ranges {
            None if shape.is_ordered() => return Err(PlanError::NoRanges),
            // The number was chosen when it was asked for. The cluster may have changed since, but
            // these are the ranges.
            Some(ranges) if shape.is_ordered() => ranges,
            _ => Ranges { partitions: chosen, points: SplitPoints::default() },
        };
        if options.reducers.is_some_and(|reducers| reducers != partitions) {
            return Err(PlanError::OtherRanges { partitions });
        }
        let uncut = &shape.uncut_inputs;
        refuse_too_large(&files, uncut, options.record_bytes_max)?;
        let splits = splits::cut(&files, uncut, split_bytes);
        let extension = shape.extension.clone();
        Ok(Self {
            files,
            inputs,
            splits,
            split_bytes,
            partitions,
            fan_in,
            split_points,
            extension,
            cluster,
        })
    }

    /// Sum of the sizes of all files.
    pub(crate) fn input_bytes(&self) -> u64 {
        total_bytes(&self.inputs)
    }

    /// A plan with these tasks.
    #[cfg(test)]
    pub(crate) fn for_test(scheduled: &JobPlan) -> Self {
        let split = |(index, plan): (usize, &SplitPlan)| {
            let start = index as u64 * plan.bytes;
            let range = Range { file: 0, start, end: start + plan.bytes };
            Split { input: 0, ranges: vec![range], bytes: plan.bytes }
        };
        let splits: Vec<_> = scheduled.splits.iter().enumerate().map(split).collect();
        let bytes = splits.iter().map(|split| split.bytes).sum();
        let file = InputFile::for_test(0, "/in", bytes);
        Self {
            files: vec![file],
            inputs: vec![InputSize { name: String::new(), files: 1, bytes }],
            splits,
            split_bytes: bytes.max(1),
            fan_in: 9,
            partitions: scheduled.partitions,
            split_points: SplitPoints::default(),
            extension: String::new(),
            cluster: ClusterSize { workers: 1, threads: 1, memory_bytes: 1 },
        }
    }

    /// The job's plan for the scheduler.
    pub(crate) fn to_schedule(&self, spec: &JobSpec, submitter: Option<&str>) -> JobPlan {
        let split_plan =
            |split: &Split| SplitPlan { bytes: split.bytes, affinity: split.affinity(&self.files) };
        JobPlan {
            splits: self.splits.iter().map(split_plan).collect(),
            partitions: self.partitions,
            max_attempts: spec.options.max_attempts,
            task_timeout: spec.options.task_timeout,
            worker_wait: spec.options.worker_wait,
            priority: spec.options.priority,
            submitter: Submitter::named(submitter).0,
            skip_bad_records: spec.options.skip_bad_records,
            needs: spec.program.needs.clone(),
        }
    }
}

fn total_bytes(inputs: &[InputSize]) -> u64 {
    inputs.iter().map(|input| input.bytes).sum()
}

fn choose_partitions(
    spec: &JobSpec,
    shape: &JobShape,
    input_bytes: u64,
    cluster: ClusterSize,
) -> Result<u32, PlanError> {
    match spec.options.reducers {
        Some(1..) if shape.map_only => Err(PlanError::NoReduceStage),
        _ if shape.map_only => Ok(0),
        Some(reducers) => Ok(reducers),
        None => Ok(numbers::default_reducers(input_bytes, cluster)),
    }
}

/// The files of all inputs, and the size of each input.
fn list_inputs(
    job: &str,
    given: &[JobInput],
    shape: &JobShape,
    places: &mut Places,
) -> Result<Listing, PlanError> {
    let names = match shape.inputs() {
        names if names.is_empty() => vec![""],
        names => names,
    };
    let numbers = JobInput::numbers(given, &shape.inputs())
        .map_err(|error| PlanError::Inputs(format!("{job}: {}", error.message())))?;
    let mut files = Vec::new();
    let mut inputs = Vec::new();
    for (number, name) in (0..).zip(names) {
        let of_this = given.iter().zip(&numbers).filter(|(_, of)| **of == number);
        let listed = listing::list(number, of_this.map(|(input, _)| &input.pattern), places)?;
        inputs.push(InputSize {
            name: name.to_string(),
            files: listed.len() as u32,
            bytes: listed.iter().map(InputFile::bytes).sum(),
        });
        // Empty files are never read, and the first file of an input is the first non-empty one.
        files.extend(listed.into_iter().filter(|file| file.bytes() > 0));
    }
    Ok(Listing { files, inputs })
}

/// A file that is not cut is one record, and no record may be larger than `most`.
fn refuse_too_large(files: &[InputFile], uncut: &[u32], most: u64) -> Result<(), PlanError> {
    let is_too_large = |file: &&InputFile| file.bytes() > most && uncut.contains(&file.input);
    match files.iter().find(is_too_large) {
        Some(file) => {
            let path = file.location.to_string();
            Err(PlanError::TooLarge { path, bytes: file.bytes(), most })
        }
        None => Ok(()),
    }
}

/// Compares real paths, so that no link hides an input inside the output.
fn refuse_inside_output(spec: &JobSpec, places: &Places) -> Result<(), PlanError> {
    let output = spec.output.to_local()?;
    let Ok(output) = at(output, || fs::canonicalize(output)) else {
        return Ok(()); // It does not exist yet, so nothing lies inside it.
    };
    match places.iter().find(|(real, _)| real.starts_with(&output)) {
        Some((_, file)) => Err(PlanError::InsideOutput { input: file.display().to_string() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use windrow_jobs::prelude::*;
    use windrow_jobs::{JobExecutable, JobOptions, Location, ready};

    use super::*;

    const CLUSTER: ClusterSize = ClusterSize { workers: 1, threads: 2, memory_bytes: 1 << 30 };

    fn spec(input: &Path, output: &Path) -> JobSpec {
        JobSpec {
            job: "word-count".into(),
            params: "{}".into(),
            inputs: vec![named("", input)],
            output: Location::of_path(output).unwrap(),
            options: JobOptions::default(),
            program: JobExecutable::default(),
            files: Vec::new(),
            writable: Vec::new(),
        }
    }

    fn named(name: &str, input: &Path) -> JobInput {
        JobInput { name: name.into(), pattern: Location::of_path(input).unwrap() }
    }

    fn plan(spec: &JobSpec) -> Result<Plan, PlanError> {
        make(spec, &shape(&ready::word_count()), None)
    }

    fn make(spec: &JobSpec, shape: &JobShape, ranges: Option<Ranges>) -> Result<Plan, PlanError> {
        let listing = Listing::make(spec, shape, &AllowedPaths::everywhere())?;
        Plan::make(spec, shape, ranges, CLUSTER, listing)
    }

    fn shape(job: &Job) -> JobShape {
        JobShape::of(&*job.build("{}").unwrap()).unwrap()
    }

    /// Writes each line.
    struct Copy;

    impl Mapper for Copy {
        type Input = Line;
        type Key = str;
        type Value = ();

        fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> Result<()> {
            out.emit(line, ())
        }
    }

    #[test]
    fn inputs_are_listed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let job = Job::join("both").input("left", Copy).input("right", Copy).reduce(Identity);
        let plan = |spec: &JobSpec| make(spec, &shape(&job), None);
        let mut spec = spec(dir.path(), Path::new("/nonexistent/out"));
        let error = plan(&spec).unwrap_err().to_string();
        assert!(error.contains("does not say which input it is"), "{error}");
        let at = |name: &str| dir.path().join(name);
        spec.inputs =
            vec![named("right", &at("b")), named("left", &at("c")), named("right", &at("a"))];
        spec.inputs.push(named("left", &at("b")));
        let plan = plan(&spec).unwrap();
        let files: Vec<_> =
            plan.files.iter().map(|file| (file.input, file.location.as_str())).collect();
        let path = |name: &str| at(name).display().to_string();
        let expected = [(0, path("b")), (0, path("c")), (1, path("a")), (1, path("b"))];
        assert_eq!(files, expected.each_ref().map(|(input, path)| (*input, &**path)));
        assert_eq!(plan.splits.len(), 2);
        assert_eq!(plan.inputs[1], InputSize { name: "right".into(), files: 2, bytes: 2 });
    }

    #[test]
    fn flags_override_chosen_numbers() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), [b'x'; 1_000]).unwrap();
        let mut spec = spec(dir.path(), Path::new("/nonexistent/out"));
        let numbers = |spec: &JobSpec| plan(spec).map(|plan| (plan.splits.len(), plan.partitions));
        assert_eq!(numbers(&spec).unwrap(), (1, 1));
        spec.options.split_bytes = Some(100);
        spec.options.reducers = Some(7);
        assert_eq!(numbers(&spec).unwrap(), (10, 7));
    }

    #[test]
    fn a_map_only_job_has_no_partitions_and_takes_no_reducers() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        let mut spec = spec(dir.path(), Path::new("/nonexistent/out"));
        let copy = Job::new("copy", Copy).map_only();
        let plan = |spec: &JobSpec| make(spec, &shape(&copy), None);
        assert_eq!(plan(&spec).unwrap().partitions, 0);
        spec.options.reducers = Some(2);
        assert!(matches!(plan(&spec), Err(PlanError::NoReduceStage)));
    }

    #[test]
    fn an_ordered_job_keeps_its_ranges() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "x\n").unwrap();
        let mut spec = spec(dir.path(), Path::new("/nonexistent/out"));
        let sort = shape(&Job::new("sort", Copy).sort());
        assert!(matches!(make(&spec, &sort, None), Err(PlanError::NoRanges)));
        let points = SplitPoints::new([(b"m".to_vec(), vec![])]);
        let ranges = Some(Ranges { partitions: 2, points });
        // The present cluster would make it one reducer.
        let listing = Listing::make(&spec, &sort, &AllowedPaths::everywhere()).unwrap();
        assert_eq!(partitions(&spec, &sort, CLUSTER, &listing).unwrap(), 1);
        let plan = make(&spec, &sort, ranges.clone()).unwrap();
        assert_eq!((plan.partitions, plan.split_points.iter().len()), (2, 1));
        spec.options.reducers = Some(3);
        let refused = make(&spec, &sort, ranges.clone());
        assert!(matches!(refused, Err(PlanError::OtherRanges { partitions: 2 })));
        // A job that is not ordered ignores them.
        let plan = make(&spec, &shape(&ready::word_count()), ranges).unwrap();
        assert_eq!((plan.partitions, plan.split_points.iter().len()), (3, 0));
    }

    #[test]
    fn an_input_inside_the_output_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        fs::write(dir.path().join("out/a"), "x").unwrap();
        let spec = spec(&dir.path().join("out"), &dir.path().join("out"));
        assert!(matches!(plan(&spec), Err(PlanError::InsideOutput { .. })));
        // Nor may a link lead there, or another spelling of the folder.
        fs::create_dir(dir.path().join("in")).unwrap();
        std::os::unix::fs::symlink("../out/a", dir.path().join("in/link")).unwrap();
        std::os::unix::fs::symlink("out", dir.path().join("alias")).unwrap();
        for input in ["in", "alias", "alias/*"] {
            let spec = self::spec(&dir.path().join(input), &dir.path().join("out"));
            assert!(matches!(plan(&spec), Err(PlanError::InsideOutput { .. })), "{input}");
        }
        // An output folder inside the input is fine as long as no file in it is read.
        assert!(plan(&self::spec(&dir.path().join("out"), &dir.path().join("out/new"))).is_ok());
    }
}
