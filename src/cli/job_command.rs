//! A job from the command line, checked as far as possible without running anything.

use std::path::{Component, Path, PathBuf};

use clap::{ArgMatches, Command, FromArgMatches};
use windrow_jobs::side_files::set_side_files;
use windrow_jobs::{BadRecordBudget, JobInput, Location, NotALocation, Registry};
use windrow_proto::v1;

use super::args::{JobArgs, Method};
use super::commands::bad_parameter;
use super::error::CliError;

/// The job's name, its own parameters, and the engine's flags.
pub(crate) struct JobCommand {
    pub(crate) name: String,
    /// JSON.
    pub(crate) params: String,
    pub(crate) inputs: Vec<JobInput>,
    /// As it was given.
    pub(crate) output: Location,
    /// By name, absolute.
    pub(crate) side_files: Vec<(String, PathBuf)>,
    pub(crate) args: JobArgs,
}

impl JobCommand {
    /// Reads the matches of `run` or `submit`. Also returns those of the job's subcommand.
    pub(crate) fn from_matches<'a>(
        registry: &Registry,
        (under, matches): (&str, &'a ArgMatches),
        command: &Command,
    ) -> Result<(Self, &'a ArgMatches), clap::Error> {
        let found =
            matches.subcommand().and_then(|(name, of_job)| Some((registry.get(name)?, of_job)));
        let Some((job, of_job)) = found else {
            return Err(bad_parameter(command, &[under], "no job was named"));
        };
        let wrong = |message: &str| bad_parameter(command, &[under, job.name()], message);
        let args = JobArgs::from_arg_matches(of_job)?;
        let side_files = side_files(&args).map_err(|error| wrong(&error.to_string()))?;
        // Before the job is built, which may read them.
        set_side_files(side_files.iter().cloned());
        let params = job.params_from_args(of_job)?;
        // Built only for its checks, so that a bad parameter is wrong usage before anything runs.
        let program = job.build(&params).map_err(|error| wrong(error.message()))?;
        let names = program.input_names();
        let inputs = args.inputs.iter().map(|input| named(input, &names));
        let inputs = inputs.collect::<Result<Vec<_>, _>>();
        let inputs = inputs.map_err(|error| wrong(&error.to_string()))?;
        let output = given(&args.output).map_err(|error| wrong(&error.to_string()))?;
        JobInput::numbers(&inputs, &names).map_err(|error| wrong(error.message()))?;
        let name = job.name().to_string();
        Ok((Self { name, params, inputs, output, side_files, args }, of_job))
    }

    /// The description to submit.
    pub(crate) fn spec(&self) -> Result<v1::JobSpec, CliError> {
        let args = &self.args;
        let absolute_input = |JobInput { name, pattern }: &JobInput| {
            let pattern = absolute_pattern(pattern)?;
            Ok(v1::JobInput { name: name.clone(), pattern: pattern.to_string() })
        };
        let inputs = self.inputs.iter().map(absolute_input);
        let output = absolute(&self.output)?.to_string();
        Ok(v1::JobSpec {
            job: self.name.clone(),
            params: self.params.clone(),
            inputs: inputs.collect::<Result<_, CliError>>()?,
            output,
            program: None,
            files: Vec::new(),
            writable: Vec::new(),
            options: Some(v1::JobOptions {
                reducers: args.reducers,
                split_bytes: args.split_size.map(|size| size.0),
                fan_in: args.fan_in,
                threads: args.threads,
                memory_bytes: args.memory.map(|size| size.0),
                max_attempts: args.max_attempts,
                task_timeout_ms: args.task_timeout.as_millis() as u64,
                worker_wait_ms: 0,
                priority: 0,
                lossy: args.lossy,
                record_bytes_max: args.max_record_size.0,
                compression: compression(args.compress).into(),
                skip_bad_records: args.skip_bad_records.map(budget),
                overwrite: args.overwrite,
            }),
        })
    }
}

/// The side files, all of which must be there.
fn side_files(args: &JobArgs) -> Result<Vec<(String, PathBuf)>, CliError> {
    let absolute = |(name, path): &(String, PathBuf)| {
        let given = format!("--file {name}={}", path.display());
        let path = path.canonicalize().map_err(|error| {
            CliError::Usage(format!("{given}: {}", windrow_jobs::explained(path, &error)))
        })?;
        if !path.is_file() {
            return Err(CliError::Usage(format!("{given}: it is not a file")));
        }
        Ok((name.clone(), path))
    };
    let files = args.files.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<_> = files.iter().map(|(name, _)| name).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(CliError::Usage(format!("two side files are called '{}'", pair[0]))),
        None => Ok(files),
    }
}

fn budget(budget: BadRecordBudget) -> v1::BadRecordBudget {
    use v1::bad_record_budget::Budget;
    let budget = match budget {
        BadRecordBudget::Records(most) => Budget::Records(most),
        BadRecordBudget::Share(share) => Budget::Share(share.get()),
    };
    v1::BadRecordBudget { budget: Some(budget) }
}

fn compression(method: Option<Method>) -> v1::Compression {
    match method {
        None => v1::Compression::Unspecified,
        Some(Method::None) => v1::Compression::None,
        Some(Method::Lz4) => v1::Compression::Lz4,
        Some(Method::Zstd) => v1::Compression::Zstd,
    }
}

/// `NAME=PATH` for a job whose inputs have names; for all others the whole is a path, whatever
/// signs it has.
fn named(input: &str, names: &[&str]) -> Result<JobInput, CliError> {
    let (name, pattern) = match input.split_once('=') {
        Some(split) if !names.is_empty() => split,
        _ => ("", input),
    };
    let pattern = Location::parse(pattern).map_err(|error| match error {
        NotALocation::Empty => {
            CliError::Usage("an --input is empty; is a variable not set?".to_string())
        }
        error => CliError::Usage(error.to_string()),
    })?;
    Ok(JobInput { name: name.to_string(), pattern })
}

/// A path or URL, as the user gave it.
pub(super) fn given(path: &Path) -> Result<Location, CliError> {
    match path.to_str() {
        Some(text) => Location::parse(text).map_err(|error| CliError::Usage(error.to_string())),
        None => Err(not_utf8(path)),
    }
}

fn not_utf8(path: &Path) -> CliError {
    let path = path.display();
    CliError::Usage(format!("{path}: only paths in UTF-8 can be sent to a coordinator"))
}

/// Makes a path absolute. A URL stays as it is.
fn absolute(location: &Location) -> Result<Location, CliError> {
    match location.to_local() {
        Ok(path) if !location.is_url() => absolute_path(path),
        _ => Ok(location.clone()),
    }
}

fn absolute_path(path: &Path) -> Result<Location, CliError> {
    let path = std::path::absolute(path).map_err(|error| match std::env::current_dir() {
        Ok(_) => CliError::io(path)(error),
        Err(gone) => CliError::Other(format!(
            "the current folder is gone ({gone}): change to one that exists, or name absolute \
             paths"
        )),
    })?;
    Location::of_path(&without_upwards(&path)).ok_or_else(|| not_utf8(&path))
}

/// Resolves each `..`, as the system would: links before it are followed. A folder that this
/// machine does not have leaves the rest as it is.
fn without_upwards(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        if component != Component::ParentDir {
            resolved.push(component);
        } else if let Some(mut real) = resolved.canonicalize().ok().filter(|real| real.is_dir()) {
            real.pop();
            resolved = real;
        } else {
            resolved.push(component);
            resolved.push(components.as_path());
            break;
        }
    }
    resolved
}

/// Makes a path or glob pattern absolute. The folder put before a pattern is taken literally,
/// whatever signs it has.
fn absolute_pattern(input: &Location) -> Result<Location, CliError> {
    let path = match input.to_local() {
        Ok(path) if !input.is_url() && !path.exists() => path,
        _ => return absolute(input),
    };
    let is_literal = |part: &Component<'_>| {
        !part.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
    };
    let mut pattern = path.components();
    let mut literal = PathBuf::new();
    while let Some(part) = pattern.clone().next().filter(is_literal) {
        literal.push(part);
        pattern.next();
    }
    let Some(pattern) = pattern.as_path().to_str().filter(|pattern| !pattern.is_empty()) else {
        return absolute(input);
    };
    let folder = absolute_path(if literal == Path::new("") { Path::new(".") } else { &literal })?;
    let folder = glob::Pattern::escape(folder.as_str().trim_end_matches('/'));
    Location::parse(&format!("{folder}/{pattern}"))
        .map_err(|error| CliError::Usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn upward_steps_are_resolved_as_the_system_does() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(root.join("[x]")).unwrap();
        symlink(root.join("a/b"), root.join("link")).unwrap();
        let at = |name: &str| root.join(name).display().to_string();
        for (given, expected) in [
            ("a/../c", "c"),
            ("a/b/../../c/d", "c/d"),
            // The link leads to a/b.
            ("link/../c", "a/c"),
            ("link/c", "link/c"),
            // Other machines may have it.
            ("no/../c", "no/../c"),
        ] {
            let found = absolute_path(Path::new(&at(given))).unwrap();
            assert_eq!(found.as_str(), at(expected), "{given}");
        }
        for (given, expected) in [
            ("a/../*.txt", "*.txt"),
            ("link/../*/../x?", "a/*/../x?"),
            ("a/../[x]/*", "[x]/*"),
            ("a/[b]", "a/[b]"),
        ] {
            let found = absolute_pattern(&Location::parse(&at(given)).unwrap()).unwrap();
            assert_eq!(found.as_str(), at(expected), "{given}");
        }
    }
}
