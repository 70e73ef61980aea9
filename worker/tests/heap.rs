//! The count of the heap, in a process that allocates little else.

use windrow_worker::{CountingAllocator, heap_bytes};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const LARGE: usize = 64 << 20;
/// What the test harness may allocate or free meanwhile, and what threads have not reported yet.
const TOLERANCE: u64 = 1 << 20;

#[test]
fn allocations_of_all_threads_are_counted_until_they_are_freed() {
    let holds = |expected: u64| heap_bytes().abs_diff(expected) < TOLERANCE;
    let before = heap_bytes();
    let mut memory = std::thread::spawn(|| Vec::<u8>::with_capacity(LARGE)).join().unwrap();
    assert!(holds(before + LARGE as u64));
    memory.reserve_exact(3 * LARGE);
    assert!(holds(before + 3 * LARGE as u64));
    drop(memory);
    assert!(holds(before));
    let small: Vec<_> = (0..LARGE >> 10).map(|_| Box::new([0u8; 1 << 10])).collect();
    assert!(heap_bytes() > before + LARGE as u64);
    // Freed by another thread, which reports the rest when it ends.
    std::thread::spawn(move || drop(small)).join().unwrap();
    assert!(holds(before));
}
