//! The map loop of jobs that may skip bad records, and of tasks that may kill their process:
//! nothing of a record is kept before all of it has succeeded.
//!
//! Pairs are collected aside, for a block of records at a time. Most blocks are good, and their
//! pairs go on to the store. A block in which anything fails is forgotten and mapped again, each of
//! its records alone: so skipping costs little, and mappers of whole chunks need not know of it. What a
//! combiner or a spill fails with is no record's fault, and fails the attempt. Where each record is
//! to be noted before it is tried, or one is known to kill, records are mapped alone at once.

use super::chunk_mapper::{ChunkMapper, StoreEmitter, located};
use super::{Collected, Collector, MemoryBudget, Store};
use crate::audit::Audit;
use crate::bad_records::BadRecord;
use crate::counters::{Counters, LocalCounters};
use crate::emit::Emit;
use crate::error::{Error, Result};
use crate::failure::{FailureCause, RecordPlace};
use crate::input::{Chunk, Format, Position, RecordError};
use crate::key::Key;
use crate::mapper::Mapper;
use crate::program::{BadRecordPolicy, hidden, panic};
use crate::value::Value;

/// Size of a block: what is mapped twice for a bad record.
const BLOCK_BYTES: usize = 16 << 10;

/// Most that is kept aside. A record with more pairs is taken for good: they go to the store as
/// they come, and if it fails then, the attempt fails.
const ASIDE_BYTES_MAX: usize = 8 << 20;

/// A [`ChunkMapper`] that leaves bad records out.
pub(super) struct SkippingMapper<M: Mapper, S> {
    inner: ChunkMapper<M, S>,
    policy: BadRecordPolicy,
    aside: Aside<M::Key, M::Value>,
    skipped: Vec<BadRecord>,
}

/// What was emitted and counted for records that may still turn out to be bad.
struct Aside<K: Key + ?Sized, V: Value + ?Sized> {
    pairs: Vec<(K::Owned, V::Owned, u64)>,
    /// A sum for each name, however often a record counts.
    counts: LocalCounters,
    bytes: usize,
}

impl<K: Key + ?Sized, V: Value + ?Sized> Aside<K, V> {
    fn new() -> Self {
        Self { pairs: Vec::new(), counts: LocalCounters::default(), bytes: 0 }
    }

    fn clear(&mut self) {
        self.pairs.clear();
        self.counts.clear();
        self.bytes = 0;
    }
}

impl<M: Mapper, S> SkippingMapper<M, S> {
    pub(super) fn new(inner: ChunkMapper<M, S>, policy: BadRecordPolicy) -> Self {
        Self { inner, policy, aside: Aside::new(), skipped: Vec::new() }
    }
}

impl<M: Mapper, S: Store<M::Key, M::Value>> Collector for SkippingMapper<M, S> {
    fn map_chunk(
        &mut self,
        chunk: &Chunk<'_>,
        room: &mut dyn MemoryBudget,
    ) -> Result<u64, FailureCause> {
        let Self { inner, policy, aside, skipped } = self;
        let ChunkMapper { mapper, format, store, granted_bytes } = inner;
        let framing = format.framing();
        let out = StoreEmitter { store, chunk, room, granted_bytes, failure: None };
        let place = RecordPlace { file: chunk.file.to_string(), ..RecordPlace::default() };
        let mut pieces = Pieces { mapper: &**mapper, format, policy, place, aside, out };
        let mut records = 0;
        for block in chunk.pieces(framing, BLOCK_BYTES) {
            if !pieces.policy.tries_one_by_one()
                && let Ok(good) = pieces.map(&block, Pieced::Block)?
            {
                records += good;
                continue;
            }
            for record in block.pieces(framing, 1) {
                match pieces.map_record(&record)? {
                    Ok(good) => records += good,
                    Err(bad) => {
                        skipped.push(bad);
                        records += 1;
                    }
                }
            }
        }
        pieces.keep(|out| out.settle::<M::Key, M::Value>())?;
        Ok(records)
    }

    fn memory_bytes(&self) -> usize {
        self.inner.memory_bytes()
    }

    fn take(&mut self) -> Result<Collected, FailureCause> {
        self.inner.take()
    }

    fn take_counters(&mut self) -> Counters {
        self.inner.take_counters()
    }

    fn emitted(&self) -> Option<Audit> {
        self.inner.emitted()
    }

    fn take_skipped(&mut self) -> Vec<BadRecord> {
        std::mem::take(&mut self.skipped)
    }
}

/// How much is mapped at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pieced {
    Block,
    Record,
}

/// Maps the pieces of one chunk.
struct Pieces<'a, M: Mapper, S> {
    mapper: &'a M,
    format: &'a M::Input,
    policy: &'a BadRecordPolicy,
    /// Of the record that is mapped alone.
    place: RecordPlace,
    aside: &'a mut Aside<M::Key, M::Value>,
    out: StoreEmitter<'a, S>,
}

impl<M: Mapper, S: Store<M::Key, M::Value>> Pieces<'_, M, S> {
    /// Maps a record alone, unless it is known to kill. The inner error is a record to be left out;
    /// the outer one ends the attempt.
    fn map_record(&mut self, record: &Chunk<'_>) -> Result<Result<u64, BadRecord>, FailureCause> {
        self.place.offset = Some(record.offset);
        if let Some(poison) = self.policy.poison_at(&self.place) {
            return Ok(Err(poison.clone().with_record(record.bytes)));
        }
        match self.map(record, Pieced::Record)? {
            Ok(good) => Ok(Ok(good)),
            Err(cause) if self.policy.skips_bad_records => {
                BadRecord::of_record(cause, record.offset, record.bytes).map(Err)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Maps a piece, and keeps its pairs if all of it succeeds. The inner error is that of a record
    /// in it, of which nothing is left; the outer one ends the attempt.
    fn map(
        &mut self,
        piece: &Chunk<'_>,
        pieced: Pieced,
    ) -> Result<Result<u64, FailureCause>, FailureCause> {
        let (mapper, format, policy) = (self.mapper, self.format, self.policy);
        let place = std::mem::take(&mut self.place);
        self.aside.clear();
        piece.visit(piece.offset);
        let mut out = SkippingEmitter { pieces: self, piece, pieced, state: State::Aside };
        let map = || panic::guard(|| mapper.map_chunk(format, piece, &mut out));
        let outcome = policy.with_breadcrumb(&place, map)?;
        let state = out.state;
        self.place = place;
        if let Some(cause) = self.out.failure.take() {
            return Err(cause);
        }
        match (state, located(outcome, piece)) {
            // Whatever user code has made of being stopped.
            (State::Stopped, _) => Ok(Err(FailureCause::Unsupported { message: stopped() })),
            (State::Aside | State::Kept, Ok(records)) => self.keep_aside().map(|()| Ok(records)),
            (State::Aside, Err(cause)) => Ok(Err(cause)),
            (State::Kept, Err(cause)) => Err(cause),
        }
    }

    /// Passes on what is aside.
    fn keep_aside(&mut self) -> Result<(), FailureCause> {
        let mut aside = std::mem::replace(self.aside, Aside::new());
        let kept = self.keep(|out| {
            let counters = Store::<M::Key, M::Value>::counters(out.store);
            aside.counts.drain().for_each(|(name, n)| counters.add(name, n));
            aside.pairs.iter().try_for_each(|(key, value, salt)| {
                out.chunk.visit(*salt);
                let (key, value) = (M::Key::view_owned(key), M::Value::view_owned(value));
                Emit::<M::Key, M::Value>::emit(out, key, value)
            })
        });
        aside.clear();
        *self.aside = aside;
        kept
    }

    /// Does something with the store, for good.
    fn keep(
        &mut self,
        change: impl FnOnce(&mut StoreEmitter<'_, S>) -> Result<()>,
    ) -> Result<(), FailureCause> {
        let chunk = self.out.chunk;
        let out = &mut self.out;
        let outcome = panic::guard(|| {
            change(out).map_err(|error| {
                let position = Position { offset: chunk.current(), ..chunk.position(0) };
                RecordError::new(position, &error)
            })
        });
        match self.out.failure.take() {
            Some(cause) => Err(cause),
            None => located(outcome, chunk),
        }
    }
}

/// What has become of the pairs of a piece.
enum State {
    /// They wait.
    Aside,
    /// Those of a record are too many: they are in the store.
    Kept,
    /// Those of a block are too many: it is as good as bad.
    Stopped,
}

/// What user code hears where too much is aside for a block.
fn stopped() -> String {
    "the pairs of a block are too many".to_string()
}

/// What user code emits to: aside, for now.
struct SkippingEmitter<'p, 'a, M: Mapper, S> {
    pieces: &'p mut Pieces<'a, M, S>,
    piece: &'p Chunk<'p>,
    pieced: Pieced,
    state: State,
}

impl<M: Mapper, S: Store<M::Key, M::Value>> SkippingEmitter<'_, '_, M, S> {
    /// Too much is aside.
    #[cold]
    fn overflow(&mut self) -> Result<()> {
        match self.pieced {
            Pieced::Block => {
                self.state = State::Stopped;
                Err(Error::new(stopped()))
            }
            Pieced::Record => {
                self.state = State::Kept;
                let kept = self.pieces.keep_aside();
                kept.map_err(|cause| hidden(self.pieces.out.failure.insert(cause)))
            }
        }
    }
}

impl<M: Mapper, S: Store<M::Key, M::Value>> Emit<M::Key, M::Value>
    for SkippingEmitter<'_, '_, M, S>
{
    fn emit(
        &mut self,
        key: <M::Key as Key>::Ref<'_>,
        value: <M::Value as Value>::Ref<'_>,
    ) -> Result<()> {
        let salt = self.piece.current();
        let Pieces { aside, out, .. } = &mut *self.pieces;
        match self.state {
            State::Aside => {
                let bytes = Store::<M::Key, M::Value>::check(out.store, key, value, salt)?;
                let pair = (M::Key::own(key), M::Value::own(value), salt);
                aside.bytes += bytes + size_of_val(&pair);
                aside.pairs.push(pair);
                if aside.bytes > ASIDE_BYTES_MAX { self.overflow() } else { Ok(()) }
            }
            State::Kept => {
                out.chunk.visit(salt);
                Emit::<M::Key, M::Value>::emit(out, key, value)
            }
            State::Stopped => Err(Error::new(stopped())),
        }
    }

    fn count(&mut self, counter: &'static str, n: u64) {
        self.pieces.aside.counts.add(counter, n);
    }
}
