//! The builder of a job with several inputs.

use std::marker::PhantomData;
use std::sync::Arc;

use super::Job;
use crate::grouping::WholeKey;
use crate::key::Key;
use crate::mapper::Mapper;
use crate::output::{Output, TextLines};
use crate::partitioning::HashPartitioner;
use crate::program::{JoinInput, JoinInputs, MapReduce};
use crate::reducer::Reducer;
use crate::value::{Tagged, Value};

/// Builds a job in which each input has its own mapper; completed by [`reduce`](Self::reduce).
#[must_use = "a job is made by `reduce`"]
pub struct JoinBuilder<K: ?Sized, V: ?Sized, O = TextLines> {
    name: String,
    about: String,
    inputs: Vec<JoinInput<K, V>>,
    output: O,
}

impl<K: Key + ?Sized, V: Value + ?Sized> JoinBuilder<K, V> {
    pub(super) fn new(name: String) -> Self {
        Self { name, about: String::new(), inputs: Vec::new(), output: TextLines }
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized, O> JoinBuilder<K, V, O> {
    /// Sets the line for `--help`.
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Adds an input, which the command line calls by `name`: `--input name=PATH`. Inputs are
    /// numbered from 0 in the order in which they are added.
    ///
    /// # Panics
    /// If there are 256 inputs already.
    pub fn input<M>(mut self, name: impl Into<String>, mapper: M) -> Self
    where
        M: Mapper<Key = K, Value = V>,
    {
        assert!(self.inputs.len() < 256, "a job has at most 256 inputs");
        let tag = self.inputs.len() as u8;
        self.inputs.push(JoinInput::new(name.into(), tag, mapper));
        self
    }

    /// Writes the parts by `output` instead of as lines of key and value.
    pub fn output<N>(self, output: N) -> JoinBuilder<K, V, N> {
        let Self { name, about, inputs, .. } = self;
        JoinBuilder { name, about, inputs, output }
    }

    /// Completes the job with `reducer`. The values of a key come input by input, each with the
    /// number of its input.
    pub fn reduce<R>(self, reducer: R) -> Job
    where
        R: Reducer<K, Tagged<V>>,
        O: Output<R::OutputKey, R::OutputValue>,
    {
        let Self { name, about, inputs, output } = self;
        let program = MapReduce {
            map_side: JoinInputs(inputs),
            routes: Arc::new(HashPartitioner),
            grouping: PhantomData::<fn(&WholeKey)>,
            reducer,
            output,
        };
        Job::fixed(name, about, program)
    }
}
