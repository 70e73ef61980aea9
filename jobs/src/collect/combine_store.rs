//! The store of jobs with a combiner whose values are a few plain bytes. It keeps one accumulator
//! per key.
//!
//! Short keys wait in a queue while their slots are prefetched. The order does not matter to a
//! combiner; a late error names the key.

use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use super::key_table::{Fold, KeyTable, Probe, WordTable, Words};
use super::{Collected, RecordBuffer, Store};
use crate::audit::Audit;
use crate::combiner::Combiner;
use crate::counters::LocalCounters;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::pairs::RecordRef;
use crate::partitioning::Route;
use crate::text;
use crate::value::Value;

/// Length of a queue: more than the processor has outstanding reads, and short enough for the L1
/// cache.
pub(super) const QUEUE_LEN: usize = 32;

/// About the memory of a short pair once it is drained into a buffer.
pub(super) const COPY_BYTES: usize = 40;

/// Combines values in place. Each distinct key is partitioned once, when pairs are taken.
pub(crate) struct CombineStore<K: ?Sized, V: Value + ?Sized, C: Combiner<V>, T> {
    table: KeyTable<C::Accumulator>,
    /// The audit of the emitted keys, by their hashes in the table.
    emitted: Audit,
    /// Heap memory that the accumulators own.
    heap_bytes: usize,
    short: Vec<(Probe<2>, V::Owned)>,
    medium: Vec<(Probe<4>, V::Owned)>,
    scratch: Vec<u8>,
    combiner: Arc<C>,
    partitions: u32,
    route: T,
    counters: LocalCounters,
    pair: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: Value + ?Sized, C: Combiner<V>, T> CombineStore<K, V, C, T> {
    /// An empty store, whose tables are [seeded](crate::collect::CollectorSetup::seed) with `seed`.
    pub(crate) fn new(combiner: Arc<C>, partitions: u32, route: T, seed: u64) -> Self {
        debug_assert!(V::IS_COPY, "to own a value in the queue costs nothing");
        Self {
            table: KeyTable::new(seed),
            emitted: Audit::default(),
            heap_bytes: 0,
            short: Vec::with_capacity(QUEUE_LEN),
            medium: Vec::with_capacity(QUEUE_LEN),
            scratch: Vec::new(),
            combiner,
            partitions,
            route,
            counters: LocalCounters::default(),
            pair: PhantomData,
        }
    }
}

/// A value to fold into an accumulator.
struct Combine<'a, 'v, V: Value + ?Sized, C> {
    combiner: &'a C,
    value: V::Ref<'v>,
    heap_bytes: &'a mut usize,
}

impl<V: Value + ?Sized, C: Combiner<V>> Fold<C::Accumulator> for Combine<'_, '_, V, C> {
    #[inline]
    fn start(self) -> Result<C::Accumulator> {
        let accumulator = self.combiner.start(self.value)?;
        let heap_bytes = self.combiner.heap_bytes(&accumulator);
        *self.heap_bytes = self.heap_bytes.saturating_add(heap_bytes);
        Ok(accumulator)
    }

    #[inline]
    fn add(self, accumulator: &mut C::Accumulator) -> Result<()> {
        let before = self.combiner.heap_bytes(accumulator);
        self.combiner.add(accumulator, self.value)?;
        // User code returns these numbers: a wrong one must not make the sum wrap.
        let after = self.combiner.heap_bytes(accumulator);
        *self.heap_bytes = self.heap_bytes.saturating_add(after).saturating_sub(before);
        Ok(())
    }
}

/// Folds a whole queue into the table. Returns the audit of its keys.
fn drain<const N: usize, K, V, C>(
    queue: &mut Vec<(Probe<N>, V::Owned)>,
    table: &mut impl WordTable<N, Accumulator = C::Accumulator>,
    combiner: &C,
    heap_bytes: &mut usize,
) -> Result<Audit>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    C: Combiner<V>,
{
    let mut keys = Audit { records: queue.len() as u64, digest: 0 };
    for (probe, value) in queue.drain(..) {
        keys.digest = keys.digest.wrapping_add(probe.hash());
        let value = Combine::<V, C> {
            combiner,
            value: V::view_owned(&value),
            heap_bytes: &mut *heap_bytes,
        };
        let outcome = table.fold(probe, value);
        outcome.map_err(|error| probe.with_key(|key| naming_key::<K>(key, &error)))?;
    }
    Ok(keys)
}

#[cold]
pub(super) fn naming_key<K: Key + ?Sized>(key: &[u8], error: &Error) -> Error {
    let mut text = Vec::new();
    match K::decode(key) {
        Ok(_) if !K::HAS_TEXT => return Error::new(error.message()),
        Ok(key) => K::write_text(K::view(&key), &mut text),
        Err(_) => text.extend_from_slice(key),
    }
    Error::new(format!("key '{}': {error}", text::shown(&text)))
}

impl<K, V, C, T> Store<K, V> for CombineStore<K, V, C, T>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    C: Combiner<V>,
    T: Route,
{
    #[inline]
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<bool> {
        let Self { table, emitted, short, medium, combiner, heap_bytes, .. } = self;
        let key = K::encoded(key, &mut self.scratch);
        if let Some(words) = Words::<2>::new(key) {
            short.push((table.probe(words), V::own(value)));
            return Ok(short.len() == QUEUE_LEN);
        }
        if let Some(words) = Words::<4>::new(key) {
            medium.push((table.probe(words), V::own(value)));
            return Ok(medium.len() == QUEUE_LEN);
        }
        let value = Combine::<V, C> { combiner: &**combiner, value, heap_bytes };
        let digest = table.fold_now(key, value)?;
        emitted.merge(Audit { records: 1, digest });
        Ok(true)
    }

    fn check(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<usize> {
        let key_bytes = K::encoded(key, &mut self.scratch).len();
        Ok(key_bytes + V::encoded(value, &mut self.scratch)?.len())
    }

    fn settle(&mut self) -> Result<()> {
        let Self { table, emitted, short, medium, combiner, heap_bytes, .. } = self;
        emitted.merge(drain::<2, K, V, C>(short, table, combiner, heap_bytes)?);
        emitted.merge(drain::<4, K, V, C>(medium, table, combiner, heap_bytes)?);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let short = self.short.capacity() * size_of::<(Probe<2>, V::Owned)>();
        let medium = self.medium.capacity() * size_of::<(Probe<4>, V::Owned)>();
        self.table.memory_bytes() + self.heap_bytes + self.scratch.capacity() + short + medium
    }

    fn wanted_bytes(&self) -> usize {
        // Draining a table copies it. The memory of a large key is freed once it is copied. The
        // accumulators' memory is freed, too, but an allocator can seldom reuse many small pieces
        // for one large block.
        let copied = self.table.len() * COPY_BYTES + self.heap_bytes;
        let copy_bytes = copied + self.table.longest_bytes();
        let growth_bytes = self.table.next_growth_bytes().max(copy_bytes);
        self.table.memory_bytes() + self.heap_bytes + growth_bytes
    }

    fn take(&mut self) -> Result<Collected> {
        self.settle()?;
        let table = self.table.take();
        self.heap_bytes = 0;
        let mut scratch = mem::take(&mut self.scratch);
        let mut buffer = RecordBuffer::with_capacity(
            self.partitions,
            table.len() / self.partitions.max(1) as usize,
        );
        table.drain(|key, accumulator| {
            let value = V::encoded(self.combiner.finish(&accumulator), &mut scratch)?;
            let record = RecordRef { key, value };
            buffer.push(self.route.route(record, 0)?, record)
        })?;
        Ok(Collected::Pairs(buffer))
    }

    fn emitted(&self) -> Option<Audit> {
        Some(self.emitted)
    }

    fn counters(&mut self) -> &mut LocalCounters {
        &mut self.counters
    }
}
