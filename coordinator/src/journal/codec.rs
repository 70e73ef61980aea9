//! What an object of the journal looks like in bytes.
//!
//! ```text
//!   0 magic       8      16 cluster  16      56 key's epoch   8      96 body: build, then postcard
//!   8 format      2      32 epoch     8      64 key's slot    8       . trailer  8
//!  10 kind        1      40 nonce    16      72 body's length 8
//!  12 replay      4                          80 body's CRC    8
//!                                            88 header's CRC  8
//! ```
//!
//! All numbers are little-endian, both checksums CRC-64/NVME. An object says itself where it belongs, so that one that was
//! copied elsewhere is noticed. The header is readable by every build of this format, the body only by the one that wrote
//! it: fencing works between builds, replay does not.
//!
//! An object is *torn* when it is shorter than it should be, or ends in zeros, as after a power failure: the trailer is there
//! to tell this from a body that ends in zeros. Whatever else is wrong with it happened later.

use crc_fast::{CrcAlgorithm::Crc64Nvme, checksum};
use serde::Serialize;
use serde::de::DeserializeOwned;
use windrow_scheduler::journal::{Body, Epoch, Key, Nonce, Object, Slot};

use super::identity::{ClusterId, Identity};

const MAGIC: [u8; 8] = *b"WINDROWJ";
pub(super) const TRAILER: [u8; 8] = *b"JWORDNIW";
/// Of the header.
const FORMAT: u16 = 1;
/// Of what records mean when they are replayed. Grows with each change of a transition of the scheduler or the catalog.
const REPLAY_VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 96;
/// The slot in the name of an object that lies in no log.
const NO_SLOT: u64 = u64::MAX;

/// Why an object cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// It breaks off.
    Torn(String),
    /// It was whole once, or belongs elsewhere.
    Damaged(String),
    /// It is whole, and another build's: what it means is for that one to say.
    OtherBuild(String),
}

/// The object as it is stored under `key`.
pub(super) fn encode<R: Serialize, S: Serialize>(
    writer: &Identity,
    key: Key,
    object: &Object<R, S>,
) -> postcard::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_BYTES];
    let kind = match &object.body {
        Body::Begin => Kind::Begin,
        Body::Seal => Kind::Seal,
        Body::Snapshot(state) => {
            bytes = postcard::to_extend(&(&writer.build, state), bytes)?;
            Kind::Snapshot
        }
        Body::Records(records) => {
            bytes = postcard::to_extend(&(&writer.build, records), bytes)?;
            Kind::Records
        }
    };
    let body = &bytes[HEADER_BYTES..];
    let header = Header {
        kind,
        replay_version: REPLAY_VERSION,
        cluster: writer.cluster,
        epoch: object.epoch,
        nonce: object.nonce,
        key,
        body_bytes: body.len() as u64,
        body_crc: checksum(Crc64Nvme, body),
    };
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    bytes.extend(TRAILER);
    Ok(bytes)
}

/// Reads what is stored under `key`. Never panics, whatever `bytes` are, and takes no more memory than they do, times
/// a constant.
pub(super) fn decode<R: DeserializeOwned, S: DeserializeOwned>(
    reader: &Identity,
    key: Key,
    bytes: &[u8],
) -> Result<Object<R, S>, DecodeError> {
    let header = Header::read(bytes)?;
    if header.key != key {
        return Err(DecodeError::Damaged(format!("it is a copy of {}", header.key)));
    }
    if header.cluster != reader.cluster {
        let text = format!("it belongs to cluster {}, not to {}", header.cluster, reader.cluster);
        return Err(DecodeError::Damaged(text));
    }
    let body = match header.kind {
        Kind::Begin => Body::Begin,
        Kind::Seal => Body::Seal,
        Kind::Snapshot => Body::Snapshot(read_body(reader, &header, bytes)?),
        Kind::Records => Body::Records(read_body(reader, &header, bytes)?),
    };
    Ok(Object { epoch: header.epoch, nonce: header.nonce, body })
}

/// The cluster that an object belongs to.
pub(super) fn cluster_of(bytes: &[u8]) -> Result<ClusterId, DecodeError> {
    Header::read(bytes).map(|header| header.cluster)
}

fn read_body<T: DeserializeOwned>(
    reader: &Identity,
    header: &Header,
    bytes: &[u8],
) -> Result<T, DecodeError> {
    let senseless = |error| DecodeError::Damaged(format!("its body makes no sense: {error}"));
    // `Header::read` has seen that it is all there.
    let body = &bytes[HEADER_BYTES..bytes.len() - TRAILER.len()];
    let (build, rest) = postcard::take_from_bytes::<&str>(body).map_err(senseless)?;
    if header.replay_version != REPLAY_VERSION || build != reader.build {
        return Err(DecodeError::OtherBuild(build.to_string()));
    }
    postcard::from_bytes(rest).map_err(senseless)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Begin = 1,
    Snapshot = 2,
    Records = 3,
    Seal = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Begin, Self::Snapshot, Self::Records, Self::Seal]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: Kind,
    replay_version: u32,
    cluster: ClusterId,
    epoch: Epoch,
    nonce: Nonce,
    key: Key,
    body_bytes: u64,
    body_crc: u64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
        };
        let (epoch, slot) = match self.key {
            Key::Epoch(epoch) => (epoch.0, NO_SLOT),
            Key::Log(epoch, slot) => (epoch.0, slot.0),
        };
        put(0, &MAGIC);
        put(8, &FORMAT.to_le_bytes());
        put(10, &[self.kind as u8]);
        put(12, &self.replay_version.to_le_bytes());
        put(16, &self.cluster.0.to_le_bytes());
        put(32, &self.epoch.0.to_le_bytes());
        put(40, &self.nonce.0.to_le_bytes());
        put(56, &epoch.to_le_bytes());
        put(64, &slot.to_le_bytes());
        put(72, &self.body_bytes.to_le_bytes());
        put(80, &self.body_crc.to_le_bytes());
        let crc = checksum(Crc64Nvme, &bytes[..88]);
        bytes[88..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header, and checks that all that it promises is there.
    fn read(object: &[u8]) -> Result<Self, DecodeError> {
        let damaged = |message: &str| Err(DecodeError::Damaged(message.to_string()));
        let Some(bytes) = object.first_chunk::<HEADER_BYTES>() else {
            return Err(DecodeError::Torn(format!("it has only {} bytes", object.len())));
        };
        if u64_at(bytes, 88) != checksum(Crc64Nvme, &bytes[..88]) {
            return Self::broken(object, "its header does not match its checksum");
        }
        if bytes[..8] != MAGIC {
            return damaged("it is no object of a journal");
        }
        let format = u16::from_le_bytes([bytes[8], bytes[9]]);
        if format != FORMAT {
            return Err(DecodeError::OtherBuild(format!("a build with format {format}")));
        }
        let Some(kind) = Kind::from_byte(bytes[10]) else { return damaged("it is of no kind") };
        let (epoch, slot) = (Epoch(u64_at(bytes, 56)), u64_at(bytes, 64));
        let header = Self {
            kind,
            replay_version: u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]),
            cluster: ClusterId(u128_at(bytes, 16)),
            epoch: Epoch(u64_at(bytes, 32)),
            nonce: Nonce(u128_at(bytes, 40)),
            key: if slot == NO_SLOT { Key::Epoch(epoch) } else { Key::Log(epoch, Slot(slot)) },
            body_bytes: u64_at(bytes, 72),
            body_crc: u64_at(bytes, 80),
        };
        header.check_body(object)?;
        Ok(header)
    }

    fn check_body(&self, object: &[u8]) -> Result<(), DecodeError> {
        let bytes_max = object.len() - HEADER_BYTES;
        let whole = self.body_bytes.saturating_add(TRAILER.len() as u64);
        if bytes_max as u64 > whole {
            return Err(DecodeError::Damaged("it is longer than it should be".to_string()));
        }
        if (bytes_max as u64) < whole {
            let text = format!("it has {bytes_max} of {whole} bytes after its header");
            return Err(DecodeError::Torn(text));
        }
        let (body, trailer) = object[HEADER_BYTES..].split_at(bytes_max - TRAILER.len());
        if checksum(Crc64Nvme, body) != self.body_crc || trailer != TRAILER {
            return Self::broken(object, "it does not match its checksum");
        }
        Ok(())
    }

    /// Its bytes are not those that were written. Zeros at the end tell that they never were.
    fn broken<T>(object: &[u8], message: &str) -> Result<T, DecodeError> {
        if object.ends_with(&[0; TRAILER.len()]) {
            return Err(DecodeError::Torn("it ends in zeros".to_string()));
        }
        Err(DecodeError::Damaged(message.to_string()))
    }
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

fn u128_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u128 {
    u128::from(u64_at(bytes, at)) | u128::from(u64_at(bytes, at + 8)) << 64
}

#[cfg(test)]
mod tests;
