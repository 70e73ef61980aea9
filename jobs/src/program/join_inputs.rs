//! Several inputs, each with its own mapper, whose pairs are joined in one reducer.
//!
//! Each value is tagged with the number of its input. The tag is the first byte of the encoded
//! value, so that the values of a group come input by input.

use std::sync::Arc;

use super::combine_step::{CombineStep, NotCombined};
use super::map_side::{InputFormat, MapSide};
use super::units::find_units;
use crate::collect::{Collector, CollectorSetup};
use crate::emit::Emit;
use crate::error::Result;
use crate::failure::FailureCause;
use crate::input::{Chunk, FileReader, FoundUnits, RecordError, RecordOf, Units};
use crate::key::Key;
use crate::mapper::Mapper;
use crate::pairs::{RecordBatches, RecordSink};
use crate::partitioning::Route;
use crate::value::{Tagged, Value};

/// The inputs of a job, in the order in which a reducer gets their values.
pub(crate) struct JoinInputs<K: ?Sized, V: ?Sized>(pub(crate) Vec<JoinInput<K, V>>);

/// One input: its name and its type-erased mapper.
pub(crate) struct JoinInput<K: ?Sized, V: ?Sized> {
    pub(crate) name: String,
    mapper: Arc<dyn JoinMapper<K, V>>,
}

impl<K: Key + ?Sized, V: Value + ?Sized> JoinInput<K, V> {
    pub(crate) fn new<M: Mapper<Key = K, Value = V>>(name: String, tag: u8, mapper: M) -> Self {
        let mapper = Arc::new(TaggedMapper { mapper, tag });
        Self { name, mapper: Arc::new(Erased(mapper)) }
    }
}

/// A mapper of any type.
trait JoinMapper<K: ?Sized, V: ?Sized>: Send + Sync {
    fn input_format(&self) -> InputFormat;

    fn find_units(&self, file: &FileReader<'_>, units: Units) -> Result<FoundUnits, FailureCause>;

    fn collector(&self, setup: &CollectorSetup, route: Arc<dyn Route>) -> Box<dyn Collector>;
}

struct Erased<M>(Arc<M>);

impl<K, V, M> JoinMapper<K, V> for Erased<TaggedMapper<M>>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    M: Mapper<Key = K, Value = V>,
{
    fn input_format(&self) -> InputFormat {
        InputFormat::of(&*self.0)
    }

    fn find_units(&self, file: &FileReader<'_>, units: Units) -> Result<FoundUnits, FailureCause> {
        find_units(&self.0.format(), file, units)
    }

    fn collector(&self, setup: &CollectorSetup, route: Arc<dyn Route>) -> Box<dyn Collector> {
        let mapper = Arc::clone(&self.0);
        CombineStep::<Tagged<V>>::collector(&NotCombined, mapper, setup, route)
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized> MapSide for JoinInputs<K, V> {
    type Key = K;
    type Value = Tagged<V>;

    const COMBINES: bool = false;

    fn input_names(&self) -> Vec<&str> {
        self.0.iter().map(|input| &*input.name).collect()
    }

    fn input_format(&self, input: u32) -> InputFormat {
        self.0[input as usize].mapper.input_format()
    }

    fn find_units(
        &self,
        input: u32,
        file: &FileReader<'_>,
        units: Units,
    ) -> Result<FoundUnits, FailureCause> {
        self.0[input as usize].mapper.find_units(file, units)
    }

    fn collector(&self, setup: &CollectorSetup, route: impl Route) -> Box<dyn Collector> {
        self.0[setup.input as usize].mapper.collector(setup, Arc::new(route))
    }

    fn combine(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause> {
        CombineStep::<Tagged<V>>::combine::<K>(&NotCombined, input, output)
    }
}

/// Tags each value that a mapper emits with the number of its input.
struct TaggedMapper<M> {
    mapper: M,
    tag: u8,
}

impl<M: Mapper> Mapper for TaggedMapper<M> {
    type Input = M::Input;
    type Key = M::Key;
    type Value = Tagged<M::Value>;

    fn map(
        &self,
        record: RecordOf<'_, M::Input>,
        out: &mut impl Emit<M::Key, Tagged<M::Value>>,
    ) -> Result<()> {
        self.mapper.map(record, &mut TaggedEmitter { tag: self.tag, out })
    }

    fn format(&self) -> M::Input {
        self.mapper.format()
    }

    fn map_chunk(
        &self,
        format: &M::Input,
        chunk: &Chunk<'_>,
        out: &mut impl Emit<M::Key, Tagged<M::Value>>,
    ) -> Result<u64, RecordError> {
        self.mapper.map_chunk(format, chunk, &mut TaggedEmitter { tag: self.tag, out })
    }
}

struct TaggedEmitter<'a, E> {
    tag: u8,
    out: &'a mut E,
}

impl<K, V, E> Emit<K, V> for TaggedEmitter<'_, E>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    E: Emit<K, Tagged<V>>,
{
    #[inline]
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<()> {
        self.out.emit(key, (self.tag, value))
    }

    fn count(&mut self, counter: &'static str, n: u64) {
        self.out.count(counter, n);
    }
}
