//! Jobs: a mapper, and perhaps a combiner and a reducer, under a name.

mod builder;
mod join_builder;
mod parameters;
mod registry;

pub use builder::JobBuilder;
pub use join_builder::JoinBuilder;
pub use registry::Registry;

use std::sync::Arc;

use clap::{ArgMatches, Args, Command};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::key::Key;
use crate::mapper::Mapper;
use crate::program::Program;
use crate::user_code::panic;
use crate::value::Value;
use parameters::{Fixed, Parameterized, Parameters};

/// A job that can be run by name. Its types are erased; [`Job::build`] applies its parameters.
///
/// ```
/// use windrow_jobs::prelude::*;
/// # use windrow_jobs::testing;
/// # struct Words;
/// # impl Mapper for Words {
/// #     type Input = Line;
/// #     type Key = str;
/// #     type Value = u64;
/// #     fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
/// #         line.split_ascii_whitespace().try_for_each(|word| out.emit(word, 1))
/// #     }
/// # }
/// let job = Job::new("word-count", Words).combine(Sum).reduce(Sum);
/// assert_eq!(testing::run(&job, "{}", &[("hamlet.txt", "to be or\nnot to be")])?,
///     "be\t2\nnot\t1\nor\t1\nto\t2\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub struct Job {
    name: String,
    about: String,
    parameters: Box<dyn Parameters>,
}

impl Job {
    /// Starts a job without parameters.
    #[expect(clippy::new_ret_no_self, reason = "a job is made in steps, and this is the first")]
    pub fn new<M: Mapper>(name: impl Into<String>, mapper: M) -> JobBuilder<M> {
        JobBuilder::new(name.into(), mapper)
    }

    /// Starts a job with several inputs. Each has its own mapper; all emit keys of type `K` and
    /// values of type `V`.
    ///
    /// ```
    /// use windrow_jobs::prelude::*;
    /// use windrow_jobs::{Tagged, testing};
    ///
    /// /// Splits lines at their first space.
    /// struct Pairs;
    ///
    /// impl Mapper for Pairs {
    ///     type Input = Line;
    ///     type Key = str;
    ///     type Value = str;
    ///
    ///     fn map(&self, line: &str, out: &mut impl Emit<str, str>) -> Result<()> {
    ///         line.split_once(' ').map_or(Ok(()), |(key, value)| out.emit(key, value))
    ///     }
    /// }
    ///
    /// /// Names the farm of each crop; farms come before crops.
    /// struct FarmOfCrop;
    ///
    /// impl Reducer<str, Tagged<str>> for FarmOfCrop {
    ///     type OutputKey = String;
    ///     type OutputValue = str;
    ///
    ///     fn reduce(
    ///         &self,
    ///         _id: &str,
    ///         values: &mut Values<'_, Tagged<str>>,
    ///         out: &mut impl Emit<String, str>,
    ///     ) -> Result<()> {
    ///         let mut farm = String::from("nobody");
    ///         while let Some((input, value)) = values.next()? {
    ///             match input {
    ///                 0 => farm = value.to_string(),
    ///                 _ => out.emit(value, &farm)?,
    ///             }
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let job = Job::join("farm-of-crop")
    ///     .input("farms", Pairs)
    ///     .input("crops", Pairs)
    ///     .reduce(FarmOfCrop);
    /// let text = testing::run_inputs(&job, "{}", &[
    ///     &[("farms.txt", "7 Greenfield\n")],
    ///     &[("crops.txt", "7 oats\n8 rye\n")],
    /// ])?;
    /// assert_eq!(text, "oats\tGreenfield\nrye\tnobody\n");
    /// # Ok::<(), windrow_jobs::FailureCause>(())
    /// ```
    pub fn join<K: Key + ?Sized, V: Value + ?Sized>(name: impl Into<String>) -> JoinBuilder<K, V> {
        JoinBuilder::new(name.into())
    }

    /// A job with parameters: a struct of flags, which serde carries to the workers. `build` makes
    /// the job for given parameters, or refuses them.
    ///
    /// ```
    /// use windrow_jobs::prelude::*;
    /// # use windrow_jobs::testing;
    ///
    /// #[derive(clap::Args, serde::Serialize, serde::Deserialize)]
    /// struct AtLeast {
    ///     /// Shortest line to keep, in bytes
    ///     #[arg(long, default_value_t = 1)]
    ///     bytes: usize,
    /// }
    ///
    /// struct LongLines(usize);
    ///
    /// impl Mapper for LongLines {
    ///     type Input = Line;
    ///     type Key = str;
    ///     type Value = ();
    ///
    ///     fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> Result<()> {
    ///         if line.len() >= self.0 { out.emit(line, ()) } else { Ok(()) }
    ///     }
    /// }
    ///
    /// let job = Job::with_params("long-lines", |params: &AtLeast| {
    ///     Ok(Job::new("long-lines", LongLines(params.bytes)).map_only())
    /// })
    /// .with_about("Keep the long lines");
    /// assert_eq!(
    ///     testing::run(&job, r#"{"bytes":4}"#, &[("a", "oats\nrye\nbarley")])?,
    ///     "oats\nbarley\n"
    /// );
    /// # Ok::<(), windrow_jobs::FailureCause>(())
    /// ```
    pub fn with_params<P>(
        name: impl Into<String>,
        build: impl Fn(&P) -> Result<Job> + Send + Sync + 'static,
    ) -> Self
    where
        P: Args + Serialize + DeserializeOwned + 'static,
    {
        let parameters = Box::new(Parameterized::new(build));
        Self { name: name.into(), about: String::new(), parameters }
    }

    /// Sets the line for `--help`.
    pub fn with_about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// The name by which the job is run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One line for `--help`.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Adds the job's own flags to `command`.
    pub fn augment_args(&self, command: Command) -> Command {
        self.parameters.augment_args(command)
    }

    /// The job's parameters as JSON, from the parsed flags of a command that `augment_args` has
    /// extended.
    pub fn params_from_args(&self, matches: &ArgMatches) -> Result<String, clap::Error> {
        self.parameters.json_from_args(matches)
    }

    /// The program for these parameters (JSON). An error if a parameter is missing, unknown or
    /// wrong, such as a malformed regex, or if the job's own function fails or panics.
    pub fn build(&self, params: &str) -> Result<Arc<dyn Program>> {
        panic::before_tasks(|| self.parameters.build(params))
            .map_err(|error| Error::new(format!("job {}: {error}", self.name)))
    }

    fn fixed(name: String, about: String, program: impl Program + 'static) -> Self {
        Self { name, about, parameters: Box::new(Fixed(Arc::new(program))) }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
