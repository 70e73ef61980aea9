//! Chooses the numbers that the user left open: size of splits, number of reducers.

const MIB: u64 = 1 << 20;
const SPLIT_BYTES_MIN: u64 = 16 * MIB;
const SPLIT_BYTES_MAX: u64 = 1024 * MIB;
/// Turns that each map slot takes: more level out the load, fewer combine more at once.
const WAVES: u64 = 3;
/// Map attempts that a worker runs at once; each uses all of its threads.
const MAP_SLOTS_PER_WORKER: u64 = 2;
/// Input that makes a reducer worth having.
const BYTES_PER_REDUCER: u64 = 64 * MIB;

/// What there is to run a job on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClusterSize {
    /// Zero while none has joined, which counts as one here.
    pub(crate) workers: u32,
    /// Of all workers together.
    pub(crate) threads: u32,
}

/// As large as keeps every worker busy for a few turns, from 16 MiB to 1 GiB.
pub(crate) fn default_split_bytes(input_bytes: u64, cluster: ClusterSize) -> u64 {
    let tasks = u64::from(cluster.workers.max(1)) * MAP_SLOTS_PER_WORKER * WAVES;
    input_bytes.div_ceil(tasks).clamp(SPLIT_BYTES_MIN, SPLIT_BYTES_MAX)
}

/// One for every 64 MiB of input, but no more than two turns of the cluster's threads.
pub(crate) fn default_reducers(input_bytes: u64, cluster: ClusterSize) -> u32 {
    let most = u64::from(cluster.threads.max(1)) * 2;
    let wanted = input_bytes.div_ceil(BYTES_PER_REDUCER).clamp(1, most);
    u32::try_from(wanted).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_grow_with_the_input_within_their_bounds() {
        let cluster = ClusterSize { workers: 3, threads: 12 };
        assert_eq!(default_split_bytes(0, cluster), 16 * MIB);
        assert_eq!(default_split_bytes(18 * 100 * MIB, cluster), 100 * MIB);
        assert_eq!(default_split_bytes(u64::MAX, cluster), 1024 * MIB);
    }

    #[test]
    fn reducers_grow_with_the_input_up_to_two_turns_of_all_threads() {
        let cluster = ClusterSize { workers: 3, threads: 12 };
        assert_eq!(default_reducers(0, cluster), 1);
        assert_eq!(default_reducers(65 * MIB, cluster), 2);
        assert_eq!(default_reducers(u64::MAX, cluster), 24);
    }
}
