//! Compares the table with the standard library's.

use std::collections::HashMap;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::error::Error;

/// Counts, and owns a `T`.
struct One<T>(T);

impl<T> Fold<(u32, T)> for One<T> {
    fn start(self) -> Result<(u32, T)> {
        Ok((1, self.0))
    }

    fn add(self, accumulator: &mut (u32, T)) -> Result<()> {
        accumulator.0 += 1;
        Ok(())
    }
}

fn counts<T>(table: KeyTable<(u32, T)>) -> HashMap<Vec<u8>, u32> {
    let mut counts = HashMap::new();
    table
        .drain(|key, (count, _)| {
            assert_eq!(counts.insert(key.to_vec(), count), None);
            Ok(())
        })
        .unwrap();
    counts
}

proptest! {
    /// Keys of few distinct bytes and of all classes of length, so that they often collide.
    #[test]
    fn counts_like_a_map(keys in vec(vec(0..2_u8, 0..40), 0..300)) {
        let mut table = KeyTable::new(1);
        let mut map = HashMap::<Vec<u8>, u32>::new();
        for key in &keys {
            *map.entry(key.clone()).or_default() += 1;
            table.fold_now(key, One(())).unwrap();
        }
        prop_assert_eq!(table.len(), map.len());
        prop_assert_eq!(counts(table), map);
    }
}

#[test]
fn tables_grow_as_announced() {
    let mut table = KeyTable::new(1);
    let (mut announced, mut grown) = (0, 0);
    for n in 0..20_000_u32 {
        let bytes = table.memory_bytes();
        table.fold_now(&n.to_be_bytes(), One(())).unwrap();
        if n > 0 && table.memory_bytes() > bytes {
            assert_eq!(announced, table.memory_bytes());
            grown += 1;
        }
        announced = table.next_growth_bytes();
    }
    assert!((3..10).contains(&grown), "{grown}");
    assert!(counts(table).values().all(|count| *count == 1));
}

#[test]
fn accumulators_are_dropped_once() {
    let kept = Rc::new(());
    let mut table = KeyTable::new(1);
    for n in 0..1000_u32 {
        let key = vec![b'x'; n as usize % 50];
        table.fold_now(&[&n.to_be_bytes()[..], &key].concat(), One(Rc::clone(&kept))).unwrap();
        table.fold_now(&n.to_be_bytes(), One(Rc::clone(&kept))).unwrap();
    }
    assert_eq!(Rc::strong_count(&kept), table.len() + 1);
    let mut rest = 1500;
    let stopped = table.drain(|_, (_, mine)| {
        rest -= 1;
        assert!(Rc::ptr_eq(&mine, &kept));
        if rest == 0 { Err(Error::new("enough")) } else { Ok(()) }
    });
    assert!(stopped.is_err());
    assert_eq!(Rc::strong_count(&kept), 1);
}

#[test]
fn memory_is_freed_while_keys_are_drained() {
    let mut table = KeyTable::new(1);
    let mut map = HashMap::new();
    for n in 0..300_usize {
        let bytes = [40, 3 << 10, 20 << 10, 200 << 10][n % 4];
        let key = [&n.to_be_bytes()[..], &vec![b'x'; bytes]].concat();
        table.fold_now(&key, One(())).unwrap();
        map.insert(key, 1);
    }
    assert_eq!(counts(table), map);
}

#[test]
fn a_key_whose_accumulator_fails_to_start_is_not_kept() {
    struct Bad;
    impl Fold<u32> for Bad {
        fn start(self) -> Result<u32> {
            Err(Error::new("bad"))
        }
        fn add(self, _accumulator: &mut u32) -> Result<()> {
            Ok(())
        }
    }
    let mut table = KeyTable::<u32>::new(1);
    for len in [1, 20, 50] {
        assert!(table.fold_now(&vec![b'k'; len], Bad).is_err());
    }
    assert_eq!(table.len(), 0);
    table.drain(|key, _| panic!("{key:?}")).unwrap();
}

#[test]
fn equal_seeds_give_equal_hashes() {
    let keys: Vec<_> = [3, 15, 16, 31, 32, 99].map(|len| vec![b'k'; len]).into();
    let hashes = |seed| {
        let mut table = KeyTable::new(seed);
        let mut hashes = || -> Vec<u64> {
            keys.iter().map(|key| table.fold_now(key, One(())).unwrap()).collect()
        };
        let before = hashes();
        assert_eq!(before, hashes());
        assert_eq!(table.take().len(), keys.len());
        assert_eq!(table.len(), 0);
        let after: Vec<_> = keys.iter().map(|key| table.fold_now(key, One(())).unwrap()).collect();
        assert_eq!(before, after);
        before
    };
    assert_eq!(hashes(1), hashes(1));
    assert!(hashes(1).iter().zip(hashes(2)).all(|(one, other)| *one != other));
}
