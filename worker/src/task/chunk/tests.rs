use proptest::collection::vec;
use proptest::prelude::*;

use windrow_jobs::Version;
use windrow_jobs::input::Framing;
use windrow_jobs::program::InputFormat;

use super::*;
use crate::testing::{file_range, whole_file};

const LINES: InputFormat = InputFormat { framing: Framing::Lines, has_header: false };

/// Reads `ranges` of a file chunk by chunk, and returns the records with their offsets, and the
/// bytes read.
fn read_all(ranges: Vec<InputRange>, chunk_bytes: u64, framing: Framing) -> Vec<(u64, Vec<u8>)> {
    let format = InputFormat { framing, has_header: false };
    let plan = InputPlan::new(ranges, chunk_bytes, format, false);
    let mut reader = ChunkReader::new(&plan);
    let mut records = Vec::new();
    for index in 0..plan.len() {
        let chunk = reader.read(index, &mut || Ok(())).unwrap();
        let mut offset = chunk.offset;
        let mut rest = chunk.bytes;
        while !rest.is_empty() {
            let len = match framing {
                Framing::Lines => {
                    rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1)
                }
                Framing::Fixed { bytes } => bytes.get().min(rest.len()),
                // The ends of other records are not checked here.
                _ => rest.len(),
            };
            records.push((offset, rest[..len].to_vec()));
            offset += len as u64;
            rest = &rest[len..];
        }
    }
    reader.finish().unwrap();
    records
}

fn split(path: &std::path::Path, split_bytes: u64) -> Vec<InputRange> {
    let whole = whole_file(path);
    (0..whole.version.bytes().div_ceil(split_bytes))
        .map(|n| n * split_bytes)
        .map(|start| file_range(path, start, (start + split_bytes).min(whole.version.bytes())))
        .collect()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-z]{0,12}".prop_map(String::into_bytes),
        2 => Just(b"\n".to_vec()),
        1 => Just(b"\r\n".to_vec()),
        1 => Just(vec![b'x'; 6000]),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn each_line_is_read_exactly_once(
        text in text(), split_bytes in 1u64..9000, chunk_bytes in 1u64..5000
    ) {
        // Few chunks of one byte: enough to find borders, and fast.
        let chunk_bytes = chunk_bytes.max(text.len() as u64 / 64);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        std::fs::write(&path, &text).unwrap();
        let split_bytes = split_bytes.max(text.len() as u64 / 64);
        let mut expected = Vec::new();
        let mut offset = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            expected.push((offset, line.to_vec()));
            offset += line.len() as u64;
        }
        prop_assert_eq!(read_all(split(&path, split_bytes), chunk_bytes, Framing::Lines), expected);
    }

    #[test]
    fn no_chunk_begins_inside_a_quoted_field(
        pieces in vec(prop::sample::select(vec!["a,b\n", "\"x\n", "y\",b\n", "7,\"c\nd\ne\"\n", "1,\"\"\n"]), 1..60),
        split_bytes in 5u64..400, chunk_bytes in 5u64..100
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        let text = pieces.concat();
        std::fs::write(&path, &text).unwrap();
        let csv = Framing::QuotedLines { delimiter: b',' };
        let chunks = read_all(split(&path, split_bytes), chunk_bytes, csv);
        let read: Vec<u8> = chunks.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        prop_assert_eq!(read, text.as_bytes());
        // A reader from the start finds the same borders.
        for (offset, _) in chunks {
            prop_assert_eq!(csv.record_start(text.as_bytes(), 0, offset), Some(offset));
        }
    }

    #[test]
    fn an_undivided_file_is_read_exactly_once(
        len in 0usize..30_000, split_bytes in 1u64..9_000, chunk_bytes in 1u64..9_000
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let expected = if data.is_empty() { vec![] } else { vec![(0, data)] };
        let split_bytes = split_bytes.max(len as u64 / 64);
        prop_assert_eq!(read_all(split(&path, split_bytes), chunk_bytes, Framing::Whole), expected);
    }

    #[test]
    fn each_fixed_record_is_read_exactly_once(
        len in 0usize..600, bytes in 1usize..50, split_bytes in 1u64..200, chunk_bytes in 1u64..100
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let expected: Vec<_> = data
            .chunks(bytes)
            .enumerate()
            .map(|(n, record)| ((n * bytes) as u64, record.to_vec()))
            .collect();
        let framing = Framing::Fixed { bytes: std::num::NonZeroUsize::new(bytes).unwrap() };
        prop_assert_eq!(read_all(split(&path, split_bytes), chunk_bytes, framing), expected);
    }
}

#[test]
fn a_stray_quote_makes_no_record_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let text = "1,\"Gree\n".to_string() + &"2,3\n".repeat(30_000);
    std::fs::write(&path, &text).unwrap();
    let framing = Framing::QuotedLines { delimiter: b',' };
    let format = InputFormat { framing, has_header: false };
    let mut plan = InputPlan::new(vec![whole_file(&path)], 1_000, format, false);
    plan.record_bytes_max = 100;
    let mut reader = ChunkReader::new(&plan);
    let mut read = 0;
    for index in 0..plan.len() {
        let chunk = reader.read(index, &mut || Ok(())).unwrap();
        assert!(chunk.bytes.len() <= 1_010, "{}", chunk.bytes.len());
        read += chunk.bytes.len();
    }
    assert_eq!(read, text.len());
}

#[test]
fn an_overlong_record_is_named_and_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let mut text = "short\n".repeat(100);
    let at = text.len() as u64;
    text.push_str(&"x".repeat(1_000_000));
    text.push_str("\nlast\n");
    std::fs::write(&path, &text).unwrap();
    let read = |chunk_bytes: u64, most: u64| {
        let mut plan = InputPlan::new(vec![whole_file(&path)], chunk_bytes, LINES, false);
        plan.record_bytes_max = most;
        let mut reader = ChunkReader::new(&plan);
        let mut bytes = 0;
        for index in 0..plan.len() {
            match reader.read(index, &mut || Ok(())).map(|chunk| chunk.bytes.len()) {
                Ok(read) => bytes += read,
                Err(cause) => return Err((Box::new(cause), reader.memory_bytes())),
            }
        }
        Ok(bytes)
    };
    for chunk_bytes in [100, 600, 601, 5_000] {
        assert_eq!(read(chunk_bytes, 1_000_001), Ok(text.len()));
        let (cause, memory_bytes) = read(chunk_bytes, 1_000_000).unwrap_err();
        let FailureCause::RecordTooLong { place, message } = *cause else { panic!("{cause}") };
        assert_eq!(place.offset, Some(at));
        assert!(message.contains("--max-record-size"), "{message}");
        assert!(memory_bytes <= 1_000_000 + 2 * 5_000 + LOOKAHEAD_BYTES);
        let (_, memory_bytes) = read(chunk_bytes, 10_000).unwrap_err();
        assert!(memory_bytes < 30_000, "{memory_bytes}");
    }
}

/// The failure of reading a file whose records may have at most 10 bytes.
fn refusal(text: &[u8]) -> (u64, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    std::fs::write(&path, text).unwrap();
    let mut plan = InputPlan::new(vec![whole_file(&path)], 5_000, LINES, false);
    plan.record_bytes_max = 10;
    let mut reader = ChunkReader::new(&plan);
    match reader.read(0, &mut || Ok(())).map(|chunk| chunk.bytes.len()) {
        Err(FailureCause::RecordTooLong { place, message }) => (place.offset.unwrap(), message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_limit_below_the_chunk_size_applies_to_every_record() {
    assert_eq!(refusal(b"a\nb\nmuch longer than that\nc\n").0, 4);
    assert_eq!(refusal(b"a\nb\nc\nmuch longer than that").0, 6);
}

#[test]
fn foreign_line_ends_are_named() {
    let (_, message) = refusal(b"one\rtwo\rthree\rfour\r");
    assert!(message.ends_with("convert it first (tr '\\r' '\\n')"), "{message}");
    let text: Vec<u8> = "one two three".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (_, message) = refusal(&text);
    assert!(message.contains("looks like UTF-16"), "{message}");
    let (_, message) = refusal(b"one two three\r\n");
    assert!(message.contains("such as --max-record-size 1GiB"), "{message}");
}

#[test]
fn a_file_that_differs_from_the_plan_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    std::fs::write(&path, "one\ntwo\n").unwrap();
    let planned = whole_file(&path);
    let read = |range: InputRange| {
        let plan = InputPlan::new(vec![range], 100, LINES, false);
        let mut reader = ChunkReader::new(&plan);
        reader
            .read(0, &mut || Ok(()))
            .map(|chunk| chunk.bytes.len())
            .and_then(|n| reader.finish().map(|()| n))
    };
    assert_eq!(read(planned.clone()), Ok(8));
    let Version::Local { bytes, modified_unix_ns } = planned.version else { unreachable!() };
    let version = Version::Local { bytes, modified_unix_ns: modified_unix_ns - 1 };
    let touched = read(InputRange { version, ..planned.clone() });
    assert!(matches!(touched, Err(FailureCause::InputChanged { .. })), "{touched:?}");
    std::fs::write(&path, "one\n").unwrap();
    let shrunk = read(planned.clone()).unwrap_err();
    assert!(shrunk.to_string().contains("it had 8 bytes and has 4"), "{shrunk}");
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(read(planned), Err(FailureCause::Io { .. })));
}

#[test]
fn a_change_during_a_read_is_noticed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    std::fs::write(&path, "one\ntwo\n").unwrap();
    let plan = InputPlan::new(vec![whole_file(&path)], 100, LINES, false);
    let mut reader = ChunkReader::new(&plan);
    reader.read(0, &mut || Ok(())).unwrap();
    std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
    assert!(matches!(reader.finish(), Err(FailureCause::InputChanged { .. })));
}

#[test]
fn a_whole_file_above_the_record_limit_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    std::fs::write(&path, vec![b'x'; 100_000]).unwrap();
    let format = InputFormat { framing: Framing::Whole, has_header: false };
    let read = |most: u64| {
        let mut plan = InputPlan::new(vec![whole_file(&path)], 1_000, format, false);
        plan.record_bytes_max = most;
        let mut reader = ChunkReader::new(&plan);
        let read = reader.read(0, &mut || Ok(())).map(|chunk| chunk.bytes.len());
        (read, reader.memory_bytes())
    };
    assert_eq!(read(100_000).0, Ok(100_000));
    let (failed, memory_bytes) = read(20_000);
    let message = failed.unwrap_err().to_string();
    assert!(message.contains("longer than 20000 bytes"), "{message}");
    assert!(memory_bytes <= 20_001, "{memory_bytes}");
}
