//! An attacker with write access replaces each name that a publication touches, at each of its
//! steps. Nothing outside of the output changes, nothing hangs, and either the result is right, or
//! there is none and the old one is back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use windrow_scheduler::journal::Epoch;

use super::super::publish;
use super::{job, stage};
use crate::failpoint::{Failpoint, FailpointId};
use crate::output::manifest::OF_ANOTHER_JOB;
use windrow_jobs::PartKind;

use crate::output::{Publication, Reservation, Stop, TEMPORARY};

/// Far longer than a publication of two parts takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the attacker plants.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Plant {
    LinkToFolder,
    LinkToFile,
    DanglingLink,
    LinkToZeros,
    Pipe,
    Folder,
    HardLink,
}

const PLANTS: [Plant; 7] = [
    Plant::LinkToFolder,
    Plant::LinkToFile,
    Plant::DanglingLink,
    Plant::LinkToZeros,
    Plant::Pipe,
    Plant::Folder,
    Plant::HardLink,
];

/// The folder in which it is planted, which decides who can.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    /// Writable for the job itself.
    Staging,
    /// Writable with access to the whole output.
    Temporary,
    Output,
    /// Writable as the coordinator's own user.
    PrivateFolder,
}

const NAMES: [(Where, &[&str]); 4] = [
    (
        Where::Staging,
        &[
            "part-00000.1",
            "part-00001.2",
            "bad-reduce-00007.3",
            "_SUCCESS",
            "replaced",
            "replaced.all-aside",
            "parts",
        ],
    ),
    (Where::Temporary, &["lock", "attempts-UNIQUE", "commit-UNIQUE.1", "own-UNIQUE.1.x"]),
    (Where::Output, &["part-00000", "part-00001", "_SUCCESS", "_bad-records", "_temporary"]),
    (Where::PrivateFolder, &["_SUCCESS", "replaced", "replaced.all-aside", "parts"]),
];

/// When it is planted: before everything, or at the n-th occurrence of a step.
const STEPS: [Option<(FailpointId, u64)>; 9] = [
    None,
    Some((FailpointId::MovedAside, 1)),
    Some((FailpointId::AllAside, 1)),
    Some((FailpointId::PartChecked, 1)),
    Some((FailpointId::PartChecked, 2)),
    Some((FailpointId::PartRenamed, 1)),
    Some((FailpointId::PartRenamed, 2)),
    Some((FailpointId::BeforeManifest, 1)),
    Some((FailpointId::AfterManifest, 1)),
];

/// What happens afterwards.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    GoesOn,
    /// The coordinator dies, and another one continues.
    Dies,
    /// The coordinator dies, and another job takes the output.
    NextJob,
}

/// A tree that must not change: names, kinds, modes, times and contents.
type Tree = BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)>;

fn tree(root: &Path) -> Tree {
    let (mut found, mut folders) = (Tree::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let seen = fs::symlink_metadata(&path).unwrap();
            let text = if seen.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            if seen.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (seen.mode(), seen.mtime(), seen.mtime_nsec(), text));
        }
    }
    found
}

fn contents(root: &Path) -> Vec<Vec<u8>> {
    tree(root).into_values().map(|(_, _, _, text)| text).collect()
}

const PARTS_OF_OLD: [&str; 2] = ["OLD-0\n", "OLD-1\n"];
const WITNESS: &str = "second\n";

struct Case {
    dir: TempDir,
    output: PathBuf,
    reservation: Reservation,
    publication: Publication,
    before: Tree,
}

impl Case {
    fn new(overwrite: bool, durable: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let (witness, output) = (real.join("witness"), real.join("out"));
        fs::create_dir_all(witness.join("folder")).unwrap();
        fs::create_dir(&output).unwrap();
        for name in ["file", "folder/part-00000", "folder/_SUCCESS", "folder/part-00001.2"] {
            // As long as a part.
            fs::write(witness.join(name), WITNESS).unwrap();
        }
        if overwrite {
            fs::write(output.join("_SUCCESS"), OF_ANOTHER_JOB).unwrap();
            for (index, text) in PARTS_OF_OLD.iter().enumerate() {
                fs::write(output.join(format!("part-0000{index}")), text).unwrap();
            }
        }
        let reservation = Reservation::take(&output, overwrite, None).unwrap();
        let paths = reservation.paths();
        let part = |index, number, text| stage(paths, PartKind::Output, index, number, text);
        let parts = vec![part(0, 1, "first\n"), part(1, 2, WITNESS)];
        let bad_records = vec![stage(paths, PartKind::BadRecords, 7, 3, "{}\n")];
        let epoch = Epoch(1);
        let publication = Publication { epoch, job: job(), parts, bad_records, overwrite, durable };
        let before = tree(&witness);
        Self { dir, output, reservation, publication, before }
    }

    fn planting(&self, place: Where, name: &str, plant: Plant) -> impl Fn() + Send + Sync + use<> {
        let unique = self.reservation.paths().unique().to_string();
        let name = name.replace("UNIQUE", &unique);
        let (output, witness) = (self.output.clone(), self.witness());
        move || {
            let folder = match place {
                Where::Staging => staging(&output, &unique),
                Where::Temporary => Some(output.join(TEMPORARY)),
                Where::Output => Some(output.clone()),
                Where::PrivateFolder => {
                    entry(&output.join(TEMPORARY), |name| name.starts_with("own-"))
                }
            };
            if let Some(folder) = folder {
                put(&folder.join(&name), &output, &witness, plant);
            }
        }
    }

    fn witness(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("witness")
    }

    /// Whether the new output is complete, and nothing else has its names.
    fn is_published(&self) -> bool {
        let is = |name: &str, text: &str| {
            let path = self.output.join(name);
            let seen = fs::symlink_metadata(&path);
            seen.is_ok_and(|seen| seen.is_file() && seen.nlink() == 1)
                && fs::read_to_string(&path).unwrap() == text
        };
        is("part-00000", "first\n")
            && is("part-00001", WITNESS)
            && is("_bad-records/reduce-00007.jsonl", "{}\n")
    }

    /// Whether the visible content is as before.
    fn is_restored(&self) -> bool {
        let names = fs::read_dir(&self.output).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.filter(|name| name != TEMPORARY).count();
        let is = |(index, text): (usize, &&str)| {
            let part = self.output.join(format!("part-0000{index}"));
            fs::read_to_string(part).is_ok_and(|found| found == *text)
        };
        match self.publication.overwrite {
            true => names == 3 && PARTS_OF_OLD.iter().enumerate().all(is),
            false => names == 0,
        }
    }

    fn nothing_is_lost(&self) -> bool {
        let all = contents(self.dir.path());
        let is_there = |text: &&str| all.iter().any(|found| found == text.as_bytes());
        !self.publication.overwrite || PARTS_OF_OLD.iter().all(is_there)
    }
}

fn entry(folder: &Path, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries.map(|entry| entry.path()).find(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted)
            && fs::symlink_metadata(path).is_ok_and(|seen| seen.is_dir())
    })
}

fn staging(output: &Path, unique: &str) -> Option<PathBuf> {
    entry(&output.join(TEMPORARY), |name| {
        name.contains(unique) && (name.starts_with("attempts-") || name.starts_with("commit-"))
    })
}

/// Plants something; the former entry is moved elsewhere.
fn put(path: &Path, output: &Path, witness: &Path, plant: Plant) {
    if fs::symlink_metadata(path).is_ok() {
        fs::rename(path, output.with_file_name("moved-away")).unwrap();
    }
    let file = witness.join("file");
    match plant {
        Plant::LinkToFolder => symlink(witness.join("folder"), path).unwrap(),
        Plant::LinkToFile => symlink(file, path).unwrap(),
        Plant::DanglingLink => symlink(witness.join("not-there"), path).unwrap(),
        Plant::LinkToZeros => symlink("/dev/zero", path).unwrap(),
        Plant::Pipe => mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap(),
        Plant::HardLink => fs::hard_link(file, path).unwrap(),
        Plant::Folder => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("_SUCCESS"), "planted").unwrap();
        }
    }
}

/// Panics if the thread does not end within the deadline.
pub(super) fn in_time<T: Send + 'static>(
    what: &str,
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(act()));
    match receiver.recv_timeout(DEADLINE) {
        Ok(done) => done,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{what}: {:?}", thread.join().err()),
    }
}

fn run(
    (place, name): (Where, &str),
    plant: Plant,
    step: Option<(FailpointId, u64)>,
    overwrite: bool,
    then: Then,
) {
    let what = format!("{plant:?} as {name} in {place:?} at {step:?}, {overwrite}, {then:?}");
    // Forcing thousands of files to disk takes long.
    let mut case = Case::new(overwrite, plant == Plant::Pipe);
    let planting = case.planting(place, name, plant);
    let failpoint = match step {
        None => {
            planting();
            Failpoint::default()
        }
        Some((step, times)) => Failpoint::acting(step, times, move || {
            planting();
            if then != Then::GoesOn {
                // Without the panic's message: this happens thousands of times.
                std::panic::resume_unwind(Box::new("the coordinator dies"));
            }
        }),
    };
    let stop = Stop::default();
    let first = {
        let publish = || publish(case.reservation.paths(), &case.publication, &failpoint, &stop);
        catch_unwind(AssertUnwindSafe(publish))
    };
    let result = match (first, then) {
        (Ok(result), _) => Some(result),
        (Err(_), Then::Dies) => {
            case.publication.epoch = Epoch(2);
            let paths = case.reservation.paths();
            Some(publish(paths, &case.publication, &Failpoint::default(), &stop))
        }
        (Err(_), _) => None,
    };
    match result {
        Some(Ok(())) if place == Where::Staging => assert!(case.is_published(), "{what}"),
        Some(Ok(())) => {}
        Some(Err(failure)) => {
            let cause = failure.cause.to_string();
            assert!(cause.contains(&case.output.display().to_string()), "{what}: {cause}");
            assert!(case.nothing_is_lost(), "{what}");
            assert!(place != Where::Staging || case.is_restored(), "{what}: {cause}");
        }
        None => assert!(case.nothing_is_lost() || case.is_published(), "{what}"),
    }
    // The next job finds all of that, too.
    let Case { dir, output, reservation, before, .. } = case;
    let witness = dir.path().canonicalize().unwrap().join("witness");
    drop(reservation);
    if let Ok(next) = Reservation::take(&output, true, None) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _ = runtime.block_on(next.discard());
    }
    assert_eq!(tree(&witness), before, "{what}");
}

fn all(place: Where) {
    let (_, names) = NAMES.iter().find(|(there, _)| *there == place).unwrap();
    // Jobs' own access is tried with every combination; for the others, that would take minutes.
    let of = |odd: usize| if place == Where::Staging { 1 } else { odd };
    for name in *names {
        for plant in PLANTS.into_iter().step_by(of(2)) {
            for step in STEPS.into_iter().step_by(of(2)) {
                for overwrite in [false, true] {
                    for then in [Then::GoesOn, Then::Dies, Then::NextJob] {
                        if step.is_none() && then != Then::GoesOn {
                            continue;
                        }
                        let what = format!("{plant:?} as {name} in {place:?} at {step:?}");
                        in_time(&what, move || run((place, name), plant, step, overwrite, then));
                    }
                }
            }
        }
    }
}

#[test]
fn plants_in_the_staging_folder_do_no_harm() {
    all(Where::Staging);
}

#[test]
fn plants_in_the_temporary_folder_do_no_harm() {
    all(Where::Temporary);
}

#[test]
fn plants_in_the_output_do_no_harm() {
    all(Where::Output);
}

#[test]
fn plants_in_the_private_folder_do_no_harm() {
    all(Where::PrivateFolder);
}
