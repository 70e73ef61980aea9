use std::sync::Arc;

use proptest::prelude::*;

use super::*;

type TestObject = Object<String, u64, u8>;

fn identity() -> Identity {
    Identity { cluster: ClusterId(7), build: "windrow 0.1.0 (build abc)".into() }
}

fn objects() -> impl Strategy<Value = TestObject> {
    let body = prop_oneof![
        Just(Body::Begin),
        any::<u64>().prop_map(|holds| Body::Seal { holds: Slot(holds) }),
        any::<u64>().prop_map(|state| Body::State(Arc::new(state))),
        any::<u8>().prop_map(|attachment| Body::Attachment(Arc::new(attachment))),
        (any::<u64>(), prop::collection::vec(".{0,9}", 0..9)).prop_map(|(holds, records)| {
            Body::Records { holds: Slot(holds), records: Arc::new(records) }
        }),
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
        any::<u64>().prop_map(|epoch| Key::State(Epoch(epoch))),
        (any::<u64>(), any::<u64>()).prop_map(|(epoch, slot)| Key::Log(Epoch(epoch), Slot(slot))),
        (any::<u64>(), any::<u64>()).prop_map(|(epoch, number)| Key::Attachment(AttachmentId {
            epoch: Epoch(epoch),
            number
        })),
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
    fn a_truncated_object_is_torn(object in objects(), key in keys(), at in any::<prop::sample::Index>()) {
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
    let object = Object { epoch: Epoch(1), nonce: Nonce(2), body: Body::Seal { holds: Slot(3) } };
    let key = Key::Log(Epoch(1), Slot(3));
    let bytes = encode::<String, u64, u8>(&identity(), key, &object).unwrap();
    let attachment = Key::Attachment(AttachmentId { epoch: Epoch(1), number: 3 });
    for elsewhere in [Key::Log(Epoch(1), Slot(4)), Key::Epoch(Epoch(1)), attachment] {
        assert!(matches!(read(elsewhere, &bytes), Err(DecodeError::Damaged(_))));
    }
    let other = Identity { cluster: ClusterId(8), ..identity() };
    let error = decode::<String, u64, u8>(&other, key, &bytes).unwrap_err();
    assert!(matches!(error, DecodeError::Damaged(_)), "{error:?}");
}

#[test]
fn another_build_can_be_fenced_but_not_replayed() {
    let key = Key::Log(Epoch(1), Slot(0));
    let reader = Identity { build: "windrow 0.2.0 (build def)".into(), ..identity() };
    let object = |body| Object { epoch: Epoch(1), nonce: Nonce(2), body };
    let seal = object(Body::Seal { holds: Slot(0) });
    let bytes = encode::<String, u64, u8>(&identity(), key, &seal).unwrap();
    assert_eq!(decode(&reader, key, &bytes), Ok::<TestObject, _>(seal));
    let bytes =
        encode::<String, u64, u8>(&identity(), key, &object(Body::State(Arc::new(1)))).unwrap();
    let error = decode::<String, u64, u8>(&reader, key, &bytes).unwrap_err();
    assert_eq!(error, DecodeError::OtherBuild("windrow 0.1.0 (build abc)".into()));
}

#[test]
fn an_object_of_an_older_format_is_another_builds() {
    let mut bytes = vec![0; 96];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8] = 1;
    let crc = crc64(&bytes[..88]);
    bytes[88..].copy_from_slice(&crc.to_le_bytes());
    bytes.extend(TRAILER);
    let error = cluster_of(&bytes).unwrap_err();
    assert_eq!(error, DecodeError::OtherBuild("a build with format 1".into()));
}
