//! Puts the text of chunks, which are mapped concurrently, back into input order.
//!
//! A thread that is too far ahead of the slowest one waits, and so does a thread for whose text
//! there is no room, so that little text is held back. A text that is too long for one thread's
//! memory is begun in a file until its turn comes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use windrow_jobs::FailureCause;
use windrow_jobs::checksum::Crc64;
use windrow_jobs::collect::Sections;
use windrow_jobs::program::PartFrame;
use windrow_security::files::private;

use crate::files::TemporaryFile;
use crate::memory::{Account, Reservation};
use crate::parts::PartUpload;
use crate::sync::{into_inner, lock, wait_while};

/// For each thread, texts of so many chunks are held back.
const WINDOW_PER_THREAD: usize = 4;

/// They take up at most one part in this many of the memory, besides the texts that threads hold.
pub const MEMORY_PARTS: u64 = 8;

/// Bytes of a text on disk that are read at once.
const COPY_BYTES: usize = 256 << 10;

/// The part of a map-only task, while it is written.
pub struct OrderedPart {
    state: Mutex<State>,
    moved: Condvar,
    /// Most chunks whose texts are held back, and most bytes.
    window: usize,
    bytes_max: u64,
}

struct State {
    writer: Box<dyn PartUpload>,
    frame: Box<dyn PartFrame>,
    /// Number of the chunk whose text is written next.
    next: usize,
    pending: BTreeMap<usize, Text>,
    pending_bytes: u64,
    records: u64,
    /// Number of waiting threads.
    waiting: usize,
}

/// The text that was mapped from one chunk.
pub struct Text {
    /// The text before the bytes, if it was too long for the memory.
    pub on_disk: Option<TextFile>,
    /// Whole sections.
    pub bytes: Vec<u8>,
    /// Number of pairs in them, without those on disk.
    pub records: u64,
    /// The part's metadata of the sections.
    pub sections: Sections,
    /// Accounts for the bytes.
    pub _reservation: Reservation,
}

/// The beginning of a text that was too long for the memory.
pub struct TextFile {
    file: File,
    temporary: TemporaryFile,
    bytes: u64,
    records: u64,
    /// The sections of each appended piece.
    sections: Vec<Sections>,
    checksum: Crc64,
}

impl TextFile {
    /// An empty file, which is removed when this is dropped.
    pub fn create(path: PathBuf) -> Result<Self, FailureCause> {
        let file = private().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(|error| FailureCause::io(&path, &error))?;
        let (temporary, checksum) = (TemporaryFile::new(path), Crc64::new());
        Ok(Self { file, temporary, bytes: 0, records: 0, sections: Vec::new(), checksum })
    }

    /// Appends whole sections with so many pairs.
    pub fn append(
        &mut self,
        bytes: &[u8],
        records: u64,
        sections: Sections,
    ) -> Result<(), FailureCause> {
        self.file.write_all(bytes).map_err(|error| FailureCause::io(self.path(), &error))?;
        self.bytes += bytes.len() as u64;
        self.records += records;
        self.sections.push(sections);
        self.checksum.update(bytes);
        Ok(())
    }

    fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Copies it to `part`, and returns its sections and the number of their pairs. An error if the
    /// content has changed since it was written.
    fn copy_to(mut self, part: &mut dyn PartUpload) -> Result<(Vec<Sections>, u64), FailureCause> {
        let failed = |error: &io::Error| FailureCause::io(self.temporary.path(), error);
        self.file.rewind().map_err(|error| failed(&error))?;
        let mut buffer = vec![0; COPY_BYTES];
        let (mut left, mut checksum) = (self.bytes, Crc64::new());
        while left > 0 {
            let piece = &mut buffer[..left.min(COPY_BYTES as u64) as usize];
            self.file.read_exact(piece).map_err(|error| failed(&error))?;
            checksum.update(piece);
            part.write(piece)?;
            left -= piece.len() as u64;
        }
        if checksum.finish() == self.checksum.finish() {
            return Ok((self.sections, self.records));
        }
        let (file, message) = (self.path().display().to_string(), "its checksum does not match");
        Err(FailureCause::Corrupt { file, offset: 0, message: message.into() })
    }
}

impl OrderedPart {
    /// Starts with chunk 0; so many threads submit chunks.
    pub fn new(
        writer: Box<dyn PartUpload>,
        frame: Box<dyn PartFrame>,
        threads: usize,
        memory: &Account,
    ) -> Self {
        let bytes_max = memory.limit_bytes() / MEMORY_PARTS;
        Self::within(writer, frame, WINDOW_PER_THREAD * threads, bytes_max)
    }

    fn within(
        writer: Box<dyn PartUpload>,
        frame: Box<dyn PartFrame>,
        window: usize,
        bytes_max: u64,
    ) -> Self {
        let (pending, pending_bytes) = Default::default();
        let state =
            State { writer, frame, next: 0, pending, pending_bytes, records: 0, waiting: 0 };
        Self { state: Mutex::new(state), moved: Condvar::new(), window: window.max(1), bytes_max }
    }

    /// Writes the present text of a chunk, if that chunk is next; otherwise returns it. The rest of
    /// the text must be submitted.
    pub fn write_ahead(&self, chunk: usize, text: Text) -> Result<Option<Text>, FailureCause> {
        let mut state = lock(&self.state);
        if chunk != state.next {
            return Ok(Some(text));
        }
        state.write(text)?;
        Ok(None)
    }

    /// Takes the text of a chunk. Waits while the chunk is too far ahead, or there is no room,
    /// until `stop` is set.
    pub fn submit(
        &self,
        chunk: usize,
        text: Text,
        stop: impl Fn() -> Result<(), FailureCause>,
    ) -> Result<(), FailureCause> {
        debug_assert!(
            text.records == 0 || !text.bytes.is_empty(),
            "records without text would be counted and not written"
        );
        let bytes = text.bytes.capacity() as u64;
        // The thread with the next chunk never waits, so there is always progress.
        let is_to_wait = |state: &State| {
            debug_assert!(chunk >= state.next, "a chunk is submitted once");
            let is_next = chunk == state.next;
            !is_next
                && (chunk - state.next >= self.window
                    || state.pending_bytes + bytes > self.bytes_max)
        };
        let mut state = lock(&self.state);
        if is_to_wait(&state) {
            state.waiting += 1;
            state = wait_while(&self.moved, state, is_to_wait, stop)?;
            state.waiting -= 1;
        }
        state.pending_bytes += bytes;
        let before = state.pending.insert(chunk, text);
        debug_assert!(before.is_none(), "a chunk is submitted once");
        state.write_ready()?;
        debug_assert!(state.pending.len() < self.window, "the texts held back are bounded");
        self.moved.notify_all();
        Ok(())
    }

    /// Finishes the part, and returns it and the number of its pairs. An error if the text of a
    /// chunk is missing: nothing else would notice.
    pub fn finish(self) -> Result<(Box<dyn PartUpload>, u64), FailureCause> {
        let mut state = into_inner(self.state);
        if state.pending.is_empty() {
            state.frame.finish(&mut *state.writer)?;
            return Ok((state.writer, state.records));
        }
        Err(FailureCause::Corrupt {
            file: state.writer.name(),
            offset: 0,
            message: format!(
                "the text of chunk {} is missing, though that of {} after it came",
                state.next,
                state.pending.len()
            ),
        })
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        lock(&self.state).waiting
    }
}

impl State {
    fn write_ready(&mut self) -> Result<(), FailureCause> {
        while let Some(text) = self.pending.remove(&self.next) {
            debug_assert!(
                text.bytes.capacity() as u64 <= self.pending_bytes,
                "each text was counted when it was submitted"
            );
            self.pending_bytes -= text.bytes.capacity() as u64;
            self.write(text)?;
            self.next += 1;
        }
        debug_assert!(
            self.pending.first_key_value().is_none_or(|(first, _)| *first > self.next),
            "a text held back waits for an earlier chunk"
        );
        debug_assert!(
            !self.pending.is_empty() || self.pending_bytes == 0,
            "bytes left in the count would make threads wait for ever"
        );
        Ok(())
    }

    fn write(&mut self, text: Text) -> Result<(), FailureCause> {
        if let Some(file) = text.on_disk {
            let (sections, records) = file.copy_to(&mut *self.writer)?;
            sections.into_iter().try_for_each(|sections| self.frame.append(sections))?;
            self.records += records;
        }
        self.writer.write(&text.bytes)?;
        self.frame.append(text.sections)?;
        self.records += text.records;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use windrow_jobs::program::{NoFrame, PartSink};
    use windrow_jobs::{Location, PartKind, StageId};

    use super::*;
    use crate::parts::{self, WrittenPart};
    use crate::testing::attempt_id;

    fn upload(folder: &Path) -> Box<dyn PartUpload> {
        let store = parts::store(&Location::of_path(folder).unwrap()).unwrap();
        store.create(attempt_id(StageId::MAP, 0, 1), PartKind::Output).unwrap()
    }

    fn text(chunk: usize) -> Text {
        let bytes = format!("{chunk}\n").into_bytes();
        let _reservation = Account::new(0).reserve(0);
        Text { on_disk: None, bytes, records: 1, sections: Sections::none(), _reservation }
    }

    fn part(folder: &Path, window: usize) -> OrderedPart {
        let writer = upload(folder);
        OrderedPart::within(writer, Box::new(NoFrame), window, 1 << 20)
    }

    #[test]
    fn texts_are_written_in_the_order_of_their_chunks() {
        let folder = tempfile::tempdir().unwrap();
        let part = part(folder.path(), 8);
        for chunk in [2, 0, 3, 1, 5, 4] {
            part.submit(chunk, text(chunk), || Ok(())).unwrap();
        }
        let (writer, records) = part.finish().unwrap();
        let WrittenPart { handle: written, unreported: _file } = writer.finish(records).unwrap();
        assert_eq!(
            std::fs::read_to_string(written.location.to_local().unwrap()).unwrap(),
            "0\n1\n2\n3\n4\n5\n"
        );
        assert_eq!(written.records, 6);
    }

    #[test]
    fn a_thread_that_is_too_far_ahead_waits_for_the_slowest_one() {
        let folder = tempfile::tempdir().unwrap();
        let part = part(folder.path(), 2);
        std::thread::scope(|scope| {
            let ahead = scope.spawn(|| part.submit(2, text(2), || Ok(())));
            part.submit(1, text(1), || Ok(())).unwrap();
            wait_for(&part, 1);
            assert!(!ahead.is_finished(), "chunk 2 is beyond the window");
            part.submit(0, text(0), || Ok(())).unwrap();
            ahead.join().unwrap().unwrap();
        });
        assert_eq!(part.finish().unwrap().1, 3);
    }

    /// Counts how often sections are appended.
    struct Counts(Arc<AtomicUsize>);

    impl PartFrame for Counts {
        fn append(&mut self, _sections: Sections) -> Result<(), FailureCause> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        fn finish(self: Box<Self>, _sink: &mut dyn PartSink) -> Result<(), FailureCause> {
            Ok(())
        }
    }

    #[test]
    fn a_long_text_goes_to_a_file_before_its_turn_and_to_the_part_at_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let writer = upload(folder.path());
        let appended = Arc::new(AtomicUsize::new(0));
        let part = OrderedPart::within(writer, Box::new(Counts(appended.clone())), 8, 1 << 20);
        let early = part.write_ahead(1, text(1)).unwrap().expect("chunk 0 comes first");
        let mut file = TextFile::create(folder.path().join("scratch")).unwrap();
        file.append(b"begun\n", 1, Sections::none()).unwrap();
        part.submit(1, Text { on_disk: Some(file), ..early }, || Ok(())).unwrap();
        for _ in 0..2 {
            assert!(part.write_ahead(0, text(0)).unwrap().is_none(), "it is its turn");
        }
        part.submit(0, text(0), || Ok(())).unwrap();
        let (writer, records) = part.finish().unwrap();
        let WrittenPart { handle: written, unreported: _file } = writer.finish(records).unwrap();
        assert_eq!(
            std::fs::read_to_string(written.location.to_local().unwrap()).unwrap(),
            "0\n0\n0\nbegun\n1\n"
        );
        assert_eq!(written.records, 5);
        assert_eq!(appended.load(Ordering::Relaxed), 5, "each piece has sections of its own");
        assert!(!folder.path().join("scratch").exists(), "the file is not needed any more");
    }

    #[test]
    fn a_text_that_has_changed_on_the_disk_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let part = part(folder.path(), 8);
        let path = folder.path().join("scratch");
        let mut file = TextFile::create(path.clone()).unwrap();
        file.append(b"begun\n", 1, Sections::none()).unwrap();
        std::fs::write(&path, b"begum\n").unwrap();
        let failed = part.submit(0, Text { on_disk: Some(file), ..text(0) }, || Ok(()));
        assert!(failed.unwrap_err().to_string().contains("its checksum does not match"));
    }

    /// Waits until so many threads wait.
    fn wait_for(part: &OrderedPart, threads: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while part.waiting() < threads {
            assert!(Instant::now() < deadline, "nobody waits");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_text_without_room_waits_until_it_is_next() {
        let folder = tempfile::tempdir().unwrap();
        let writer = upload(folder.path());
        let part = OrderedPart::within(writer, Box::new(NoFrame), 100, 3_000);
        let text = |bytes: usize| Text { bytes: vec![b'x'; bytes], ..text(0) };
        part.submit(1, text(2_000), || Ok(())).unwrap();
        std::thread::scope(|scope| {
            let too_much = scope.spawn(|| part.submit(2, text(2_000), || Ok(())));
            wait_for(&part, 1);
            part.submit(3, text(900), || Ok(())).unwrap();
            assert!(!too_much.is_finished());
            part.submit(0, text(50_000), || Ok(())).unwrap();
            too_much.join().unwrap().unwrap();
        });
        let (writer, records) = part.finish().unwrap();
        assert_eq!(writer.finish(records).unwrap().handle.bytes, 54_900);
    }

    #[test]
    fn a_missing_text_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let part = part(folder.path(), 8);
        for chunk in [0, 2, 3] {
            part.submit(chunk, text(chunk), || Ok(())).unwrap();
        }
        let failure = part.finish().err().unwrap().to_string();
        assert!(failure.contains("the text of chunk 1 is missing"), "{failure}");
    }

    #[test]
    fn a_waiting_thread_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let stopped = part(folder.path(), 1).submit(1, text(1), || Err(FailureCause::Cancelled));
        assert_eq!(stopped, Err(FailureCause::Cancelled));
    }
}
