//! Tests that each record is read exactly once, with its own offset, wherever files are cut.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn chunk(bytes: &[u8]) -> Chunk<'_> {
    Chunk::new("hay.txt", bytes)
}

fn records<F: Format>(chunk: &Chunk<'_>) -> Result<Vec<(u64, String)>, RecordError>
where
    for<'a> F::Record<'a>: std::fmt::Debug,
{
    records_of(&F::default(), chunk)
}

/// All records as (offset, debug text).
fn records_of<F: Format>(format: &F, chunk: &Chunk<'_>) -> Result<Vec<(u64, String)>, RecordError>
where
    for<'a> F::Record<'a>: std::fmt::Debug,
{
    let mut all = Vec::new();
    format.for_each(chunk, |position, record| {
        assert_eq!(position.file, chunk.file);
        all.push((position.offset, format!("{record:?}")));
        Ok(())
    })?;
    Ok(all)
}

fn records_in_ranges<F: Format>(file: &[u8], range_bytes: usize) -> Vec<(u64, String)>
where
    for<'a> F::Record<'a>: std::fmt::Debug,
{
    records_in_ranges_of(&F::default(), file, range_bytes)
}

/// Cuts the file into ranges of `range_bytes`, finds each range's records through a window that
/// starts one byte before the range, and reads them as chunks.
pub(super) fn records_in_ranges_of<F: Format>(
    format: &F,
    file: &[u8],
    range_bytes: usize,
) -> Vec<(u64, String)>
where
    for<'a> F::Record<'a>: std::fmt::Debug,
{
    let header = file.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    let len = file.len() as u64;
    let start_from = |at: u64| {
        let window_offset = at.saturating_sub(1);
        let window = &file[window_offset as usize..];
        format.framing().record_start(window, window_offset, at).unwrap_or(len).min(len)
    };
    let mut all = Vec::new();
    for start in (0..file.len()).step_by(range_bytes) {
        let end = (start + range_bytes).min(file.len());
        let range = start_from(start as u64)..start_from(end as u64);
        let bytes = &file[range.start as usize..range.end as usize];
        let chunk = Chunk { offset: range.start, header, ..chunk(bytes) };
        all.extend(records_of(format, &chunk).unwrap());
    }
    all
}

/// The first line start from `at` on, found by checking every byte.
fn line_start(file: &[u8], at: usize) -> Option<u64> {
    (at..=file.len())
        .find(|&start| start == 0 || file[start - 1] == b'\n')
        .map(|start| start as u64)
}

fn text() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('\n'), Just('\r'), Just('a'), Just('é'), any::<char>()], 0..60)
        .prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn every_line_once_wherever_files_are_cut(text in text(), range_bytes in 1..70_usize) {
        let whole = records::<Line>(&chunk(text.as_bytes())).unwrap();
        // A byte order mark at the start is not text.
        let lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines();
        let expected: Vec<_> = lines.map(|line| format!("{line:?}")).collect();
        prop_assert_eq!(whole.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>(), expected);
        prop_assert_eq!(&records_in_ranges::<Line>(text.as_bytes(), range_bytes), &whole);
        prop_assert_eq!(
            records_in_ranges::<LineBytes>(text.as_bytes(), range_bytes),
            records::<LineBytes>(&chunk(text.as_bytes())).unwrap()
        );
    }

    #[test]
    fn every_fixed_record_once(mut file in vec(any::<u8>(), 0..100), range_bytes in 1..40_usize) {
        file.truncate(file.len() / 3 * 3);
        let whole = records::<FixedBytes<3>>(&chunk(&file)).unwrap();
        prop_assert_eq!(whole.len(), file.len() / 3);
        prop_assert_eq!(&records_in_ranges::<FixedBytes<3>>(&file, range_bytes), &whole);
        let format = FixedRecords { bytes: 3.try_into().unwrap() };
        prop_assert_eq!(records_in_ranges_of(&format, &file, range_bytes), whole);
    }

    #[test]
    fn every_json_value_once(values in vec(any::<Option<i32>>(), 0..20), range_bytes in 1..20_usize) {
        // A blank line stands for `None`.
        let line = |value: &Option<i32>| value.map_or(" \n".into(), |n| format!(" [{n}]\r\n"));
        let file: String = values.iter().map(line).collect();
        let cut = records_in_ranges::<JsonLines<Vec<i32>>>(file.as_bytes(), range_bytes);
        let cut: Vec<_> = cut.into_iter().map(|(_, record)| record).collect();
        let expected: Vec<_> = values.iter().flatten().map(|n| format!("[{n}]")).collect();
        prop_assert_eq!(cut, expected);
    }

    #[test]
    fn line_starts_are_found_in_a_window(
        file in vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40),
        cut in any::<(prop::sample::Index, prop::sample::Index, prop::sample::Index)>(),
    ) {
        let place = |index: prop::sample::Index| index.index(file.len() + 1);
        let (from, to) = (place(cut.0).min(place(cut.1)), place(cut.0).max(place(cut.1)));
        let at = place(cut.2);
        match Framing::Lines.record_start(&file[from..to], from as u64, at as u64) {
            Some(start) => prop_assert_eq!(Some(start), line_start(&file, at)),
            // Beyond the window: the byte before `at` is missing, or no LF follows it.
            None => prop_assert!(
                at - 1 < from || line_start(&file, at).is_none_or(|start| start > to as u64)
            ),
        }
    }

    #[test]
    fn the_offending_byte_is_named(before in text(), byte in 0xf8..=0xff_u8, after in text()) {
        let bytes = [before.as_bytes(), &[byte], after.as_bytes()].concat();
        let error = records::<Line>(&Chunk { offset: 1000, ..chunk(&bytes) }).unwrap_err();
        prop_assert_eq!(error.offset, 1000 + before.len() as u64);
        let byte = format!("0x{byte:02x}");
        prop_assert!(error.message.contains(&byte), "{}", error.message);
    }
}

#[test]
fn line_ends_are_stripped_once() {
    let lines = records::<LineBytes>(&chunk(b"a\r\n\r\n\n\rb\r\r\nc\r")).unwrap();
    let lines: Vec<_> = lines.iter().map(|(offset, line)| (*offset, &line[..])).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], (0, "[97]"));
    assert_eq!(lines[1], (3, "[]"));
    assert_eq!(lines[2], (5, "[]"));
    assert_eq!(lines[3], (6, "[13, 98, 13]"));
    assert_eq!(lines[4], (11, "[99, 13]"));
}

#[test]
fn lossy_replaces_invalid_bytes() {
    let lossy = Chunk { lossy: true, ..chunk(b"ok\nb\xffd\n") };
    let lines = records::<Line>(&lossy).unwrap();
    assert_eq!(lines, [(0, "\"ok\"".to_string()), (3, "\"b\u{fffd}d\"".to_string())]);
}

#[test]
fn a_short_last_record_is_an_error() {
    let error = records::<FixedBytes<4>>(&Chunk { offset: 8, ..chunk(b"123456") }).unwrap_err();
    assert_eq!(error.offset, 12);
    assert_eq!(error.message, "a record of 4 bytes is cut short after 2");
}

#[test]
fn bad_json_is_named_with_its_byte() {
    let file = b"[1]\n[2, \"x\"]\n";
    let error = records::<JsonLines<Vec<i32>>>(&Chunk { offset: 100, ..chunk(file) }).unwrap_err();
    assert_eq!(error.offset, 110);
    let expected = "not the JSON that is expected: invalid type: string \"x\", expected i32";
    assert_eq!(error.message, expected);
    let lossy = Chunk { lossy: true, ..chunk(b"\"b\xffd\"\n") };
    assert_eq!(records::<JsonLines<String>>(&lossy).unwrap()[0].1, "\"b\u{fffd}d\"");
}

#[test]
fn bad_json_is_named_with_its_byte_after_replaced_bytes() {
    for (line, offset) in [
        (&b"[\"\xff\xff\", x]"[..], 7),
        (b"[\"\xff\xff\"] \xff", 7),
        (b"\xff", 0),
        (b"[\"\xc3\xa9\xff\", x]", 8),
    ] {
        let lossy = Chunk { lossy: true, ..chunk(line) };
        let error = records::<JsonLines<Vec<String>>>(&lossy).unwrap_err();
        assert_eq!(error.offset, offset, "{}", line.escape_ascii());
    }
}

#[test]
fn located_records_have_their_positions() {
    let mut places = Vec::new();
    let chunk = Chunk { offset: 10, ..chunk(b"a\nbc\n") };
    Located::<Line>::default()
        .for_each(&chunk, |_, line| {
            places.push((line.file.to_string(), line.offset, line.record.to_string()));
            Ok(())
        })
        .unwrap();
    assert_eq!(places[1], ("hay.txt".to_string(), 12, "bc".to_string()));
}

#[test]
fn a_whole_file_is_one_record() {
    let file = b"a\nb\0c";
    for range_bytes in 1..8 {
        let records = records_in_ranges::<WholeFile>(file, range_bytes);
        assert_eq!(records, [(0, format!("{file:?}"))], "{range_bytes}");
    }
    assert_eq!(records::<WholeFile>(&chunk(b"")), Ok(vec![]));
}
