//! For `fuzz/`: journal objects with arbitrary content.

use serde::Serialize;
use serde::de::DeserializeOwned;
use windrow_jobs::checksum::crc64;
use windrow_scheduler::journal::{Body, Epoch, Key, Nonce, Object, Slot};

use super::codec::{self, HEADER_BYTES, TRAILER};
use super::identity::{ClusterId, Identity};

const KEY: Key = Key::Log(Epoch(2), Slot(3));

fn identity() -> Identity {
    Identity { cluster: ClusterId(7), build: "build".into() }
}

/// An object with this body.
pub(crate) fn encode<R: Serialize, S: Serialize, P: Serialize>(body: Body<R, S, P>) -> Vec<u8> {
    encode_object(&Object { epoch: Epoch(2), nonce: Nonce(5), body })
}

fn encode_object<R: Serialize, S: Serialize, P: Serialize>(object: &Object<R, S, P>) -> Vec<u8> {
    match codec::encode(&identity(), KEY, object) {
        Ok(bytes) => bytes,
        Err(error) => panic!("an object cannot be written: {error}"),
    }
}

/// A decoded object survives encoding and decoding.
pub(crate) fn check<R, S, P>(bytes: &[u8])
where
    R: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    S: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    P: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let sealed = sealed(bytes);
    for bytes in [bytes, &sealed] {
        let _ = codec::cluster_of(bytes);
        if let Ok(object) = codec::decode::<R, S, P>(&identity(), KEY, bytes) {
            // NaN differs from itself.
            let again = encode_object(&object);
            let third = codec::decode::<R, S, P>(&identity(), KEY, &again);
            assert!(third.is_ok_and(|third| encode_object(&third) == again));
        }
    }
}

/// Repairs the checksums and the name of an object.
fn sealed(object: &[u8]) -> Vec<u8> {
    let mut bytes = object.to_vec();
    if bytes.len() < HEADER_BYTES + TRAILER.len() {
        return bytes;
    }
    let whole = encode::<(), (), ()>(Body::Seal { holds: Slot(1) });
    // All fields but its kind, its nonce and its content.
    for field in [0..10, 11..40, 56..72] {
        bytes[field.clone()].copy_from_slice(&whole[field]);
    }
    let end = bytes.len() - TRAILER.len();
    bytes[end..].copy_from_slice(&TRAILER);
    let body = &bytes[HEADER_BYTES..end];
    let (len, crc) = (body.len() as u64, crc64(body));
    bytes[80..88].copy_from_slice(&len.to_le_bytes());
    bytes[88..96].copy_from_slice(&crc.to_le_bytes());
    let crc = crc64(&bytes[..96]);
    bytes[96..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}
