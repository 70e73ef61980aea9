//! Reads chunks: positioned reads of a window, cut where records start.
//!
//! ```text
//!           start                     end
//!  ...--LF--|------LF-----------------|-------LF--...
//!        '--+----- window ------------+-------'          a byte or more before the chunk, to see whether a record
//!                 '-- the chunk's records ----'          starts at its start; more after it when the last one is long
//! ```
//!
//! A file that is not what the job was planned for, or changes while it is read, is an error. There
//! is no memory mapping: a file that is truncated must not be a signal.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use windrow_jobs::input::{Chunk, Framing};
use windrow_jobs::{FailureCause, Place};

use super::plan::InputPlan;
use crate::executor::FileRange;

/// Read beyond the chunk at first: most records end within.
const LOOKAHEAD_BYTES: u64 = 4 << 10;

/// So much of a record that is too long is looked at for the reason.
const HINT_BYTES: usize = 4 << 10;

/// A window grows by one part in this many.
const GROWTH_PARTS: u64 = 4;

/// One thread's reader. It keeps its file open from chunk to chunk.
pub struct ChunkReader<'a> {
    plan: &'a InputPlan,
    file: Option<(usize, InputFile)>,
    window: Window,
}

impl<'a> ChunkReader<'a> {
    /// A reader of the chunks of `plan`.
    pub fn new(plan: &'a InputPlan) -> Self {
        Self { plan, file: None, window: Window::default() }
    }

    /// The records that start in a chunk; none if a long record covers all of it. Calls
    /// `enter_large` before it reads much more than a chunk.
    pub fn read(
        &mut self,
        index: usize,
        enter_large: &mut dyn FnMut() -> Result<(), FailureCause>,
    ) -> Result<Chunk<'_>, FailureCause> {
        let (chunk, range) = self.plan.chunk(index);
        let file = open(&mut self.file, chunk.range, range, self.plan)?;
        let usual_bytes = usual_bytes(self.plan);
        let found = self.window.find(file, self.plan, chunk.start..chunk.end, &mut |wanted| {
            if wanted > usual_bytes { enter_large() } else { Ok(()) }
        });
        let Range { start, end } = found?;
        let mut chunk = Chunk::new(&file.name, self.window.bytes(start..end));
        chunk.file_number = range.file_number;
        chunk.offset = start;
        chunk.header = &file.header;
        chunk.lossy = self.plan.lossy;
        Ok(chunk)
    }

    /// Gives memory back that an unusually long record took. To be called when the chunk has been
    /// mapped.
    pub fn forget_large(&mut self) {
        self.window.limit_memory(usual_bytes(self.plan));
    }

    /// Makes sure that what was read last has not changed in the meantime.
    pub fn finish(self) -> Result<(), FailureCause> {
        self.file.map_or(Ok(()), |(_, file)| file.check())
    }

    /// Memory that the reader takes up.
    pub fn memory_bytes(&self) -> u64 {
        self.window.buffer.capacity() as u64
    }
}

/// Most that is read at once but for long records.
fn usual_bytes(plan: &InputPlan) -> u64 {
    4 * plan.chunk_bytes.max(LOOKAHEAD_BYTES)
}

/// The open file of a range: the one that is open already, or a new one.
fn open<'f>(
    current: &'f mut Option<(usize, InputFile)>,
    index: usize,
    range: &FileRange,
    plan: &InputPlan,
) -> Result<&'f InputFile, FailureCause> {
    let reusable = current.take().map(|(of, file)| if of == index { Ok(file) } else { Err(file) });
    let file = match reusable {
        Some(Ok(file)) => file,
        Some(Err(former)) => {
            former.check()?;
            InputFile::open(range, plan)?
        }
        None => InputFile::open(range, plan)?,
    };
    Ok(&current.insert((index, file)).1)
}

/// A file that is as it was when the job was planned.
struct InputFile {
    file: File,
    path: PathBuf,
    name: String,
    bytes: u64,
    modified_unix_ns: u64,
    /// The first record, if the format needs it.
    header: Vec<u8>,
}

impl InputFile {
    /// Opened again if it seems to have changed: by that, clients of network file systems learn
    /// what their cache did not know.
    fn open(range: &FileRange, plan: &InputPlan) -> Result<Self, FailureCause> {
        match Self::open_once(range, plan) {
            Err(FailureCause::InputChanged { .. }) => Self::open_once(range, plan),
            opened => opened,
        }
    }

    fn open_once(range: &FileRange, plan: &InputPlan) -> Result<Self, FailureCause> {
        let file =
            File::open(&range.path).map_err(|error| FailureCause::io(&range.path, &error))?;
        let mut this = Self {
            file,
            path: range.path.clone(),
            name: range.path.display().to_string(),
            bytes: range.file_bytes,
            modified_unix_ns: range.modified_unix_ns,
            header: Vec::new(),
        };
        this.compare(&this.file)?;
        if plan.format.has_header {
            let mut window = Window::default();
            let first = window.find(&this, plan, 0..1, &mut |_| Ok(()))?;
            this.header = window.bytes(first).to_vec();
        }
        Ok(this)
    }

    /// Makes sure that what was read is what was planned. Where the open file seems to have
    /// changed, the same one is asked once more, opened anew.
    fn check(&self) -> Result<(), FailureCause> {
        let failed = |error: io::Error| FailureCause::io(&self.name, &error);
        let Err(changed) = self.compare(&self.file) else { return Ok(()) };
        let again = File::open(&self.path).map_err(failed)?;
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let read = identity(self.file.metadata().map_err(failed)?);
        if identity(again.metadata().map_err(failed)?) != read {
            return Err(changed);
        }
        self.compare(&again)
    }

    /// Compares the file with the plan.
    fn compare(&self, file: &File) -> Result<(), FailureCause> {
        let found = file.metadata().map_err(|error| FailureCause::io(&self.name, &error))?;
        let modified = found.modified().map_err(|error| FailureCause::io(&self.name, &error))?;
        let unix_ns = modified.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos() as u64);
        if found.len() != self.bytes {
            Err(self.changed(format!("it had {} bytes and has {}", self.bytes, found.len())))
        } else if unix_ns != self.modified_unix_ns {
            Err(self.changed("it was written to".into()))
        } else {
            Ok(())
        }
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), FailureCause> {
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.changed(format!("it had {} bytes and is shorter now", self.bytes))
            }
            _ => FailureCause::io(&self.name, &error),
        })
    }

    #[cold]
    fn too_long(&self, offset: u64, most: u64, hint: &str) -> FailureCause {
        let place = Place { file: self.name.clone(), offset: Some(offset), ..Place::default() };
        let message = format!(
            "the record is longer than {most} bytes, the largest that --max-record-size allows{hint}"
        );
        FailureCause::UserError { place, message }
    }

    fn changed(&self, message: String) -> FailureCause {
        FailureCause::InputChanged { file: self.name.clone(), message }
    }
}

/// Part of a file in memory.
#[derive(Default)]
struct Window {
    /// As long as it ever was; the bytes of the file come first.
    buffer: Vec<u8>,
    offset: u64,
    filled: usize,
}

impl Window {
    /// Where the records that start in `chunk` begin and end. Reads as much as it takes to know and
    /// to have them, but no further than the largest record may be. Tells `admit` how much it wants
    /// to have in memory.
    fn find(
        &mut self,
        file: &InputFile,
        plan: &InputPlan,
        chunk: Range<u64>,
        admit: &mut dyn FnMut(u64) -> Result<(), FailureCause>,
    ) -> Result<Range<u64>, FailureCause> {
        let framing = plan.format.framing;
        let most = plan.record_bytes_max;
        self.offset = chunk.start.saturating_sub(framing.look_behind_bytes());
        self.filled = 0;
        self.extend(file, chunk.end.saturating_add(LOOKAHEAD_BYTES))?;
        let first = self.record_start(file, framing, chunk.start)?;
        let Some(start) = first.filter(|start| *start < chunk.end) else {
            return Ok(chunk.end..chunk.end);
        };
        loop {
            let next = self.record_start(file, framing, chunk.end)?;
            let at_end_of_file = self.end() == file.bytes;
            let end = next.or(at_end_of_file.then_some(file.bytes)).map(|end| end.min(file.bytes));
            // All that is known of the last record, which may be less than all of it.
            let known = end.unwrap_or(self.end());
            // Only then is it worth knowing where it starts.
            let mut last = start;
            if end.is_none() || known - start > most {
                last = framing.last_record_start(self.filled(), self.offset, start, chunk.end);
                if let Some(at) = self.too_long(framing, start..last, most) {
                    return Err(file.too_long(at, most, self.hint(at)));
                }
            }
            if known - last > most {
                return Err(file.too_long(last, most, self.hint(last)));
            }
            match end {
                Some(end) if end <= self.end() => return Ok(start..end),
                Some(end) => {
                    admit(end - self.offset)?;
                    self.extend(file, end)?;
                }
                // Ever larger steps: a long record is read once and searched a few times, and not
                // much is read beyond it. A byte more than is allowed tells that a record is too
                // long.
                None => {
                    let step = (self.filled as u64 / GROWTH_PARTS).max(LOOKAHEAD_BYTES);
                    let enough = last.saturating_add(most).saturating_add(1);
                    let to = self.end().saturating_add(step).min(enough);
                    admit(to - self.offset)?;
                    self.extend(file, to)?;
                }
            }
        }
    }

    /// The first record that starts at `at` or after it; `None` if it starts beyond the window.
    /// Reads on as far as it may take to be sure of that.
    fn record_start(
        &mut self,
        file: &InputFile,
        framing: Framing,
        at: u64,
    ) -> Result<Option<u64>, FailureCause> {
        let found = framing.record_start(self.filled(), self.offset, at);
        let sure = at.saturating_add(framing.look_ahead_bytes()).min(file.bytes);
        if found.is_some() || self.end() >= sure {
            return Ok(found);
        }
        self.extend(file, sure)?;
        Ok(framing.record_start(self.filled(), self.offset, at))
    }

    /// Where a record of more than `most` bytes starts, of those that start in this range and end
    /// within it. Records are looked at one by one only where chunks are larger than they may be.
    fn too_long(&self, framing: Framing, range: Range<u64>, most: u64) -> Option<u64> {
        let mut at = range.start;
        while range.end - at > most {
            let next = framing.record_start(self.filled(), self.offset, at + 1);
            let next = next.filter(|next| *next <= range.end)?;
            if next - at > most {
                return Some(at);
            }
            at = next;
        }
        None
    }

    /// Why there may be no ends of lines where they are looked for, in what begins at `start`.
    fn hint(&self, start: u64) -> &'static str {
        let window = self.filled();
        let at = usize::try_from(start - self.offset).unwrap_or(usize::MAX).min(window.len());
        let sample = &window[at..window.len().min(at + HINT_BYTES)];
        let count = |wanted: u8| sample.iter().filter(|byte| **byte == wanted).count();
        if count(0) > sample.len() / 4 {
            "; it looks like UTF-16 rather than UTF-8: convert it first (iconv -f UTF-16 -t UTF-8)"
        } else if count(b'\r') > 0 && count(b'\n') == 0 {
            "; its lines seem to end in CR alone: convert it first (tr '\\r' '\\n')"
        } else {
            ""
        }
    }

    /// Reads on until the window ends at `to`, or at the end of the file.
    fn extend(&mut self, file: &InputFile, to: u64) -> Result<(), FailureCause> {
        let wanted = (to.min(file.bytes).saturating_sub(self.offset)) as usize;
        if wanted > self.filled {
            if wanted > self.buffer.len() {
                // No more than that: a limit that is kept is worth more than a spare half.
                self.buffer.reserve_exact(wanted - self.buffer.len());
                self.buffer.resize(wanted, 0);
            }
            let end = self.end();
            file.read(&mut self.buffer[self.filled..wanted], end)?;
            self.filled = wanted;
        }
        Ok(())
    }

    fn end(&self) -> u64 {
        self.offset + self.filled as u64
    }

    fn filled(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    fn bytes(&self, range: Range<u64>) -> &[u8] {
        if range.is_empty() {
            return &[];
        }
        &self.buffer[(range.start - self.offset) as usize..(range.end - self.offset) as usize]
    }

    /// Gives memory back that an unusually long record took.
    fn limit_memory(&mut self, bytes: u64) {
        if self.buffer.len() as u64 > bytes {
            self.buffer = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use windrow_jobs::program::InputFormat;

    use super::*;
    use crate::testing::{file_range, whole_file};

    const LINES: InputFormat = InputFormat { framing: Framing::Lines, has_header: false };

    /// Reads `ranges` of a file chunk by chunk, and returns the records with their offsets, and
    /// what was read.
    fn read_all(ranges: Vec<FileRange>, chunk_bytes: u64, framing: Framing) -> Vec<(u64, Vec<u8>)> {
        let format = InputFormat { framing, has_header: false };
        let plan = InputPlan::new(ranges, chunk_bytes, format, false);
        let mut reader = ChunkReader::new(&plan);
        let mut records = Vec::new();
        while let Some(index) = plan.take() {
            let chunk = reader.read(index, &mut || Ok(())).unwrap();
            let mut offset = chunk.offset;
            let mut rest = chunk.bytes;
            while !rest.is_empty() {
                let len = match framing {
                    Framing::Lines => {
                        rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1)
                    }
                    Framing::Fixed { bytes } => bytes.min(rest.len()),
                    // Where each ends is not looked at here.
                    Framing::QuotedLines { .. } => rest.len(),
                };
                records.push((offset, rest[..len].to_vec()));
                offset += len as u64;
                rest = &rest[len..];
            }
        }
        reader.finish().unwrap();
        records
    }

    fn split(path: &std::path::Path, split_bytes: u64) -> Vec<FileRange> {
        let whole = whole_file(path);
        (0..whole.file_bytes.div_ceil(split_bytes))
            .map(|n| n * split_bytes)
            .map(|start| file_range(path, start, (start + split_bytes).min(whole.file_bytes)))
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
            // Few chunks of a byte: enough to find borders, and quick.
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
            // Who reads from the start finds the same borders.
            for (offset, _) in chunks {
                prop_assert_eq!(csv.record_start(text.as_bytes(), 0, offset), Some(offset));
            }
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
            let framing = Framing::Fixed { bytes };
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
        while let Some(index) = plan.take() {
            let chunk = reader.read(index, &mut || Ok(())).unwrap();
            assert!(chunk.bytes.len() <= 1_010, "{}", chunk.bytes.len());
            read += chunk.bytes.len();
        }
        assert_eq!(read, text.len());
    }

    #[test]
    fn a_record_above_the_limit_is_named_and_not_read_to_its_end() {
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
            while let Some(index) = plan.take() {
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
            let FailureCause::UserError { place, message } = *cause else { panic!("{cause}") };
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
            Err(FailureCause::UserError { place, message }) => (place.offset.unwrap(), message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_limit_below_a_chunk_is_kept_by_every_record_of_it() {
        assert_eq!(refusal(b"a\nb\nmuch longer than that\nc\n").0, 4);
        assert_eq!(refusal(b"a\nb\nc\nmuch longer than that").0, 6);
    }

    #[test]
    fn line_ends_of_other_systems_are_named() {
        let (_, message) = refusal(b"one\rtwo\rthree\rfour\r");
        assert!(message.ends_with("convert it first (tr '\\r' '\\n')"), "{message}");
        let text: Vec<u8> = "one two three".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let (_, message) = refusal(&text);
        assert!(message.contains("looks like UTF-16"), "{message}");
        let (_, message) = refusal(b"one two three\r\n");
        assert!(message.ends_with("--max-record-size allows"), "{message}");
    }

    #[test]
    fn a_file_that_differs_from_the_plan_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let planned = whole_file(&path);
        let read = |range: FileRange| {
            let plan = InputPlan::new(vec![range], 100, LINES, false);
            let mut reader = ChunkReader::new(&plan);
            reader
                .read(0, &mut || Ok(()))
                .map(|chunk| chunk.bytes.len())
                .and_then(|n| reader.finish().map(|()| n))
        };
        assert_eq!(read(planned.clone()), Ok(8));
        let earlier = planned.modified_unix_ns - 1;
        let touched = read(FileRange { modified_unix_ns: earlier, ..planned.clone() });
        assert!(matches!(touched, Err(FailureCause::InputChanged { .. })), "{touched:?}");
        std::fs::write(&path, "one\n").unwrap();
        let shrunk = read(planned.clone()).unwrap_err();
        assert!(shrunk.to_string().contains("it had 8 bytes and has 4"), "{shrunk}");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read(planned), Err(FailureCause::Io { .. })));
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_noticed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let plan = InputPlan::new(vec![whole_file(&path)], 100, LINES, false);
        let mut reader = ChunkReader::new(&plan);
        reader.read(0, &mut || Ok(())).unwrap();
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert!(matches!(reader.finish(), Err(FailureCause::InputChanged { .. })));
    }
}
