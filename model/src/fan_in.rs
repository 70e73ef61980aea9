//! How many sorted runs one merge reads at once. Workers, which merge, and the plan, which shows
//! the number, choose it here.

/// Memory that a sorted run takes up while it is merged, at most, unless single pairs are large: a
/// block as it was read, unpacked, and with its pairs written out, and what finds these.
pub const SOURCE_BYTES: u64 = 160 << 10;

/// One part in this many of a worker's memory is for the merges of all its threads.
const MEMORY_PARTS: u64 = 8;

/// With fewer, data would go to disk too often; more than these would only read in smaller pieces.
const BOUNDS: (u64, u64) = (4, 256);

/// The fan-in of a job that may have `memory_bytes` on a worker of so many threads, each of which
/// may merge. From 4 to 256.
pub fn default_fan_in(memory_bytes: u64, threads: u32) -> u32 {
    let merge_bytes = memory_bytes / MEMORY_PARTS / u64::from(threads.max(1));
    (merge_bytes / SOURCE_BYTES).clamp(BOUNDS.0, BOUNDS.1) as u32
}

/// Memory of a merge of so many sorted runs, at most, unless single pairs are large.
pub fn merge_bytes(fan_in: u32) -> u64 {
    u64::from(fan_in) * SOURCE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_memory_within_bounds() {
        const MIB: u64 = 1 << 20;
        for (memory_bytes, threads, fan_in) in [
            (0, 1, 4),
            (64 * MIB, 2, 25),
            (64 * MIB, 0, 51),
            (512 * MIB, 2, 204),
            (1 << 40, 64, 256),
        ] {
            assert_eq!(default_fan_in(memory_bytes, threads), fan_in);
        }
    }
}
