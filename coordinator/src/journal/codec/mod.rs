//! The binary format of journal objects.
//!
//! ```text
//!   0 magic       8      16 cluster  16      56 name: epoch   8      88 body's CRC    8
//!   8 format      2      32 epoch     8      64 name: number  8      96 header's CRC  8
//!  10 kind        1      40 nonce    16      72 holds         8     104 body: build, then postcard
//!  11 kind of name 1                         80 body's length 8       . trailer  8
//! ```
//!
//! All numbers are little-endian, both checksums CRC-64/NVME. An object contains its own name, so
//! that a misplaced copy is noticed. Every build of this format can read the header, but only the
//! build that wrote an object can read its body: fencing works between builds, replay does not.
//!
//! An object is *torn* when it is shorter than it should be, or ends in zeros, as after a power
//! failure: the trailer distinguishes this from a body that ends in zeros. Any other defect is
//! damage that happened later.

use serde::Serialize;
use serde::de::DeserializeOwned;
use windrow_jobs::checksum::crc64;
use windrow_scheduler::journal::{AttachmentId, Body, Epoch, Key, Nonce, Object, Slot};

use super::identity::{ClusterId, Identity};

const MAGIC: [u8; 8] = *b"WINDROWJ";
pub(super) const TRAILER: [u8; 8] = *b"JWORDNIW";
/// Format of the header.
const FORMAT: u16 = 4;
pub(super) const HEADER_BYTES: usize = 104;
/// Offset of the header's checksum, behind all bytes that it covers.
const CRC_AT: usize = 96;

const _: () = assert!(CRC_AT + size_of::<u64>() == HEADER_BYTES, "the checksum is the last field");
const _: () = assert!(
    TRAILER[TRAILER.len() - 1] != 0,
    "an object that ends in zeros was never written to its end"
);

/// Why an object cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The object is torn.
    Torn(String),
    /// The object was complete once, or belongs elsewhere.
    Damaged(String),
    /// The object is complete, but only another build can read it.
    OtherBuild(String),
}

/// Encodes the object for `key`.
pub(super) fn encode<R: Serialize, S: Serialize, P: Serialize>(
    writer: &Identity,
    key: Key,
    object: &Object<R, S, P>,
) -> postcard::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_BYTES];
    let mut slots = Slot(0);
    let kind = match &object.body {
        Body::Begin => Kind::Begin,
        Body::Seal { holds } => {
            slots = *holds;
            Kind::Seal
        }
        Body::State(state) => {
            bytes = postcard::to_extend(&(&writer.build, state), bytes)?;
            Kind::State
        }
        Body::Records { holds, records } => {
            slots = *holds;
            bytes = postcard::to_extend(&(&writer.build, records), bytes)?;
            Kind::Records
        }
        Body::Attachment(attachment) => {
            bytes = postcard::to_extend(&(&writer.build, attachment), bytes)?;
            Kind::Attachment
        }
    };
    let body = &bytes[HEADER_BYTES..];
    let header = Header {
        kind,
        cluster: writer.cluster,
        epoch: object.epoch,
        nonce: object.nonce,
        key,
        holds: slots,
        body_bytes: body.len() as u64,
        body_crc: crc64(body),
    };
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    bytes.extend(TRAILER);
    debug_assert_eq!(
        Header::read(&bytes),
        Ok(header),
        "an unreadable object would be noticed only when it is needed"
    );
    Ok(bytes)
}

/// Decodes the object of `key`. Never panics, whatever `bytes` are, and needs memory proportional
/// to them at most.
pub(super) fn decode<R: DeserializeOwned, S: DeserializeOwned, P: DeserializeOwned>(
    reader: &Identity,
    key: Key,
    bytes: &[u8],
) -> Result<Object<R, S, P>, DecodeError> {
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
        Kind::Seal => Body::Seal { holds: header.holds },
        Kind::State => Body::State(read_body(reader, bytes)?),
        Kind::Records => {
            let records = read_body(reader, bytes)?;
            Body::Records { holds: header.holds, records }
        }
        Kind::Attachment => Body::Attachment(read_body(reader, bytes)?),
    };
    Ok(Object { epoch: header.epoch, nonce: header.nonce, body })
}

/// The cluster that an object belongs to.
pub(super) fn cluster_of(bytes: &[u8]) -> Result<ClusterId, DecodeError> {
    Header::read(bytes).map(|header| header.cluster)
}

fn read_body<T: DeserializeOwned>(reader: &Identity, bytes: &[u8]) -> Result<T, DecodeError> {
    let senseless = |error| DecodeError::Damaged(format!("its body is not valid: {error}"));
    debug_assert!(
        bytes.len() >= HEADER_BYTES + TRAILER.len(),
        "`Header::read` has checked the length"
    );
    let body = &bytes[HEADER_BYTES..bytes.len() - TRAILER.len()];
    let (build, rest) = postcard::take_from_bytes::<&str>(body).map_err(senseless)?;
    if build != reader.build {
        return Err(DecodeError::OtherBuild(build.to_string()));
    }
    postcard::from_bytes(rest).map_err(senseless)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Begin = 1,
    State = 2,
    Records = 3,
    Seal = 4,
    Attachment = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Begin, Self::State, Self::Records, Self::Seal, Self::Attachment]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A name as numbers: its kind, its epoch, and its number.
fn name_of(key: Key) -> (u8, Epoch, u64) {
    match key {
        Key::Epoch(epoch) => (1, epoch, 0),
        Key::Log(epoch, slot) => (2, epoch, slot.0),
        Key::State(epoch) => (3, epoch, 0),
        Key::Attachment(AttachmentId { epoch, number }) => (4, epoch, number),
    }
}

/// The name of these numbers.
fn key_of(kind: u8, epoch: Epoch, number: u64) -> Option<Key> {
    match (kind, number) {
        (1, 0) => Some(Key::Epoch(epoch)),
        (2, _) => Some(Key::Log(epoch, Slot(number))),
        (3, 0) => Some(Key::State(epoch)),
        (4, _) => Some(Key::Attachment(AttachmentId { epoch, number })),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: Kind,
    cluster: ClusterId,
    epoch: Epoch,
    nonce: Nonce,
    key: Key,
    holds: Slot,
    body_bytes: u64,
    body_crc: u64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| {
            debug_assert!(at + field.len() <= CRC_AT, "the checksum covers each field");
            debug_assert!(
                bytes[at..at + field.len()].iter().all(|byte| *byte == 0),
                "fields do not overlap"
            );
            bytes[at..at + field.len()].copy_from_slice(field);
        };
        let (kind_of_name, epoch, number) = name_of(self.key);
        debug_assert_eq!(
            key_of(kind_of_name, epoch, number),
            Some(self.key),
            "a name survives the round trip"
        );
        put(0, &MAGIC);
        put(8, &FORMAT.to_le_bytes());
        put(10, &[self.kind as u8, kind_of_name]);
        put(16, &self.cluster.0.to_le_bytes());
        put(32, &self.epoch.0.to_le_bytes());
        put(40, &self.nonce.0.to_le_bytes());
        put(56, &epoch.0.to_le_bytes());
        put(64, &number.to_le_bytes());
        put(72, &self.holds.0.to_le_bytes());
        put(80, &self.body_bytes.to_le_bytes());
        put(88, &self.body_crc.to_le_bytes());
        let crc = crc64(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header, and checks that the object has the declared length.
    fn read(object: &[u8]) -> Result<Self, DecodeError> {
        let damaged = |message: &str| Err(DecodeError::Damaged(message.to_string()));
        if let Some(format) = other_format(object) {
            return Err(DecodeError::OtherBuild(format!("a build with format {format}")));
        }
        let Some(bytes) = object.first_chunk::<HEADER_BYTES>() else {
            return Err(DecodeError::Torn(format!("it has only {} bytes", object.len())));
        };
        if u64_at(bytes, CRC_AT) != crc64(&bytes[..CRC_AT]) {
            return Self::broken(object, "its header does not match its checksum");
        }
        if bytes[..8] != MAGIC {
            return damaged("it is not a journal object");
        }
        let format = u16::from_le_bytes([bytes[8], bytes[9]]);
        if format != FORMAT {
            return Err(DecodeError::OtherBuild(format!("a build with format {format}")));
        }
        let Some(kind) = Kind::from_byte(bytes[10]) else { return damaged("its kind is unknown") };
        let Some(key) = key_of(bytes[11], Epoch(u64_at(bytes, 56)), u64_at(bytes, 64)) else {
            return damaged("the kind of its name is unknown");
        };
        let header = Self {
            kind,
            cluster: ClusterId(u128_at(bytes, 16)),
            epoch: Epoch(u64_at(bytes, 32)),
            nonce: Nonce(u128_at(bytes, 40)),
            key,
            holds: Slot(u64_at(bytes, 72)),
            body_bytes: u64_at(bytes, 80),
            body_crc: u64_at(bytes, 88),
        };
        header.check_body(object)?;
        Ok(header)
    }

    fn check_body(&self, object: &[u8]) -> Result<(), DecodeError> {
        debug_assert!(object.len() >= HEADER_BYTES, "the header was read from it");
        let bytes_max = object.len() - HEADER_BYTES;
        let whole = self.body_bytes.saturating_add(TRAILER.len() as u64);
        if bytes_max as u64 > whole {
            return Err(DecodeError::Damaged("it is longer than it should be".to_string()));
        }
        if (bytes_max as u64) < whole {
            let text = format!("it has {bytes_max} of {whole} bytes after its header");
            return Err(DecodeError::Torn(text));
        }
        debug_assert!(
            bytes_max >= TRAILER.len() && self.body_bytes == (bytes_max - TRAILER.len()) as u64,
            "the declared body and the trailer follow the header"
        );
        let (body, trailer) = object[HEADER_BYTES..].split_at(bytes_max - TRAILER.len());
        if crc64(body) != self.body_crc || trailer != TRAILER {
            return Self::broken(object, "it does not match its checksum");
        }
        Ok(())
    }

    /// The object's bytes have changed. Zeros at the end mean that they were never written.
    fn broken<T>(object: &[u8], message: &str) -> Result<T, DecodeError> {
        if object.ends_with(&[0; TRAILER.len()]) {
            return Err(DecodeError::Torn("it ends in zeros".to_string()));
        }
        Err(DecodeError::Damaged(message.to_string()))
    }
}

/// Format 1 had a shorter header with a checksum of its own: such an object is complete, and
/// another build's.
fn other_format(object: &[u8]) -> Option<u16> {
    const FORMER_HEADER_BYTES: usize = 96;
    let header = object.first_chunk::<FORMER_HEADER_BYTES>()?;
    let format = u16::from_le_bytes([header[8], header[9]]);
    let crc = u64::from_le_bytes(*header.last_chunk::<8>()?);
    let is_former =
        header[..8] == MAGIC && format == 1 && crc == crc64(&header[..FORMER_HEADER_BYTES - 8]);
    is_former.then_some(format)
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    debug_assert!(at + size_of::<u64>() <= HEADER_BYTES, "a field lies in the header");
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

fn u128_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u128 {
    u128::from(u64_at(bytes, at)) | u128::from(u64_at(bytes, at + 8)) << 64
}

#[cfg(test)]
mod tests;
