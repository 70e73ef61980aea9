//! How many sorted runs one merge reads at once. Both the workers, which merge, and the plan, which
//! shows the number, take it from here.

/// Most memory that one sorted run needs in a merge, unless single pairs are large: a block as
/// read, its decompressed bytes, its decoded pairs and their index.
pub const SOURCE_BYTES: u64 = 160 << 10;

/// The merges of all threads together get one part in this many of a worker's memory.
const MEMORY_PARTS: u64 = 8;

/// A smaller fan-in needs more passes over the disk; a larger one only makes each read smaller.
const BOUNDS: (u64, u64) = (4, 256);

/// The fan-in, from 4 to 256, of a job that may use `memory_bytes` on a worker with `threads`
/// threads, each of which may merge.
pub fn default_fan_in(memory_bytes: u64, threads: u32) -> u32 {
    let merge_bytes = memory_bytes / MEMORY_PARTS / u64::from(threads.max(1));
    (merge_bytes / SOURCE_BYTES).clamp(BOUNDS.0, BOUNDS.1) as u32
}

/// Most memory of a merge of `fan_in` sorted runs, unless single pairs are large.
pub fn merge_bytes(fan_in: u32) -> u64 {
    u64::from(fan_in) * SOURCE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fan_in_follows_memory_within_bounds() {
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
