//! A job's parameters, from flags to JSON to the program.

use std::marker::PhantomData;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Job;
use crate::error::{Error, Result};
use crate::program::Program;

/// The JSON of a job without parameters.
const NONE: &str = "{}";

/// The part of a job that knows the type of its parameters.
pub(super) trait Parameters: Send + Sync {
    /// See [`Job::augment_args`].
    fn augment_args(&self, command: Command) -> Command;

    /// See [`Job::params_from_args`].
    fn json_from_args(&self, matches: &ArgMatches) -> Result<String, clap::Error>;

    /// See [`Job::build`].
    fn build(&self, params: &str) -> Result<Arc<dyn Program>>;
}

/// No parameters: the program is already built.
pub(super) struct Fixed(pub(super) Arc<dyn Program>);

impl Parameters for Fixed {
    fn augment_args(&self, command: Command) -> Command {
        command
    }

    fn json_from_args(&self, _matches: &ArgMatches) -> Result<String, clap::Error> {
        Ok(NONE.to_string())
    }

    fn build(&self, params: &str) -> Result<Arc<dyn Program>> {
        // Any field is unknown.
        #[derive(serde::Deserialize)]
        struct Nothing {}
        parse::<Nothing>(params)?;
        Ok(Arc::clone(&self.0))
    }
}

/// Parameters of type `P`, and the function that builds the job from them.
pub(super) struct Parameterized<P, F> {
    build: F,
    params: PhantomData<fn(&P)>,
}

impl<P, F: Fn(&P) -> Result<Job>> Parameterized<P, F> {
    pub(super) fn new(build: F) -> Self {
        Self { build, params: PhantomData }
    }
}

impl<P, F> Parameters for Parameterized<P, F>
where
    P: Args + Serialize + DeserializeOwned,
    F: Fn(&P) -> Result<Job> + Send + Sync,
{
    fn augment_args(&self, command: Command) -> Command {
        P::augment_args(command)
    }

    fn json_from_args(&self, matches: &ArgMatches) -> Result<String, clap::Error> {
        let params = P::from_arg_matches(matches)?;
        serde_json::to_string(&params).map_err(|e| clap::Error::raw(ErrorKind::InvalidValue, e))
    }

    fn build(&self, params: &str) -> Result<Arc<dyn Program>> {
        (self.build)(&parse(params)?)?.parameters.build(NONE)
    }
}

/// Parses parameters. An unknown one is refused, not ignored: it is a mistake.
fn parse<P: DeserializeOwned>(params: &str) -> Result<P> {
    let mut unknown = Vec::new();
    let mut json = serde_json::Deserializer::from_str(params);
    let parsed = serde_ignored::deserialize(&mut json, |path| unknown.push(path.to_string()))
        .and_then(|parsed| json.end().map(|()| parsed))
        .map_err(|error| Error::new(format!("bad parameters: {error}")))?;
    match unknown.first() {
        None => Ok(parsed),
        Some(name) => Err(Error::new(format!("unknown parameter '{name}'"))),
    }
}
