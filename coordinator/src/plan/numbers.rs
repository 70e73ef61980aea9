//! Chooses the numbers that the user left open: split size, number of reducers, fan-in of merges.
//! Pure.
//!
//! A map task runs on all threads of its worker, combines better the more it sees, and leaves one
//! sorted run, which reducers merge with the others. So each worker gets as few tasks as its memory
//! allows, and all get the same number. Where workers differ much, or a record takes long to map,
//! smaller splits balance the load: a flag sets them.

use serde::{Deserialize, Serialize};
use windrow_jobs::JobOptions;
use windrow_jobs::fan_in::default_fan_in;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Smaller tasks cost more than they spread.
const SPLIT_BYTES_MIN: u64 = 16 * MIB;
/// Larger tasks lose too much when they fail. On the only worker, failures are rarely the
/// machine's.
const SPLIT_BYTES_MAX: u64 = GIB;
const SPLIT_BYTES_MAX_ALONE: u64 = 4 * GIB;
/// If a worker's input fits its memory, a split is at most one part in this many of it: the
/// collectors of a task may fill about 40 percent, and uncombined pairs are larger than their
/// input.
const MEMORY_PARTS: u64 = 4;
/// Otherwise, a split is at most so many times the memory: the task then spills about twenty runs,
/// each from reused buffers. Several tasks would each begin with new ones.
const MEMORY_TIMES: u64 = 8;
/// Input that makes a reducer worth having.
const BYTES_PER_REDUCER_MIN: u64 = 32 * MIB;
/// Most input of a reducer, so that none runs for ever or fills a disk alone.
const BYTES_PER_REDUCER_MAX: u64 = 4 * GIB;
const REDUCERS_PER_THREAD: u64 = 2;
/// If the input does not fit memory, reducers read and write files, and their speeds differ:
/// smaller tasks end closer to each other.
const REDUCERS_PER_THREAD_BEYOND_MEMORY: u64 = 4;
/// The only worker is mostly an embedded one, which deletes a reducer's input when it is done:
/// smaller reducers free disk space sooner.
const REDUCERS_PER_THREAD_BEYOND_MEMORY_ALONE: u64 = 8;
/// The most that a submission may ask for.
const REDUCERS_MAX: u64 = 100_000;

/// The size of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterSize {
    /// Zero while none has joined; planning assumes one.
    pub(crate) workers: u32,
    /// Threads of all workers together.
    pub(crate) threads: u32,
    /// Memory of the smallest worker.
    pub(crate) memory_bytes: u64,
}

impl ClusterSize {
    /// The part that a job with these options uses.
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

    /// At least one.
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

    /// The fan-in of merges on the smallest worker. All of a worker's threads may merge, however
    /// few of them one task may use.
    pub(super) fn default_fan_in(self, options: &JobOptions) -> u32 {
        let memory_bytes = self.memory_bytes.min(options.memory_bytes.unwrap_or(u64::MAX));
        default_fan_in(memory_bytes, self.threads.div_ceil(self.workers.max(1)))
    }
}

/// The split size.
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

/// One reducer for every 32 MiB of input, up to two rounds of all threads, or four beyond memory,
/// or eight on the only worker, so that all threads get the same number; more only if each would
/// get more than 4 GiB of input.
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
    fn the_only_worker_gets_few_tasks() {
        for (input, memory, tasks) in [
            (10 * MIB, 12 * GIB, 1),
            (GIB, 12 * GIB, 1),
            (3 * GIB, 12 * GIB, 1),
            (3 * GIB + 1, 12 * GIB, 2),
            (9 * GIB, 64 * GIB, 3),
            // Input that fits is cut, so that it can stay in memory.
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
    fn all_workers_get_the_same_number_of_tasks() {
        let cluster = cluster(3, 64 * GIB);
        assert_eq!(default_split_bytes(0, cluster), 16 * MIB);
        assert_eq!(default_split_bytes(3 * 100 * MIB, cluster), 100 * MIB);
        assert_eq!(default_split_bytes(3 * 1536 * MIB, cluster), 768 * MIB);
        assert_eq!(default_split_bytes(u64::MAX, cluster), GIB);
    }

    #[test]
    fn reducers_keep_all_threads_busy_and_are_bounded() {
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
    fn flags_limit_the_cluster() {
        let options =
            JobOptions { threads: Some(1), memory_bytes: Some(MIB), ..JobOptions::default() };
        let limited = cluster(3, GIB).limited(&options);
        assert_eq!(limited, ClusterSize { workers: 3, threads: 3, memory_bytes: MIB });
        assert_eq!(cluster(3, GIB).limited(&JobOptions::default()), cluster(3, GIB));
    }
}
