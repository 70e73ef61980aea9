//! Appending, sorting and reading back.

use windrow_jobs::collect::RecordBuffer;
use windrow_jobs::pairs::RecordRef;

use crate::{measure, random};

const RECORDS: usize = 10_000_000;
const VALUE: [u8; 16] = [b'v'; 16];

/// Sorts keys of ten bytes, then keys with mostly equal bytes, then a list of few distinct words.
pub fn run() {
    let keys: Vec<[u8; 10]> = random(RECORDS).map(|n| ten_bytes(n, n >> 7)).collect();
    by_hand(&keys);
    kernel("random 10-byte keys", &keys);
    let keys: Vec<[u8; 10]> = random(RECORDS).map(|n| ten_bytes(n & 0xff_ffff, n >> 24)).collect();
    kernel("keys of 5 equal bytes, then 5 others", &keys);
    let keys: Vec<[u8; 4]> = random(RECORDS).map(|n| ((n % 1000) as u32).to_be_bytes()).collect();
    kernel("1000 distinct keys, equal values", &keys);
}

fn ten_bytes(first: u64, last: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&last.to_be_bytes()[6..]);
    key
}

/// A program that sorts only these keys: keys and record numbers as integers, in buckets of equal
/// width.
fn by_hand(keys: &[[u8; 10]]) {
    const BUCKETS: usize = 1024;
    let entry = |(index, key): (usize, &[u8; 10])| {
        let mut bytes = [0; 16];
        bytes[..10].copy_from_slice(key);
        u128::from_be_bytes(bytes) | index as u128
    };
    measure(
        "by hand: keys into buckets, sort",
        || (),
        |()| {
            let mut buckets = Vec::new();
            buckets.resize_with(BUCKETS, || Vec::<u128>::with_capacity(RECORDS / BUCKETS * 5 / 4));
            for key in keys.iter().enumerate().map(entry) {
                buckets[(key >> 118) as usize].push(key);
            }
            buckets.iter_mut().for_each(|bucket| bucket.sort_unstable());
            buckets.iter().map(Vec::len).sum()
        },
    );
}

fn kernel<const N: usize>(what: &str, keys: &[[u8; N]]) {
    let filled = || {
        let mut buffer = RecordBuffer::new(1);
        for key in keys {
            let pushed = buffer.push(0, RecordRef { key, value: &VALUE });
            assert!(pushed.is_ok(), "short");
        }
        buffer
    };
    println!("{what}:");
    measure("  push", || (), |_| filled().len());
    measure("  sort", filled, |buffer| {
        buffer.sort();
        buffer.len()
    });
    let sorted = || {
        let mut buffer = filled();
        buffer.sort();
        buffer
    };
    measure("  read", sorted, |buffer| {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for start in (0..RECORDS).step_by(1024) {
            batch.clear();
            buffer.read(0, start..RECORDS.min(start + 1024), &mut batch);
            bytes += batch.iter().map(|record| usize::from(record.value[0])).sum::<usize>();
        }
        assert_eq!(bytes, RECORDS * usize::from(VALUE[0]));
        RECORDS
    });
}
