//! The store of jobs with a combiner whose values own memory, such as strings and lists.
//!
//! The first values of a key [wait](Chains). Only a key with many different values gets an
//! accumulator; the values of all others are folded when pairs are taken, while the next values are
//! prefetched. Most keys of a large table are rare, and an accumulator for each would cost two
//! cache misses and an allocation per value: with accumulators for all keys, the inverted index of
//! 256 MiB with two million words took 13.2 s of user time, and 8.1 s without. Counting repeated
//! values and keeping shared ones once saved a fifth of that, and a quarter of the memory.

mod batch;
mod decoded;

use std::marker::PhantomData;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use batch::Batch;
use decoded::Decoded;

use super::blocks::Blocks;
use super::chains::{Chain, Chains, Followed, Kept};
use super::combine_store::{COPY_BYTES, QUEUE_LEN, naming_key};
use super::key_table::{Fold, KeyTable, Probe, WordTable, Words};
use super::{Collected, RecordBuffer, Store};
use crate::audit::Audit;
use crate::combiner::Combiner;
use crate::counters::LocalCounters;
use crate::error::Result;
use crate::key::Key;
use crate::partitioning::Route;
use crate::value::Value;

/// Larger values are folded at once: copying their bytes costs more than finding their
/// accumulators.
const WAITING_BYTES_MAX: usize = 256;

/// Values that have to be encoded to wait do so only while their key has fewer than this many: a
/// frequent key folds them as they are. With 8, the map threads of a job with a hundred thousand
/// keys took a tenth more time: more keys had accumulators, which are rarely in the cache.
const ENCODED_VALUES_MAX: usize = 12;

/// How many decoded values are kept while pairs are taken.
const DECODED_VALUES: usize = 256;

/// The store checks its memory after this many pairs, or once it has grown by [`GROWTH_BYTES`].
const PUTS: usize = 16;
const GROWTH_BYTES: usize = 4 << 10;

/// The values of a key.
#[derive(Clone, Copy)]
enum State {
    Waiting(Chain),
    /// The number of the accumulator.
    Folded(usize),
}

/// A short key and its state fill half of a cache line, whatever the accumulators are.
const _: () = assert!(size_of::<State>() == 16);

/// Keeps a few values of each key, and an accumulator for each key with more.
pub(crate) struct DeferredStore<K: ?Sized, V: Value + ?Sized, C: Combiner<V>, T> {
    table: KeyTable<State>,
    chains: Chains,
    accumulators: Blocks<C::Accumulator>,
    /// Heap memory that the accumulators own.
    heap_bytes: usize,
    /// The audit of the emitted keys, by their hashes in the table.
    emitted: Audit,
    queue: Queue,
    puts: usize,
    settled_bytes: usize,
    key: Vec<u8>,
    value: Vec<u8>,
    combiner: Arc<C>,
    partitions: u32,
    route: T,
    counters: LocalCounters,
    pair: PhantomData<fn(&K, &V)>,
}

/// Pairs whose slots are being prefetched.
#[derive(Default)]
struct Queue {
    short: Vec<(Probe<2>, Queued)>,
    medium: Vec<(Probe<4>, Queued)>,
    values: Vec<u8>,
}

/// Where the value of a queued pair is.
enum Queued {
    Kept(Kept),
    /// In the queue.
    Here(Range<usize>),
}

impl Queue {
    #[inline]
    fn add(&mut self, value: &[u8], chains: &Chains) -> Queued {
        if let Some(kept) = chains.find(value) {
            return Queued::Kept(kept);
        }
        let start = self.values.len();
        self.values.extend_from_slice(value);
        Queued::Here(start..self.values.len())
    }

    fn len(&self) -> usize {
        self.short.len() + self.medium.len()
    }
}

/// Where values go.
struct Sink<'a, C, A> {
    combiner: &'a C,
    chains: &'a mut Chains,
    accumulators: &'a mut Blocks<A>,
    heap_bytes: &'a mut usize,
    scratch: &'a mut Vec<u8>,
}

/// A value to add to its key.
struct Incoming<'s, 'a, 'v, V: Value + ?Sized, C: Combiner<V>> {
    value: Form<'v, V>,
    sink: &'s mut Sink<'a, C, C::Accumulator>,
}

enum Form<'v, V: Value + ?Sized> {
    Emitted(V::Ref<'v>),
    Encoded(&'v [u8]),
    Kept(Kept),
}

impl<V: Value + ?Sized, C: Combiner<V>> Incoming<'_, '_, '_, V, C> {
    fn start_accumulator(self) -> Result<State> {
        let Sink { combiner, chains, .. } = &*self.sink;
        let start = |bytes: &[u8]| combiner.start(V::view(&V::decode(bytes)?));
        let accumulator = match self.value {
            Form::Emitted(value) => combiner.start(value)?,
            Form::Encoded(bytes) => start(bytes)?,
            Form::Kept(kept) => start(chains.value(kept))?,
        };
        Ok(State::Folded(self.sink.keep_accumulator::<V>(accumulator)))
    }

    #[inline]
    fn add_to(self, number: usize) -> Result<()> {
        let Sink { combiner, heap_bytes, chains, accumulators, .. } = self.sink;
        let accumulator = accumulators.get_mut(number);
        let before = combiner.heap_bytes(accumulator);
        match self.value {
            Form::Emitted(value) => combiner.add(accumulator, value)?,
            Form::Encoded(bytes) => combiner.add(accumulator, V::view(&V::decode(bytes)?))?,
            Form::Kept(kept) => {
                combiner.add(accumulator, V::view(&V::decode(chains.value(kept))?))?;
            }
        }
        // User code returns these numbers: a wrong one must not make the sum wrap.
        let after = combiner.heap_bytes(accumulator);
        **heap_bytes = heap_bytes.saturating_add(after).saturating_sub(before);
        Ok(())
    }

    /// Folds a full chain into an accumulator, and adds the value.
    fn fold_chain(self, chain: Chain) -> Result<State> {
        let Sink { combiner, chains, .. } = &*self.sink;
        let mut followed = Followed::default();
        chains.follow(chain, &mut followed);
        let mut accumulator = None;
        let values = chains.values(&mut followed);
        fold(*combiner, values, &mut Decoded::new(chains, 1), &mut accumulator)?;
        // A chain without values would leave no accumulator to add to.
        let Some(accumulator) = accumulator else { return self.start_accumulator() };
        let number = self.sink.keep_accumulator::<V>(accumulator);
        self.add_to(number)?;
        Ok(State::Folded(number))
    }
}

impl<C, A> Sink<'_, C, A> {
    /// Keeps a new accumulator, counts its memory, and returns its number.
    fn keep_accumulator<V: Value + ?Sized>(&mut self, accumulator: A) -> usize
    where
        C: Combiner<V, Accumulator = A>,
    {
        *self.heap_bytes = self.heap_bytes.saturating_add(self.combiner.heap_bytes(&accumulator));
        self.accumulators.push(accumulator)
    }
}

/// Keeps the value among the chains; `None` if it is too large to wait.
#[inline]
fn keep<V: Value + ?Sized, C, A>(
    value: &Form<'_, V>,
    sink: &mut Sink<'_, C, A>,
) -> Result<Option<Kept>> {
    let bytes = match value {
        Form::Kept(kept) => return Ok(Some(*kept)),
        Form::Emitted(value) => V::encoded(*value, sink.scratch)?,
        Form::Encoded(bytes) => bytes,
    };
    if bytes.len() > WAITING_BYTES_MAX {
        return Ok(None);
    }
    sink.chains.keep(bytes).map(Some)
}

impl<V: Value + ?Sized, C: Combiner<V>> Fold<State> for Incoming<'_, '_, '_, V, C> {
    #[inline]
    fn start(self) -> Result<State> {
        match keep(&self.value, self.sink)? {
            Some(kept) => Ok(State::Waiting(Chain::new(kept))),
            None => self.start_accumulator(),
        }
    }

    #[inline]
    fn add(self, state: &mut State) -> Result<()> {
        match state {
            State::Folded(number) => self.add_to(*number),
            State::Waiting(chain) => {
                let may_wait = V::IS_BYTES || chain.values_min() < ENCODED_VALUES_MAX;
                if may_wait
                    && let Some(kept) = keep(&self.value, self.sink)?
                    && self.sink.chains.push(chain, kept)
                {
                    return Ok(());
                }
                *state = self.fold_chain(*chain)?;
                Ok(())
            }
        }
    }
}

/// Makes `accumulator` that of some kept values, each of which came so many times in a row,
/// whatever it was before.
fn fold<V: Value + ?Sized, C: Combiner<V>>(
    combiner: &C,
    values: impl Iterator<Item = (Kept, u32)>,
    decoded: &mut Decoded<'_, V>,
    accumulator: &mut Option<C::Accumulator>,
) -> Result<()> {
    let mut is_first = true;
    for (kept, times) in values {
        decoded.with(kept, |value| {
            for _ in 0..times {
                match accumulator {
                    Some(accumulator) if is_first => combiner.restart(accumulator, value)?,
                    Some(accumulator) => combiner.add(accumulator, value)?,
                    None => *accumulator = Some(combiner.start(value)?),
                }
                is_first = false;
            }
            Ok(())
        })?;
    }
    Ok(())
}

impl<K, V, C, T> DeferredStore<K, V, C, T>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    C: Combiner<V>,
{
    /// An empty store, whose tables are [seeded](crate::collect::CollectorSetup::seed) with `seed`.
    pub(crate) fn new(combiner: Arc<C>, partitions: u32, route: T, seed: u64) -> Self {
        Self {
            table: KeyTable::new(seed),
            chains: Chains::default(),
            accumulators: Blocks::default(),
            heap_bytes: 0,
            emitted: Audit::default(),
            queue: Queue::default(),
            puts: 0,
            settled_bytes: 0,
            key: Vec::new(),
            value: Vec::new(),
            combiner,
            partitions,
            route,
            counters: LocalCounters::default(),
            pair: PhantomData,
        }
    }

    fn kept_bytes(&self) -> usize {
        let accumulators_bytes = self.accumulators.memory_bytes() + self.heap_bytes;
        self.table.memory_bytes() + self.chains.memory_bytes() + accumulators_bytes
    }

    /// Moves the whole queue into the table.
    fn drain_queue(&mut self) -> Result<()> {
        let Self { table, chains, accumulators, heap_bytes, emitted, queue, .. } = self;
        let Queue { short, medium, values } = queue;
        let (combiner, scratch) = (&*self.combiner, &mut self.value);
        let mut sink = Sink { combiner, chains, accumulators, heap_bytes, scratch };
        emitted.merge(drain::<2, K, V, C>(short, values, table, &mut sink)?);
        emitted.merge(drain::<4, K, V, C>(medium, values, table, &mut sink)?);
        values.clear();
        Ok(())
    }
}

/// Puts pairs into the table. Returns the audit of their keys.
fn drain<const N: usize, K, V, C>(
    pairs: &mut Vec<(Probe<N>, Queued)>,
    values: &[u8],
    table: &mut impl WordTable<N, Accumulator = State>,
    sink: &mut Sink<'_, C, C::Accumulator>,
) -> Result<Audit>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    C: Combiner<V>,
{
    let mut keys = Audit { records: pairs.len() as u64, digest: 0 };
    for (probe, value) in pairs.drain(..) {
        keys.digest = keys.digest.wrapping_add(probe.hash());
        let value = match value {
            Queued::Kept(kept) => Form::Kept(kept),
            Queued::Here(range) => Form::Encoded(&values[range]),
        };
        let outcome = table.fold(probe, Incoming::<V, C> { value, sink: &mut *sink });
        outcome.map_err(|error| probe.with_key(|key| naming_key::<K>(key, &error)))?;
    }
    Ok(keys)
}

impl<K, V, C, T> Store<K, V> for DeferredStore<K, V, C, T>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    C: Combiner<V>,
    T: Route,
{
    #[inline]
    fn put(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<bool> {
        let key = K::encoded(key, &mut self.key);
        // Other values do not wait encoded: a frequent key folds them as they are.
        if V::IS_BYTES {
            let bytes = V::encoded(value, &mut self.value)?;
            if bytes.len() <= WAITING_BYTES_MAX {
                if let Some(words) = Words::<2>::new(key) {
                    let value = self.queue.add(bytes, &self.chains);
                    self.queue.short.push((self.table.probe(words), value));
                    return Ok(self.queue.len() >= QUEUE_LEN);
                }
                if let Some(words) = Words::<4>::new(key) {
                    let value = self.queue.add(bytes, &self.chains);
                    self.queue.medium.push((self.table.probe(words), value));
                    return Ok(self.queue.len() >= QUEUE_LEN);
                }
            }
        }
        let sink = &mut Sink {
            combiner: &*self.combiner,
            chains: &mut self.chains,
            accumulators: &mut self.accumulators,
            heap_bytes: &mut self.heap_bytes,
            scratch: &mut self.value,
        };
        let incoming = Incoming::<V, C> { value: Form::Emitted(value), sink };
        let digest = self.table.fold_now(key, incoming)?;
        self.emitted.merge(Audit { records: 1, digest });
        self.puts += 1;
        Ok(self.puts >= PUTS || self.kept_bytes() > self.settled_bytes + GROWTH_BYTES)
    }

    fn check(&mut self, key: K::Ref<'_>, value: V::Ref<'_>, _salt: u64) -> Result<usize> {
        let key_bytes = K::encoded(key, &mut self.key).len();
        Ok(key_bytes + V::encoded(value, &mut self.value)?.len())
    }

    fn settle(&mut self) -> Result<()> {
        self.drain_queue()?;
        self.puts = 0;
        self.settled_bytes = self.kept_bytes();
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let Queue { short, medium, values } = &self.queue;
        let queue = short.capacity() * size_of::<(Probe<2>, Queued)>()
            + medium.capacity() * size_of::<(Probe<4>, Queued)>()
            + values.capacity();
        self.kept_bytes() + queue + self.key.capacity() + self.value.capacity()
    }

    fn wanted_bytes(&self) -> usize {
        // As in `CombineStore`. A value is copied at most once, and chains are freed only at the
        // end.
        let copied = self.table.len() * COPY_BYTES + self.chains.memory_bytes() + self.heap_bytes;
        let copy_bytes = copied + self.table.longest_bytes();
        self.kept_bytes() + self.table.next_growth_bytes().max(copy_bytes)
    }

    fn take(&mut self) -> Result<Collected> {
        self.settle()?;
        let table = self.table.take();
        let chains = mem::take(&mut self.chains);
        let accumulators = mem::take(&mut self.accumulators);
        (self.queue, self.key, self.value) = Default::default();
        (self.heap_bytes, self.settled_bytes) = (0, 0);
        let partition_records = table.len() / self.partitions.max(1) as usize;
        let mut buffer = RecordBuffer::with_capacity(self.partitions, partition_records);
        let mut batch = Batch::default();
        let mut decoded = Decoded::new(&chains, DECODED_VALUES);
        let mut fold_batch = |batch: &mut Batch<_>| {
            let (combiner, decoded) = (&*self.combiner, &mut decoded);
            batch.fold::<K, V, C>(combiner, &chains, decoded, &accumulators, |record| {
                buffer.push(self.route.route(record, 0)?, record)
            })
        };
        table.drain(|key, state| {
            batch.push(key, state, &chains, &accumulators);
            if batch.is_full() { fold_batch(&mut batch) } else { Ok(()) }
        })?;
        fold_batch(&mut batch)?;
        Ok(Collected::Pairs(buffer))
    }

    fn emitted(&self) -> Option<Audit> {
        Some(self.emitted)
    }

    fn counters(&mut self) -> &mut LocalCounters {
        &mut self.counters
    }
}

#[cfg(test)]
mod tests;
