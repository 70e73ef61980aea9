//! The map loop of jobs that may skip bad records, and of suspects, which may kill their process:
//! the pairs of a record are kept only once the whole record has succeeded.
//!
//! Pairs are collected aside, one block of records at a time. Most blocks are good, and their pairs
//! go on to the store. A block in which a record fails is discarded and mapped again, one record at
//! a time: so skipping costs little, and works for mappers of whole chunks. A failure of a combiner
//! or a spill is no record's fault, and fails the attempt. If breadcrumbs are wanted or a record is
//! known poison, records are mapped one by one from the start. A unit is one block; only its format
//! can tell its records apart.

use super::chunk_mapper::{ChunkMapper, StoreEmitter, located};
use super::{Collected, Collector, MemoryBudget, Store};
use crate::audit::Audit;
use crate::bad_records::BadRecord;
use crate::counters::{Counters, LocalCounters};
use crate::emit::Emit;
use crate::error::{Error, Result};
use crate::failure::{FailureCause, RecordPlace};
use crate::input::{Chunk, Format, Framing, Position, RecordError};
use crate::key::Key;
use crate::mapper::Mapper;
use crate::user_code::{BadRecordPolicy, UNDONE_BYTES_MAX, hidden, panic};
use crate::value::Value;

/// Size of a block, which is mapped twice for a bad record.
const BLOCK_BYTES: usize = 16 << 10;

/// A [`ChunkMapper`] that skips bad records.
pub(super) struct SkippingMapper<M: Mapper, S> {
    inner: ChunkMapper<M, S>,
    policy: BadRecordPolicy,
    aside: Aside<M::Key, M::Value>,
    skipped: Vec<BadRecord>,
}

/// Pairs and counts of records that may still turn out to be bad.
struct Aside<K: Key + ?Sized, V: Value + ?Sized> {
    pairs: Vec<(K::Owned, V::Owned, u64)>,
    /// The sums of the records' counters.
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
        memory: &mut dyn MemoryBudget,
    ) -> Result<u64, FailureCause> {
        let Self { inner, policy, aside, skipped } = self;
        let ChunkMapper { mapper, format, store, granted_bytes } = inner;
        let framing = format.framing();
        let out = StoreEmitter { store, chunk, memory, granted_bytes, failure: None };
        let place = RecordPlace::in_file(chunk.file);
        let mut pieces = Pieces { mapper: &**mapper, format, policy, place, aside, out };
        let mut records = 0;
        for block in chunk.pieces(framing, BLOCK_BYTES) {
            if !pieces.policy.tries_one_by_one()
                && let Ok(good) = pieces.map(&block, Pieced::Block)?
            {
                records += good;
                continue;
            }
            if framing == Framing::Units {
                records += pieces.map_records(&block, skipped)?;
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

/// How much input is mapped at a time.
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
    /// The place of the record that is mapped alone.
    place: RecordPlace,
    aside: &'a mut Aside<M::Key, M::Value>,
    out: StoreEmitter<'a, S>,
}

impl<M: Mapper, S: Store<M::Key, M::Value>> Pieces<'_, M, S> {
    /// Maps a record alone, unless it is known poison. The inner error is a record to skip; the
    /// outer error ends the attempt.
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

    /// Maps the records of a unit one by one, adds the bad ones to `skipped`, and returns the
    /// number of all. A unit that the format cannot read to its end fails the attempt: nobody would
    /// know how many records are lost.
    fn map_records(
        &mut self,
        unit: &Chunk<'_>,
        skipped: &mut Vec<BadRecord>,
    ) -> Result<u64, FailureCause> {
        let (mapper, format) = (self.mapper, self.format);
        let (mut records, mut failure) = (0, None);
        let read = panic::guard(|| {
            format.for_each(unit, |position, record| {
                if let Some(cause) = &failure {
                    // The format has ignored it.
                    return Err(RecordError::new(position, &hidden(cause)));
                }
                records += 1;
                let mapped = self.map_record_of_unit(unit, position.offset, |out| {
                    unit.visit(position.offset);
                    let mapped = mapper.map(record, out);
                    mapped.map(|()| 1).map_err(|error| RecordError::new(position, &error))
                });
                match mapped {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(bad)) => {
                        skipped.push(bad);
                        Ok(())
                    }
                    Err(cause) => {
                        let error = RecordError::new(position, &hidden(&cause));
                        failure = Some(cause);
                        Err(error)
                    }
                }
            })
        });
        match failure {
            Some(cause) => Err(cause),
            None => located(read, unit).map(|()| records),
        }
    }

    /// Like [`Self::map_record`], for the record at `offset` that `map` maps.
    fn map_record_of_unit(
        &mut self,
        unit: &Chunk<'_>,
        offset: u64,
        map: impl FnOnce(&mut SkippingEmitter<'_, '_, M, S>) -> Result<u64, RecordError>,
    ) -> Result<Result<u64, BadRecord>, FailureCause> {
        self.place.offset = Some(offset);
        if let Some(poison) = self.policy.poison_at(&self.place) {
            return Ok(Err(poison.clone()));
        }
        match self.map_by(unit, Pieced::Record, map)? {
            Ok(good) => Ok(Ok(good)),
            Err(cause) if self.policy.skips_bad_records => BadRecord::of_group(cause).map(Err),
            Err(cause) => Err(cause),
        }
    }

    /// Maps a piece with all of its records.
    fn map(
        &mut self,
        piece: &Chunk<'_>,
        pieced: Pieced,
    ) -> Result<Result<u64, FailureCause>, FailureCause> {
        let (mapper, format) = (self.mapper, self.format);
        self.map_by(piece, pieced, |out| mapper.map_chunk(format, piece, out))
    }

    /// Maps a piece by `map`, and keeps its pairs if all of it succeeds. The inner error is the
    /// failure of a record in it, and nothing of the piece is kept; the outer error ends the
    /// attempt.
    fn map_by(
        &mut self,
        piece: &Chunk<'_>,
        pieced: Pieced,
        map: impl FnOnce(&mut SkippingEmitter<'_, '_, M, S>) -> Result<u64, RecordError>,
    ) -> Result<Result<u64, FailureCause>, FailureCause> {
        let policy = self.policy;
        let place = std::mem::take(&mut self.place);
        self.aside.clear();
        piece.visit(piece.offset);
        let mut out = SkippingEmitter { pieces: self, piece, pieced, state: State::Aside };
        let outcome = policy.with_breadcrumb(&place, || panic::guard(|| map(&mut out)))?;
        let state = out.state;
        self.place = place;
        if let Some(cause) = self.out.failure.take() {
            return Err(cause);
        }
        match (state, located(outcome, piece)) {
            // However user code handled the error that stopped it.
            (State::Stopped, _) => Ok(Err(FailureCause::Unsupported { message: stopped() })),
            (State::Aside | State::Kept, Ok(records)) => self.keep_aside().map(|()| Ok(records)),
            (State::Aside, Err(cause)) => Ok(Err(cause)),
            (State::Kept, Err(cause)) => Err(cause),
        }
    }

    /// Passes the pairs kept aside to the store.
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

    /// Changes the store irrevocably.
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

/// Where the pairs of a piece are.
enum State {
    /// Kept aside.
    Aside,
    /// In the store, since the record has too many.
    Kept,
    /// Discarded, since the block has too many: its records are mapped alone.
    Stopped,
}

/// The error that user code gets when a block has too many pairs.
fn stopped() -> String {
    "the pairs of a block are too many".to_string()
}

/// The emitter of a piece, which keeps pairs aside.
struct SkippingEmitter<'p, 'a, M: Mapper, S> {
    pieces: &'p mut Pieces<'a, M, S>,
    piece: &'p Chunk<'p>,
    pieced: Pieced,
    state: State,
}

impl<M: Mapper, S: Store<M::Key, M::Value>> SkippingEmitter<'_, '_, M, S> {
    /// Handles too many pairs kept aside.
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
                if aside.bytes > UNDONE_BYTES_MAX { self.overflow() } else { Ok(()) }
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
