//! Chooses the numbers that the user left open: size of splits, number of reducers, fan-in of
//! merges. Pure.
//!
//! A map task runs on all threads of its worker, combines the better the more it sees, and leaves
//! one sorted run, which reducers merge with the others. So each worker gets as few tasks as its
//! memory allows, and as many as the others. Where workers differ much, or a record takes long to
//! map, smaller splits level out the load: a flag sets them.

use serde::{Deserialize, Serialize};
use windrow_jobs::JobOptions;
use windrow_jobs::fan_in::default_fan_in;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Smaller tasks cost more than they spread.
const SPLIT_BYTES_MIN: u64 = 16 * MIB;
/// Larger tasks lose too much when they fail. What fails on a worker that is alone is seldom the
/// machine.
const SPLIT_BYTES_MAX: u64 = GIB;
const SPLIT_BYTES_MAX_ALONE: u64 = 4 * GIB;
/// Where a worker's input fits its memory, a split is at most one part in this many of it: the
/// collectors of a task may fill about 40 percent, and pairs that are not combined take up more
/// than the input that they come from.
const MEMORY_PARTS: u64 = 4;
/// Where it does not, a split is at most so many times the memory: the task then spills twenty runs
/// or so, each from the buffers of the one before. Several tasks would all begin with new ones.
const MEMORY_TIMES: u64 = 8;
/// Input that makes a reducer worth having.
const BYTES_PER_REDUCER_MIN: u64 = 32 * MIB;
/// Input that is enough for a reducer, so that none runs for ever or fills a disk alone.
const BYTES_PER_REDUCER_MAX: u64 = 4 * GIB;
const REDUCERS_PER_THREAD: u64 = 2;
/// Where input does not fit memory, reducers read and write files, which gives to some more than to
/// others: smaller tasks end closer to each other.
const REDUCERS_PER_THREAD_BEYOND_MEMORY: u64 = 4;
/// A worker that is alone is mostly an embedded one, which deletes what a reducer has read when
/// that is done: the less at a time, the sooner there is room.
const REDUCERS_PER_THREAD_BEYOND_MEMORY_ALONE: u64 = 8;
/// As many as a submission may ask for.
const REDUCERS_MAX: u64 = 100_000;

/// What there is to run a job on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterSize {
    /// Zero while none has joined, which counts as one here.
    pub(crate) workers: u32,
    /// Of all workers together.
    pub(crate) threads: u32,
    /// Of the worker that has least.
    pub(crate) memory_bytes: u64,
}

impl ClusterSize {
    /// What of it a job with these options uses.
    pub(super) fn limited(self, options: &JobOptions) -> Self {
        let workers = self.workers.max(1);
        let threads_max =
            options.threads.map_or(u32::MAX, |threads| threads.saturating_mul(workers));
        let memory_max = options.memory_bytes.unwrap_or(u64::MAX);
        Self {
            workers,
            threads: self.threads.clamp(1, threads_max.max(1)),
            memory_bytes: self.memory_bytes.min(memory_max),
        }
    }

    /// One at least.
    fn workers_min(self) -> u64 {
        u64::from(self.workers.max(1))
    }

    fn is_only_worker(self) -> bool {
        self.workers <= 1
    }

    /// Whether each worker's share of the input fits its memory.
    fn fits(self, input_bytes: u64) -> bool {
        input_bytes.div_ceil(self.workers_min()) <= self.memory_bytes
    }

    /// How many sorted runs one merge reads at once, on the worker that has least memory. All of a
    /// worker's threads may merge, however few of them one task may use.
    pub(super) fn default_fan_in(self, options: &JobOptions) -> u32 {
        let memory_bytes = self.memory_bytes.min(options.memory_bytes.unwrap_or(u64::MAX));
        default_fan_in(memory_bytes, self.threads.div_ceil(self.workers.max(1)))
    }
}

/// Most bytes of a split.
pub(super) fn default_split_bytes(input_bytes: u64, cluster: ClusterSize) -> u64 {
    let least = SPLIT_BYTES_MIN;
    let most = if cluster.is_only_worker() { SPLIT_BYTES_MAX_ALONE } else { SPLIT_BYTES_MAX };
    let workers = cluster.workers_min();
    let each = input_bytes.div_ceil(workers);
    let by_memory = if cluster.fits(input_bytes) {
        cluster.memory_bytes / MEMORY_PARTS
    } else {
        cluster.memory_bytes.saturating_mul(MEMORY_TIMES)
    };
    let most = by_memory.clamp(least, most);
    let tasks = workers * each.div_ceil(most);
    input_bytes.div_ceil(tasks.max(1)).clamp(least, most)
}

/// One for every 32 MiB of input, up to two turns of all threads, or four beyond memory, or eight
/// on a worker that is alone, which then have the same number each; more only where these would get
/// more than 4 GiB of input each.
pub(super) fn default_reducers(input_bytes: u64, cluster: ClusterSize) -> u32 {
    let threads = u64::from(cluster.threads.max(1));
    let turns = match (cluster.fits(input_bytes), cluster.is_only_worker()) {
        (true, _) => REDUCERS_PER_THREAD,
        (false, false) => REDUCERS_PER_THREAD_BEYOND_MEMORY,
        (false, true) => REDUCERS_PER_THREAD_BEYOND_MEMORY_ALONE,
    };
    let wanted = input_bytes.div_ceil(BYTES_PER_REDUCER_MIN).min(threads * turns);
    let wanted = wanted.max(input_bytes.div_ceil(BYTES_PER_REDUCER_MAX)).max(1);
    let even = if wanted > threads { wanted.next_multiple_of(threads) } else { wanted };
    even.min(REDUCERS_MAX) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(workers: u32, memory_bytes: u64) -> ClusterSize {
        ClusterSize { workers, threads: 4 * workers, memory_bytes }
    }

    #[test]
    fn a_worker_alone_gets_few_tasks() {
        for (input, memory, tasks) in [
            (10 * MIB, 12 * GIB, 1),
            (GIB, 12 * GIB, 1),
            (3 * GIB, 12 * GIB, 1),
            (3 * GIB + 1, 12 * GIB, 2),
            (9 * GIB, 64 * GIB, 3),
            // What fits is cut, so that it can stay in memory.
            (GIB, GIB, 4),
            (2 * GIB, 512 * MIB, 1),
            (3 * GIB, 256 * MIB, 2),
            (9 * GIB, 512 * MIB, 3),
            // Smaller splits would not help any more.
            (GIB, MIB, 64),
        ] {
            let split_bytes = default_split_bytes(input, cluster(1, memory));
            assert_eq!(input.div_ceil(split_bytes), tasks, "{input} in {memory}");
        }
    }

    #[test]
    fn several_workers_get_as_many_tasks_each() {
        let cluster = cluster(3, 64 * GIB);
        assert_eq!(default_split_bytes(0, cluster), 16 * MIB);
        assert_eq!(default_split_bytes(3 * 100 * MIB, cluster), 100 * MIB);
        assert_eq!(default_split_bytes(3 * 1536 * MIB, cluster), 768 * MIB);
        assert_eq!(default_split_bytes(u64::MAX, cluster), GIB);
    }

    #[test]
    fn reducers_keep_all_threads_busy_and_none_gets_too_much() {
        let cluster = cluster(3, 64 * GIB);
        for (input, reducers) in [
            (0, 1),
            (33 * MIB, 2),
            (GIB / 2, 24),
            (96 * GIB, 24),
            (97 * GIB, 36),
            // Beyond memory.
            (192 * GIB + 3, 60),
            (u64::MAX, 100_000),
        ] {
            assert_eq!(default_reducers(input, cluster), reducers, "{input}");
        }
        let alone = self::cluster(1, GIB);
        assert_eq!(
            [GIB, GIB + 1, 3 * GIB].map(|input| default_reducers(input, alone)),
            [8, 32, 32]
        );
    }

    #[test]
    fn flags_limit_what_is_used() {
        let options =
            JobOptions { threads: Some(1), memory_bytes: Some(MIB), ..JobOptions::default() };
        let limited = cluster(3, GIB).limited(&options);
        assert_eq!(limited, ClusterSize { workers: 3, threads: 3, memory_bytes: MIB });
        assert_eq!(cluster(3, GIB).limited(&JobOptions::default()), cluster(3, GIB));
    }
}
