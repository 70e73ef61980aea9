use std::sync::Arc;

use proptest::prelude::*;

use super::*;

type TestObject = Object<String, u64>;

fn identity() -> Identity {
    Identity { cluster: ClusterId(7), build: "windrow 0.1.0 (build abc)".into() }
}

fn objects() -> impl Strategy<Value = TestObject> {
    let body = prop_oneof![
        Just(Body::Begin),
        Just(Body::Seal),
        any::<u64>().prop_map(|state| Body::Snapshot(Arc::new(state))),
        prop::collection::vec(".{0,9}", 0..9).prop_map(|records| Body::Records(Arc::new(records))),
    ];
    (any::<u64>(), any::<u128>(), body).prop_map(|(epoch, nonce, body)| Object {
        epoch: Epoch(epoch),
        nonce: Nonce(nonce),
        body,
    })
}

fn keys() -> impl Strategy<Value = Key> {
    prop_oneof![
        any::<u64>().prop_map(|epoch| Key::Epoch(Epoch(epoch))),
        (any::<u64>(), 0..u64::MAX).prop_map(|(epoch, slot)| Key::Log(Epoch(epoch), Slot(slot))),
    ]
}

fn read(key: Key, bytes: &[u8]) -> Result<TestObject, DecodeError> {
    decode(&identity(), key, bytes)
}

proptest! {
    #[test]
    fn objects_survive_the_round_trip(object in objects(), key in keys()) {
        let bytes = encode(&identity(), key, &object).unwrap();
        prop_assert_eq!(read(key, &bytes), Ok(object));
        prop_assert_eq!(cluster_of(&bytes), Ok(ClusterId(7)));
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), key in keys()) {
        prop_assert!(read(key, &bytes).is_err());
    }

    #[test]
    fn what_breaks_off_is_torn(object in objects(), key in keys(), at in any::<prop::sample::Index>()) {
        let bytes = encode(&identity(), key, &object).unwrap();
        let at = at.index(bytes.len());
        prop_assert!(matches!(read(key, &bytes[..at]), Err(DecodeError::Torn(_))));
        let mut zeroed = bytes.clone();
        zeroed[at.min(bytes.len() - TRAILER.len())..].fill(0);
        prop_assert!(matches!(read(key, &zeroed), Err(DecodeError::Torn(_))));
    }

    #[test]
    fn a_flipped_bit_is_damage(object in objects(), key in keys(), bit in any::<prop::sample::Index>()) {
        let mut bytes = encode(&identity(), key, &object).unwrap();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(matches!(read(key, &bytes), Err(DecodeError::Damaged(_))));
    }
}

#[test]
fn an_object_belongs_to_one_name_of_one_cluster() {
    let object = Object { epoch: Epoch(1), nonce: Nonce(2), body: Body::Seal };
    let key = Key::Log(Epoch(1), Slot(3));
    let bytes = encode::<String, u64>(&identity(), key, &object).unwrap();
    for elsewhere in [Key::Log(Epoch(1), Slot(4)), Key::Epoch(Epoch(1))] {
        assert!(matches!(read(elsewhere, &bytes), Err(DecodeError::Damaged(_))));
    }
    let other = Identity { cluster: ClusterId(8), ..identity() };
    let error = decode::<String, u64>(&other, key, &bytes).unwrap_err();
    assert!(matches!(error, DecodeError::Damaged(_)), "{error:?}");
}

#[test]
fn another_build_can_be_fenced_but_not_replayed() {
    let key = Key::Log(Epoch(1), Slot(0));
    let reader = Identity { build: "windrow 0.2.0 (build def)".into(), ..identity() };
    let object = |body| Object { epoch: Epoch(1), nonce: Nonce(2), body };
    let seal = object(Body::Seal);
    let bytes = encode::<String, u64>(&identity(), key, &seal).unwrap();
    assert_eq!(decode(&reader, key, &bytes), Ok::<TestObject, _>(seal));
    let bytes =
        encode::<String, u64>(&identity(), key, &object(Body::Snapshot(Arc::new(1)))).unwrap();
    let error = decode::<String, u64>(&reader, key, &bytes).unwrap_err();
    assert_eq!(error, DecodeError::OtherBuild("windrow 0.1.0 (build abc)".into()));
}
