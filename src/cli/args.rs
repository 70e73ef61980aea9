//! The flags of every command but those that a job adds.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use windrow_coordinator::Failpoint;
use windrow_jobs::{BadRecordBudget, JobName};
use windrow_proto::v1;
use windrow_security::{LocalUsers, Role};

use super::confinement::ConfinementArgs;
use super::generate::GenArgs;
use super::values::{
    absolute_path, any_duration, budget, duration_from, host_and_port, local_user, log_task,
    memory, number, positive_size, role_of_member, short_name, side_file, size_from,
};

/// Where a cluster's coordinator listens unless told otherwise.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:7171";

/// With a shorter lease, a worker cannot say in time that it is alive.
const LEASE_MS_MIN: u64 = 1_000;
/// A certificate of a shorter life would have expired before its member has it.
const CERTIFICATE_MS_MIN: u64 = 1_000;
/// Within less, neither a task reports its progress nor a worker answers another one.
const PROGRESS_MS_MIN: u64 = 100;
/// With less, the process of a job is killed as soon as it begins.
const JOB_MEMORY_BYTES_MIN: u64 = 16 << 20;
/// With less, hardly any task could write its output.
const JOB_FILE_BYTES_MIN: u64 = 1 << 20;

/// MapReduce in Rust: on every core of this machine, or on a cluster of workers.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Commands,
}

/// All commands but `run` and `submit`, which are made from the registered jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// Set up a secured cluster: a certificate authority, and credentials for a first admin
    Init(InitArgs),
    /// Print a single-use token with which a worker or user joins a secured cluster
    Token(TokenArgs),
    /// Join a secured cluster with a token
    Login(LoginArgs),
    /// Remove a member from a secured cluster, at once and for good
    Revoke(RevokeArgs),
    /// Start a cluster's coordinator
    Coordinator(CoordinatorArgs),
    /// Start a worker and join a cluster
    Worker(WorkerArgs),
    /// List the cluster's jobs
    Jobs(JobsArgs),
    /// Show one job
    Status(OneJobArgs),
    /// Wait until a job ends, and exit with its status
    Wait(WaitArgs),
    /// Stop a job
    Cancel(OneJobArgs),
    /// Show what a job has printed, while it runs or afterwards
    Logs(LogsArgs),
    /// List the cluster's workers
    Workers(ClusterArgs),
    /// Compare the output of a job with its manifest: sizes and checksums of all parts
    Verify(VerifyArgs),
    /// Generate data for trials and benchmarks: the same flags give the same bytes on any machine
    Gen(GenArgs),
}

/// What `verify` takes.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Output folder of the job
    #[arg(value_name = "OUTPUT")]
    pub(crate) output: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What every run of a job takes, embedded or on a cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input and output")]
pub(crate) struct JobArgs {
    /// File, folder or glob pattern to read ('**' goes through folders); may be repeated. NAME=PATH
    /// for a job whose inputs have names
    #[arg(long = "input", value_name = "PATH", required = true, num_args = 1..)]
    pub(crate) inputs: Vec<String>,
    /// Folder for the result; must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Replace the result of an earlier job in that folder once this job has succeeded; a folder
    /// that holds anything else is refused
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Replace invalid UTF-8 by U+FFFD instead of failing
    #[arg(long)]
    pub(crate) lossy: bool,
    /// Skip records that cannot be read or mapped, and groups that cannot be reduced, and list them
    /// in OUTPUT/_bad-records; fail if there are more than this: a number, such as 3, or a share,
    /// such as 0.01%
    #[arg(long, value_name = "BUDGET", value_parser = budget)]
    pub(crate) skip_bad_records: Option<BadRecordBudget>,
    /// Side file, which the job's code reads by NAME on every worker; may be repeated
    #[arg(long = "file", value_name = "NAME=PATH", value_parser = side_file)]
    pub(crate) files: Vec<(String, PathBuf)>,
    /// Print events and the summary as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Number of reduce tasks and output parts [default: chosen from input and cores]
    #[arg(long, value_name = "N", value_parser = number(1..=100_000_u32), help_heading = "Engine")]
    pub(crate) reducers: Option<u32>,
    /// Threads that a task may use [default: all cores of its worker]
    #[arg(long, value_name = "N", value_parser = number(1..=1024_u32), help_heading = "Engine")]
    pub(crate) threads: Option<u32>,
    /// Memory per worker that this job may use, such as 512MiB [default: all that the worker may
    /// use, which is half of its machine's or control group's unless it was told otherwise]
    #[arg(long, value_name = "SIZE", value_parser = memory, help_heading = "Engine")]
    pub(crate) memory: Option<ByteSize>,
    /// Largest input of one map task, such as 64MiB [default: chosen from input and cores]
    #[arg(long, value_name = "SIZE", value_parser = positive_size, help_heading = "Engine")]
    pub(crate) split_size: Option<ByteSize>,
    /// Sorted runs that one merge reads at once (more if they are small); where there are more,
    /// some are merged on disk first [default: chosen from memory]
    #[arg(long, value_name = "N", value_parser = number(2..=10_000_u32), help_heading = "Engine")]
    pub(crate) fan_in: Option<u32>,
    /// Largest record, such as 1GiB; a larger one is an error before it fills the memory
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = positive_size, help_heading = "Engine")]
    pub(crate) max_record_size: ByteSize,
    /// Compression of shuffled data [default: lz4 between machines, none within one]
    #[arg(long, value_name = "METHOD", help_heading = "Engine")]
    pub(crate) compress: Option<Method>,
    /// How often a task may fail before the job fails
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = number(1..=1000_u32), help_heading = "Engine")]
    pub(crate) max_attempts: u32,
    /// How long a task may go without progress, such as 90s
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration_from(PROGRESS_MS_MIN), help_heading = "Engine")]
    pub(crate) task_timeout: humantime::Duration,
}

/// What `submit` takes besides.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Print the job's number and do not wait for its end
    #[arg(long)]
    pub(crate) detach: bool,
    /// Name of this submission, which makes it idempotent: submitting again under the same name
    /// waits for the same job instead of running it twice. Each user has names of their own; a name
    /// is known as long as 'windrow jobs' shows the job
    #[arg(long, value_name = "NAME", value_parser = short_name)]
    pub(crate) submission: Option<String>,
    /// Jobs with a higher priority go first; submitters share among equal ones, and no job starves.
    /// On a secured cluster, only an admin may give more than 0
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) priority: i32,
    /// File or folder that the job's code may write to, besides its output and its temporary
    /// folder; must exist on every worker and contain no output; may be repeated
    #[arg(long = "allow-write", value_name = "PATH", value_parser = absolute_path)]
    pub(crate) writable: Vec<String>,
    /// How long the job waits while there is no worker
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = any_duration)]
    pub(crate) worker_wait: humantime::Duration,
    /// How long to wait for a coordinator that is away before leaving the job to itself
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = any_duration)]
    pub(crate) coordinator_wait: humantime::Duration,
}

/// Which cluster to ask, and as whom.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// The cluster's coordinator; several, separated by commas, are tried in turn
    #[arg(long, value_name = "URL[,URL..]", env = "WINDROW_COORDINATOR", default_value = DEFAULT_URL)]
    pub(crate) coordinator: String,
    /// Folder with the credentials for a secured cluster, which 'windrow login' makes [default:
    /// windrow in the user's configuration folder]
    #[arg(long, value_name = "DIR", env = "WINDROW_CREDENTIALS")]
    pub(crate) credentials: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) locals: LocalUsersArgs,
}

/// Who may be at the other end where there are no certificates.
#[derive(Debug, Args)]
pub(crate) struct LocalUsersArgs {
    /// User of this machine, by name or number, who shares an open cluster on loopback, besides the
    /// own one and root; may be repeated
    #[arg(long = "allow-user", value_name = "USER", env = "WINDROW_ALLOW_USER", value_delimiter = ',', value_parser = local_user)]
    pub(crate) allow_users: Vec<u32>,
}

impl LocalUsersArgs {
    pub(crate) fn users(&self) -> LocalUsers {
        LocalUsers::own_and(self.allow_users.iter().copied())
    }

    /// Likewise, of somebody who opens an address to everybody, or does not.
    pub(crate) fn users_unless(&self, insecure: bool) -> LocalUsers {
        if insecure { LocalUsers::everybody() } else { self.users() }
    }
}

/// `windrow init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Folder to create. Whoever can read it owns the cluster
    pub(crate) dir: PathBuf,
    /// Name or address at which other machines reach the coordinator; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
}

/// `windrow token`
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The cluster's folder, made by 'windrow init'
    pub(crate) dir: PathBuf,
    /// What the new member may do
    #[arg(long, value_name = "worker|submitter|admin", value_parser = role_of_member)]
    pub(crate) role: Role,
    /// Name of the new member; jobs belong to the name that submitted them [default: made up]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Write the token to this file, readable by its owner only, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How long the token is valid
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = any_duration)]
    pub(crate) expires: humantime::Duration,
}

/// `windrow revoke`
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The cluster's folder, made by 'windrow init'
    pub(crate) dir: PathBuf,
    /// The member, such as worker/w1 or submitter/ann
    #[arg(value_name = "ROLE/NAME")]
    pub(crate) member: String,
    /// Also if the cluster's folder does not know the member
    #[arg(long)]
    pub(crate) unknown: bool,
}

/// `windrow login`
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) token: JoinTokenArgs,
    /// Replace credentials that are still valid; only an admin can then cancel their jobs
    #[arg(long)]
    pub(crate) replace: bool,
}

/// How a newcomer is given its token.
#[derive(Debug, Args)]
pub(crate) struct JoinTokenArgs {
    /// File with the join token, as 'windrow token --out FILE' writes it. The first start spends
    /// it; after that, the credentials obtained with it count
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// The join token itself; '-' reads it from standard input. Other users of this machine can
    /// read this argument; they cannot read WINDROW_TOKEN, which is used when neither flag is given
    #[arg(long)]
    pub(crate) token: Option<String>,
}

/// `windrow coordinator`
#[derive(Debug, Args)]
pub(crate) struct CoordinatorArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7171")]
    pub(crate) listen: SocketAddr,
    /// Folder for the coordinator's journal, lock and address. Started again on the same folder, it
    /// goes on with all jobs [default: none, and jobs end with the process]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Replace a coordinator that still runs, or hangs, on the same folder: it will stop
    #[arg(long, requires = "state")]
    pub(crate) take_over: bool,
    /// Largest program or side file that submitters may send. All together may take four times as
    /// much
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = positive_size)]
    pub(crate) program_bytes_max: ByteSize,
    /// For tests: abort, stop or panic when a failpoint is reached for the N-th time
    #[arg(long, value_name = "[stop:|panic:]STEP:N", env = "WINDROW_FAILPOINT", hide = true, value_parser = Failpoint::parse)]
    pub(crate) failpoint: Option<Failpoint>,
    /// Let in only members of the cluster with this folder, made by 'windrow init', over TLS
    #[arg(long, value_name = "DIR", conflicts_with = "insecure")]
    pub(crate) security: Option<PathBuf>,
    /// How long certificates of members are valid; members renew them by themselves
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration_from(CERTIFICATE_MS_MIN), requires = "security")]
    pub(crate) certificate_lifetime: humantime::Duration,
    /// How long after its end a certificate can still be renewed, so that members come back by
    /// themselves after the coordinator was away; members named in DIR/revoked do not
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = any_duration, requires = "security")]
    pub(crate) certificate_grace: humantime::Duration,
    /// For tests: begin the journal anew after so many records
    #[arg(long, value_name = "N", env = "WINDROW_SNAPSHOT_AFTER", hide = true)]
    pub(crate) snapshot_after: Option<u64>,
    /// Allow an address that other machines or other users can reach, without encryption or
    /// authentication
    #[arg(long)]
    pub(crate) insecure: bool,
    #[command(flatten)]
    pub(crate) locals: LocalUsersArgs,
    /// Folder in which inputs and outputs of jobs must lie, after following links; may be repeated
    /// [default on loopback: anywhere]
    #[arg(long = "allow-path", value_name = "DIR")]
    pub(crate) allow_paths: Vec<PathBuf>,
    /// Silence after which a worker counts as lost
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration_from(LEASE_MS_MIN))]
    pub(crate) lease: humantime::Duration,
    /// How long a worker may take to come back after its connection broke; if most connections
    /// break, each worker has its whole lease
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = any_duration)]
    pub(crate) reconnect_grace: humantime::Duration,
}

/// `windrow worker`
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// The coordinator to join; several, separated by commas, are tried in turn
    #[arg(long, value_name = "URL[,URL..]", env = "WINDROW_COORDINATOR", default_value = DEFAULT_URL)]
    pub(crate) coordinator: String,
    /// Folder for intermediate data, used by this worker alone [default: a new one under the
    /// system's temporary folder, removed at the end, or by the next worker if this one was killed]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Threads to run tasks on [default: all cores]
    #[arg(long, value_name = "N", value_parser = number(1..=1024_u32))]
    pub(crate) threads: Option<u32>,
    /// Memory for intermediate data [default: half of the machine's, or of its control group's]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) memory: Option<ByteSize>,
    /// Address on which other workers fetch this one's data
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) token: JoinTokenArgs,
    /// Address for other workers to connect to, if it is not the one this worker listens on
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub(crate) advertise: Option<String>,
    /// How long a fetch from another worker may bring nothing before it counts as failed
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration_from(PROGRESS_MS_MIN))]
    pub(crate) fetch_timeout: humantime::Duration,
    /// Allow an address that other machines or other users can reach, without encryption or
    /// authentication
    #[arg(long)]
    pub(crate) insecure: bool,
    #[command(flatten)]
    pub(crate) locals: LocalUsersArgs,
    /// For debugging: run jobs in the worker itself, not each in a process of its own. Code that
    /// aborts or hangs takes the worker with it
    #[arg(long)]
    pub(crate) in_process: bool,
    /// Size of the cache of programs and side files for later jobs
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = positive_size)]
    pub(crate) program_cache: ByteSize,
    /// Name to show in lists [default: host and process]
    #[arg(long, value_parser = short_name)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) job_limits: JobLimitArgs,
    #[command(flatten)]
    pub(crate) confinement: ConfinementArgs,
}

/// What each process of a job may use on a worker.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of each job's process")]
pub(crate) struct JobLimitArgs {
    /// Memory at which a job's process is killed [default: one and a half times --memory, and 256
    /// MiB]
    #[arg(long, value_name = "SIZE", value_parser = size_from(JOB_MEMORY_BYTES_MIN))]
    pub(crate) job_memory: Option<ByteSize>,
    /// Files and connections that the process may have open at once
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = number(64..=1_u64 << 30))]
    pub(crate) job_open_files: u64,
    /// Largest file that the process may write, map outputs and parts included [default: any]
    #[arg(long, value_name = "SIZE", value_parser = size_from(JOB_FILE_BYTES_MIN))]
    pub(crate) job_file_size: Option<ByteSize>,
    /// Number of processes at once, the job's process and its descendants
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = number(1..=1_u64 << 22))]
    pub(crate) job_processes: u64,
}

/// Commands that ask the coordinator something.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `windrow jobs`
#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    /// Only jobs in this state; may be repeated
    #[arg(long = "state", value_name = "STATE")]
    pub(crate) states: Vec<ShownState>,
    /// Only jobs that this user submitted
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Only the latest N; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// A state of jobs to look for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ShownState {
    Running,
    Publishing,
    Succeeded,
    Failed,
    Cancelled,
}

/// Commands about one job.
#[derive(Debug, Args)]
pub(crate) struct OneJobArgs {
    /// Number of the job, as `submit` and `jobs` print it, or its identity, as `--json` prints it
    #[arg(value_name = "JOB")]
    pub(crate) name: JobName,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// `windrow wait`
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) job: OneJobArgs,
    /// How long to wait for a coordinator that is away before leaving the job to itself
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = any_duration)]
    pub(crate) coordinator_wait: humantime::Duration,
}

/// `windrow logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Number of the job, as `submit` and `jobs` print it, or its identity, as `--json` prints it
    pub(crate) job: JobName,
    /// Only from the processes in which this task ran, such as map-3 or reduce-0
    #[arg(value_parser = log_task)]
    pub(crate) task: Option<v1::LogsOfTask>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// A way to compress.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Method {
    None,
    Lz4,
    Zstd,
}
