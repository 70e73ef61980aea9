//! Of the shuffle: blocks, segments, and the messages of a fetch.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use bytes::Bytes;
use prost::Message;
use rustix::fs::{MemfdFlags, memfd_create};
use tonic::body::Body;
use tonic::codegen::http;
use windrow_jobs::pairs::{RecordRef, RecordSink};
use windrow_jobs::{Audit, FailureCause, JobIdentity, StageId};
use windrow_proto::v1;

use super::{block_on, certain};
use crate::shuffle::block::{Block, BlockBuilder, Codec, HEADER_BYTES, Header, reseal};
use crate::shuffle::segment::{Extent, Owner, PartitionIndex, Segment, SegmentWriter, fuzzing};
use crate::shuffle::source::BlockSource;
use crate::shuffle::transport::call::{FetchStream, PATH, PREFIX_BYTES, request_from};

const CODECS: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd];

pub(super) fn block_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for codec in CODECS {
        let mut builder = BlockBuilder::new(codec, 4 << 10);
        // The first block shares prefixes, later ones are tried without.
        for round in 0..20u16 {
            for n in 0..30u16 {
                let [key, value] = [[7, 7, 7, 7, n], [round, 1, 1, 1, 1]];
                let [key, value] = [key, value].map(|words| words.map(u16::to_be_bytes).concat());
                certain(builder.push(RecordRef { key: &key, value: &value }));
            }
            builder.finish();
            seeds.push(builder.take());
        }
        seeds.drain(..seeds.len().saturating_sub(4 * CODECS.len()));
    }
    let mut alone = BlockBuilder::new(Codec::Zstd, 4 << 10);
    certain(alone.push(RecordRef { key: b"key", value: &[b'v'; 5_000] }));
    alone.finish();
    seeds.push(alone.take());
    seeds
}

pub(super) fn blocks(bytes: &[u8]) {
    decode(bytes);
    if bytes.len() > HEADER_BYTES {
        let mut sealed = bytes.to_vec();
        // So that the length always matches.
        sealed[8..12].copy_from_slice(&((bytes.len() - HEADER_BYTES) as u32).to_le_bytes());
        reseal(&mut sealed);
        decode(&sealed);
    }
}

/// Both decoders of a block agree, and all pairs lie inside it.
fn decode(bytes: &[u8]) {
    let (mut kept, mut taken) = (Block::default(), Block::default());
    let is_kept = kept.decode_bytes(Bytes::copy_from_slice(bytes));
    let is_taken = taken.decode_buffer(&mut bytes.to_vec());
    assert_eq!(is_kept, is_taken);
    assert_eq!(
        (0..kept.len()).map(|n| kept.record(n)).collect::<Vec<_>>(),
        (0..taken.len()).map(|n| taken.record(n)).collect::<Vec<_>>()
    );
    if is_kept.is_ok() {
        assert_eq!(Header::read(bytes).map(|header| header.block_bytes()), Ok(bytes.len()));
    }
}

/// The owner of all segments here.
const OWNER: Owner = Owner { job: JobIdentity(7), stage: StageId::MAP, task: 3, attempt: 1 };

pub(super) fn segment_seeds() -> Vec<Vec<u8>> {
    CODECS.map(|codec| certain(segment(codec))).to_vec()
}

/// A segment of two runs and three partitions, one of which is in both.
fn segment(codec: Codec) -> Result<Vec<u8>, FailureCause> {
    let file = Memory::new(&[]);
    let writer = SegmentWriter::create(file.path(), codec, &OWNER)?;
    let mut index = Vec::new();
    for partitions in [&[0, 2][..], &[2, 5]] {
        let run = writer.begin_run();
        for &partition in partitions {
            let mut records = run.partition(partition);
            for n in 0..50u8 {
                records.push(RecordRef { key: &[b'k', b'k', b'k', n], value: b"value" })?;
            }
            index.push(records.finish(Audit { records: 50, digest: 7 })?);
        }
    }
    // Dropping it would remove the file, which has no name.
    std::mem::forget(writer.finish(index)?);
    Ok(certain(std::fs::read(file.path())))
}

pub(super) fn segments(bytes: &[u8]) {
    read_segment(bytes);
    let mut sealed = bytes.to_vec();
    if fuzzing::reseal(&mut sealed, &OWNER) {
        read_segment(&sealed);
    }
}

/// The index's number of pairs is read, or an error is returned.
fn read_segment(bytes: &[u8]) {
    let file = Memory::new(bytes);
    let Ok(segment) = Segment::open(&file.path(), &OWNER, 0) else { return };
    let mut block = Block::default();
    for partition in 0..6 {
        for mut source in segment.sources(partition).unwrap_or_default() {
            let (promised, mut records) = (source.promised().records, 0);
            let is_whole = loop {
                match source.next_block(&mut block) {
                    Ok(true) => records += block.len() as u64,
                    end => break end.is_ok(),
                }
            };
            assert!(records <= promised && (!is_whole || records == promised));
        }
    }
}

/// A file in memory.
struct Memory(std::os::fd::OwnedFd);

impl Memory {
    fn new(bytes: &[u8]) -> Self {
        let file = certain(memfd_create("windrow-fuzz", MemfdFlags::CLOEXEC));
        certain(rustix::io::pwrite(file.as_fd(), bytes, 0));
        Self(file)
    }

    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

fn index_entries() -> Vec<PartitionIndex> {
    let extent = |offset, bytes| Extent { offset, bytes };
    let entry = |partition, run, extents| PartitionIndex {
        partition,
        run,
        audit: Audit { records: 300, digest: u64::MAX / 3 },
        block_bytes: 4_000,
        extents,
    };
    vec![
        entry(0, 0, vec![extent(8, 100), extent(200, 1 << 20)]),
        entry(0, 3, vec![extent(300, 1)]),
        entry(900, 1, vec![extent(1 << 30, 1 << 22)]),
    ]
}

pub(super) fn index_page_seeds() -> Vec<Vec<u8>> {
    let entries = index_entries();
    [&entries[..0], &entries[1..2], &entries].map(fuzzing::encode_page).to_vec()
}

/// An accepted page encodes to the same bytes.
pub(super) fn index_pages(bytes: &[u8]) {
    if let Some(entries) = fuzzing::decode_page(bytes, &(8..1 << 40)) {
        assert_eq!(fuzzing::encode_page(&entries), bytes);
        let mut extents = entries.iter().flat_map(|entry| &entry.extents);
        assert!(
            extents.all(|extent| extent.offset >= 8 && extent.offset + extent.bytes <= 1 << 40)
        );
    }
}

pub(super) fn index_directory_seeds() -> Vec<Vec<u8>> {
    let entries = index_entries();
    [&entries[..0], &entries[..1], &entries[1..]].map(fuzzing::encode_directory).to_vec()
}

/// A decoded directory encodes to the same bytes.
pub(super) fn index_directories(bytes: &[u8]) {
    if let Some(written) = fuzzing::recode_directory(bytes, 1 << 40) {
        assert_eq!(written, bytes);
    }
}

/// A message as it is sent, with its prefix.
fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let prefix = [&[0][..], &(bytes.len() as u32).to_be_bytes()].concat();
    assert_eq!(prefix.len(), PREFIX_BYTES);
    [prefix, bytes].concat()
}

pub(super) fn fetch_answer_seeds() -> Vec<Vec<u8>> {
    use v1::fetch_message::Message::{Block, End, Error};
    let error =
        v1::FetchError { map_task: 1, map_attempt: 2, message: "no".into(), is_shortage: true };
    let messages = [
        Block(Bytes::from_static(b"block")),
        Block(Bytes::from(vec![7; 300])),
        End(v1::FetchEnd { records: 3, digest: 4 }),
        Error(error),
    ];
    let framed = messages.map(|message| framed(&v1::FetchMessage { message: Some(message) }));
    [framed.to_vec(), vec![framed.concat()]].concat()
}

/// Messages do not depend on the pieces in which they arrive.
pub(super) fn fetch_answers(bytes: &[u8]) {
    let piece_bytes = 1 + bytes.len() % 7;
    let cut = bytes.chunks(piece_bytes).map(Bytes::copy_from_slice).collect::<Vec<_>>();
    let whole = vec![Bytes::copy_from_slice(bytes)];
    assert_eq!(block_on(read_answer(cut)), block_on(read_answer(whole)));
}

/// The messages, and whether the stream ends well.
async fn read_answer(pieces: Vec<Bytes>) -> (Vec<v1::FetchMessage>, bool) {
    let frames =
        pieces.into_iter().map(|piece| Ok::<_, tonic::Status>(http_body::Frame::data(piece)));
    let body = Body::new(http_body_util::StreamBody::new(tokio_stream::iter(frames)));
    let mut stream = FetchStream::of(body);
    let mut messages = Vec::new();
    loop {
        match stream.next().await {
            Ok(Some(message)) => messages.push(message),
            end => return (messages, end.is_ok()),
        }
    }
}

pub(super) fn fetch_request_seeds() -> Vec<Vec<u8>> {
    let outputs = vec![v1::MapOutput { task: 1, attempt: 2 }; 3];
    let request = v1::FetchRequest {
        worker: 1,
        job: vec![7; 16].into(),
        partition: 3,
        outputs,
        cluster: "cluster".into(),
        block_bytes: 1 << 16,
        ..Default::default()
    };
    vec![framed(&v1::FetchCall { message: Some(v1::fetch_call::Message::Request(request)) })]
}

/// An accepted request means what was sent.
pub(super) fn fetch_requests(bytes: &[u8]) {
    let body = Body::new(http_body_util::Full::new(Bytes::copy_from_slice(bytes)));
    let request = certain(http::Request::post(PATH).body(body));
    if let Ok((request, mut credits)) = block_on(request_from(request)) {
        let sent = framed(&v1::FetchCall {
            message: Some(v1::fetch_call::Message::Request(request.clone())),
        });
        let again = block_on(request_from(certain(
            http::Request::post(PATH).body(Body::new(http_body_util::Full::new(sent.into()))),
        )));
        assert_eq!(certain(again).0, request);
        // Credit or the end follows.
        while block_on(credits.next()).is_some() {}
    }
}
