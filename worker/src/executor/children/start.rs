//! Starts a process: its descriptors and limits, the first messages, and the tasks beside it as
//! long as it lives.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use landlock::RulesetCreated;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use windrow_jobs::{FailureCause, JobId, JobIdentity, RecordPlace};
use windrow_proto::v1;
use windrow_proto::v1::to_child::Message;
use windrow_security::Credentials;
use windrow_security::files::make_private_folder;

use super::Children;
use super::child::Child;
use super::confinement::{self, Needs, Writable};
use super::job::ChildrenOfJob;
use super::life::{KernelKills, Process, ProcessEnd};
use super::log;
use super::printed::{Printed, PrintedSoFar};
use super::{spawner, users};
use crate::breadcrumb::{breadcrumb_path, last_place};
use crate::channel::{
    FROM_CHILD_BYTES_MAX, MessageReader, MessageWriter, descriptor_pair, split, stream_pair,
};
use crate::executor::{no_credentials, ready_jobs_folder};
use crate::identity::Leaseholder;
use crate::sync::blocking;
use crate::wire;

/// How long it may take to be ready. The user's `main` runs first.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long its last messages may take to be read when it is gone.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Messages that may wait until it is ready.
const WAITING_MAX: usize = 256;

/// How much it is preferred to its worker by the kernel's out-of-memory killer, out of 1,000.
const KILL_RATHER: &str = "500";

/// Subfolder of the job's folder for temporary files.
pub(super) const TEMPORARY: &str = "tmp";

/// The worker's ends of the connections to a process.
struct Connected {
    process: Process,
    printed: PrintedSoFar,
    child: Child,
    reader: MessageReader<v1::FromChild>,
    writer: MessageWriter<v1::ToChild>,
    queue: mpsc::Receiver<v1::ToChild>,
}

impl Children {
    /// Starts a process for a job, and returns it when it is ready.
    pub(super) async fn start_child(
        self: &Arc<Self>,
        job: &Arc<ChildrenOfJob>,
        outputs_on_disk: bool,
    ) -> Result<Arc<Child>, FailureCause> {
        let serial = self.last_serial.fetch_add(1, Ordering::Relaxed) + 1;
        let failed = |error: io::Error| {
            let program = job.files().map(|files| &files.program);
            let why = program.map_or_else(|| error.to_string(), |it| it.why_not_started(&error));
            FailureCause::Io {
                path: format!("the process of {}", job.id),
                message: format!("cannot be started: {why}"),
                disk_full: false,
            }
        };
        let credentials = self.credentials(job).await?;
        self.prepare_files(job).await?;
        let rules = self.rules(job).await?;
        let connected = self.connect(job, serial, rules).await.map_err(failed)?;
        let Connected { process, printed, child, reader, writer, queue } = connected;
        tracing::info!(job = %job.id, pid = child.pid.as_raw_nonzero(), "started a process");
        self.count_living(1);
        let child = Arc::new(child);
        tokio::spawn(log::follow(job.id, Arc::clone(&child), printed, self.printed.clone()));
        let start = v1::ChildStart {
            job: job.id.0,
            identity: job.identity.to_bytes().to_vec().into(),
            directory: self.directory().display().to_string(),
            serial,
            threads: self.settings.threads,
            memory_bytes: *self.share_bytes.borrow(),
            host: self.settings.host.clone(),
            outputs_on_disk,
            fetch_silence_ms: self.settings.fetch.stall.as_millis() as u64,
            files: side_files(job),
            credentials: credentials.as_deref().map(wire::credentials_to),
            users: self
                .settings
                .local_users
                .numbers()
                .map(|users| v1::ChildUsers { numbers: users.to_vec() }),
        };
        if let Some(credentials) = credentials {
            tokio::spawn(Arc::clone(self).keep_certified(
                job.identity,
                Arc::clone(&child),
                credentials,
            ));
        }
        let (identity, share) = (self.identity.changes(), self.share_bytes.subscribe());
        tokio::spawn(speak(writer, start, identity, share, queue));
        let (is_ready, ready) = oneshot::channel();
        let (listening, of) = (Arc::clone(&child), Arc::clone(job));
        let listening =
            tokio::spawn(async move { listen(&listening, &of, reader, is_ready).await });
        let (children, of, watched) = (Arc::clone(self), Arc::clone(job), Arc::clone(&child));
        tokio::spawn(async move { children.follow(&of, process, &watched, listening).await });
        is_listening(job, child, ready).await
    }

    /// The process's certificate, by which the processes of a job identify themselves to each
    /// other.
    async fn credentials(
        &self,
        job: &ChildrenOfJob,
    ) -> Result<Option<Arc<Credentials>>, FailureCause> {
        let Some(certificates) = &self.settings.certificates else { return Ok(None) };
        let found = tokio::select! {
            found = certificates.of(job.identity) => found,
            () = job.released.cancelled() => return Err(FailureCause::Cancelled),
        };
        match found {
            Ok(tls) => Ok(Some(tls.credentials())),
            Err(error) => Err(no_credentials(job.id, &error)),
        }
    }

    /// Renews a process's credentials before they expire, for as long as it lives.
    async fn keep_certified(
        self: Arc<Self>,
        job: JobIdentity,
        child: Arc<Child>,
        mut credentials: Arc<Credentials>,
    ) {
        let Some(certificates) = &self.settings.certificates else { return };
        loop {
            tokio::select! {
                renewed = certificates.renewed(job, &credentials) => credentials = renewed,
                () = child.gone.cancelled() => return,
            }
            child.give_credentials(wire::credentials_to(&credentials)).await;
        }
    }

    /// The Landlock rules for a process of the job; `None` where nothing is restricted.
    async fn rules(
        self: &Arc<Self>,
        job: &Arc<ChildrenOfJob>,
    ) -> Result<Option<RulesetCreated>, FailureCause> {
        let Some(hidden) = self.settings.hidden.clone() else { return Ok(None) };
        let (children, of) = (Arc::clone(self), Arc::clone(job));
        let made = blocking(move || {
            let files = of.files().ok_or_else(nothing_to_start)?;
            let writable = of.writable(|| {
                Writable::open(&files.staging, &files.writable, &hidden).map(Arc::new)
            })?;
            let needs = Needs {
                folder: &children.folder_of(of.id),
                writable: &writable,
                program: files.program.executable(),
                side_files: files.side_files.iter().map(|(_, path)| path.as_path()).collect(),
            };
            confinement::rules(&hidden, &needs)
        });
        made.await.map(Some).map_err(|error| error.cause(job.id))
    }

    /// Creates the job's folder if it is missing, and checks that parts can be written: otherwise
    /// all maps would run in vain. Restores permissions that other jobs may have removed.
    async fn prepare_files(&self, job: &Arc<ChildrenOfJob>) -> Result<(), FailureCause> {
        let folder = self.folder_of(job.id);
        if let Some(users) = &self.settings.users {
            users::give(users, job, &folder).await?;
        }
        let of = Arc::clone(job);
        let jobs = self.directory().to_path_buf();
        let prepare = move || {
            let user = of.user();
            if user.is_none() {
                make_folders(&jobs, &folder)?;
            }
            let Some(files) = of.files() else { return Ok(()) };
            files.make_usable()?;
            let staging = &files.staging;
            let can_write = match user {
                Some(user) => user.can_write(staging),
                None => {
                    let access = Access::WRITE_OK | Access::EXEC_OK;
                    accessat(CWD, staging, access, AtFlags::EACCESS).map_err(io::Error::from)
                }
            };
            can_write.map_err(|error| FailureCause::output_io(staging, &error))
        };
        let prepared = tokio::task::spawn_blocking(prepare).await;
        prepared.unwrap_or_else(|error| {
            Err(FailureCause::io(self.directory(), &io::Error::other(error)))
        })
    }

    /// Removed with the job.
    fn folder_of(&self, job: JobId) -> PathBuf {
        self.directory().join(job.to_string())
    }

    async fn connect(
        &self,
        job: &ChildrenOfJob,
        serial: u32,
        rules: Option<RulesetCreated>,
    ) -> io::Result<Connected> {
        let folder = self.folder_of(job.id);
        let (descriptors, their_descriptors) = descriptor_pair()?;
        let (stream, their_stream) = stream_pair()?;
        let (pipe, their_pipe) = io::pipe()?;
        let files = job.files().ok_or_else(nothing_to_start)?;
        let mut command = files.program.command();
        let group = self.control_group(job.id, serial, &mut command).await;
        // Removed with the job's folder.
        command.env("TMPDIR", folder.join(TEMPORARY));
        let user = job.user();
        if let Some(user) = &user {
            // The worker's home is closed to the process, and a program that looks for its settings
            // there would fail.
            command.env("HOME", folder.join(TEMPORARY));
            // The process may open its own output by name, too.
            user.own(&their_pipe)?;
        }
        if let Some(rules) = rules {
            confinement::bind(&mut command, rules);
        }
        self.settings.limits.bind(&mut command);
        if let Some(user) = &user {
            user.bind(&mut command);
        }
        // Last, since the filter refuses the calls made before.
        self.settings.calls.iter().for_each(|calls| calls.bind(&mut command));
        command.stdin(Stdio::from(their_descriptors));
        command.stdout(their_pipe.try_clone()?).stderr(their_pipe);
        // Everything that can fail is done before the process starts; a process that ends at once
        // explains itself by its exit code.
        descriptors.send(their_stream.as_fd()).await?;
        let printed = Printed::record(pipe, folder.join(format!("printed-{serial}.log")))?;
        let so_far = printed.so_far();
        let is_scoped = self.settings.hidden.is_some();
        let kills = KernelKills::count();
        let started = spawner::spawn(command, is_scoped).await?;
        let process = Process::new(started, printed, group.clone(), kills);
        group.iter().for_each(|group| group.expect(process.pid));
        // If the kernel refuses, nothing is worse than before.
        let score = format!("/proc/{}/oom_score_adj", process.pid.as_raw_nonzero());
        let _ = std::fs::write(score, KILL_RATHER);
        let (reader, writer) = split(stream, FROM_CHILD_BYTES_MAX);
        let (messages, queue) = mpsc::channel(WAITING_MAX);
        let child = Child::new(serial, process.pid, messages, descriptors);
        Ok(Connected { process, printed: so_far, child, reader, writer, queue })
    }

    /// Watches a process until it is gone, and reports the outputs that are lost with it.
    async fn follow(
        self: Arc<Self>,
        job: &Arc<ChildrenOfJob>,
        process: Process,
        child: &Child,
        listening: JoinHandle<()>,
    ) {
        let limits = self.settings.limits.with_budget(self.settings.memory_bytes);
        let children = Arc::clone(&self);
        let end_orphans = move || children.end_orphans();
        let death = process.watch(&child.stop, limits, || child.close(), end_orphans).await;
        if !matches!(death, ProcessEnd::Expected) {
            tracing::warn!(job = %job.id, pid = child.pid.as_raw_nonzero(), ?death, "a process has died");
        }
        self.count_living(-1);
        // Its earlier messages are valid. Only a process that has left its group can keep the
        // stream open.
        let _ = timeout(LAST_WORDS_TIMEOUT, listening).await;
        let (children, of, serial) = (Arc::clone(&self), Arc::clone(job), child.serial);
        let died_of = death.clone();
        let noted = tokio::task::spawn_blocking(move || {
            let path = breadcrumb_path(children.directory(), of.id, serial);
            (of.note_end(&children, serial, &died_of), last_place(&path))
        });
        let (lost, place) = noted.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a bug in the engine: noting a death panicked");
            Default::default()
        });
        // Ends come before losses: the report of an output must not follow its loss.
        child.note_death(&death, &place);
        if !lost.is_empty() {
            // Nobody receives this only when the worker is about to end.
            let _ = self.lost.send(lost);
        }
    }
}

/// Creates a job's folder in the folder of all jobs, whose permissions a job may have removed.
fn make_folders(jobs: &Path, folder: &Path) -> Result<(), FailureCause> {
    ready_jobs_folder(jobs).map_err(|error| FailureCause::io(jobs, &error))?;
    let temporary = folder.join(TEMPORARY);
    make_private_folder(&temporary).map_err(|error| FailureCause::io(&temporary, &error))
}

/// Waits until a process is ready, or ends it: the release of a job only knows processes that are
/// ready.
async fn is_listening(
    job: &ChildrenOfJob,
    child: Arc<Child>,
    ready: oneshot::Receiver<()>,
) -> Result<Arc<Child>, FailureCause> {
    let seconds = START_TIMEOUT.as_secs();
    let message = format!("the program does not call windrow::main within {seconds} s");
    let mut cause = FailureCause::UserError { place: RecordPlace::default(), message };
    tokio::select! {
        biased;
        Ok(()) = ready => return Ok(child),
        () = child.gone.cancelled() => {}
        () = sleep(START_TIMEOUT) => {}
        () = job.released.cancelled() => cause = FailureCause::Cancelled,
    }
    if let Some(death) = child.death() {
        return Err(death.cause(true, &RecordPlace::default()));
    }
    child.kill();
    child.gone.cancelled().await;
    Err(cause)
}

fn nothing_to_start() -> io::Error {
    io::Error::other("its executable is not known")
}

fn side_files(job: &ChildrenOfJob) -> Vec<v1::ChildFile> {
    let files = job.files().map_or(&[][..], |files| &files.side_files);
    let file = |(name, path): &(String, PathBuf)| v1::ChildFile {
        name: name.clone(),
        path: path.display().to_string(),
    };
    files.iter().map(file).collect()
}

async fn listen(
    child: &Child,
    job: &ChildrenOfJob,
    mut reader: MessageReader<v1::FromChild>,
    is_ready: oneshot::Sender<()>,
) {
    use v1::from_child::Message;
    // Otherwise it is about to be gone, or will be killed for its silence.
    if let Ok(Some(v1::FromChild { message: Some(Message::Ready(_)) })) = reader.next().await {
        let _ = is_ready.send(());
        child.listen(job, reader).await;
    }
}

/// Sends a process its settings and its orders, for as long as it reads them. When this ends, so
/// does the process.
async fn speak(
    mut writer: MessageWriter<v1::ToChild>,
    start: v1::ChildStart,
    mut identity: watch::Receiver<Option<Leaseholder>>,
    mut share_bytes: watch::Receiver<u64>,
    mut queue: mpsc::Receiver<v1::ToChild>,
) {
    // Changes between the first message and this point must not be missed.
    identity.mark_changed();
    share_bytes.mark_changed();
    let mut message = Message::Start(start);
    while writer.send(&v1::ToChild { message: Some(message) }).await.is_ok() {
        message = tokio::select! {
            biased;
            Ok(()) = identity.changed() => {
                let identity = wire::identity_to(identity.borrow_and_update().as_ref());
                Message::Identity(identity)
            }
            Ok(()) = share_bytes.changed() => {
                Message::Budget(v1::ChildBudget { memory_bytes: *share_bytes.borrow_and_update() })
            }
            queued = queue.recv() => match queued {
                Some(v1::ToChild { message: Some(message) }) => message,
                _ => return,
            }
        };
    }
}
