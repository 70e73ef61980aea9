//! Writing to standard error, even if its reader is gone or hangs, or its disk is full.
//!
//! None of that is a reason to fail: the message is lost, and nothing else. Nor may a role wait for
//! its reader, since a log shipper that hangs would block it. So a role's lines go through a
//! bounded queue to a thread of their own; lines that nobody reads are dropped and counted. Other
//! commands write directly.
//!
//! Nothing in Windrow uses `eprintln!`, which panics where standard error cannot be written.

use std::collections::VecDeque;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::stdout::escaped;

/// What may wait for a reader.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// How long a process that ends waits for its last words to be read.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// Of a role; no other command has one.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// From now on, nothing that this process says waits for its reader. Where no thread can be
/// started, it does.
pub(crate) fn never_wait() {
    let writing = std::thread::Builder::new().name("windrow-log".into()).spawn(|| {
        QUEUE.get_or_init(Queue::default).pass_on(&mut io::stderr());
    });
    if writing.is_ok() {
        QUEUE.get_or_init(Queue::default);
    }
}

/// Writes one line, its control characters escaped.
pub(crate) fn line(text: Arguments<'_>) {
    let mut line = escaped(&text.to_string()).into_owned();
    line.push('\n');
    write(line.as_bytes());
}

/// Writes text that brings its own line ends, its control characters escaped.
pub(crate) fn text(text: &str) {
    write(escaped(text).as_bytes());
}

/// Waits for what has been said to be written, but not for long.
pub(crate) fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.wait_until_empty(FLUSH_TIME_MAX);
    }
}

fn write(bytes: &[u8]) {
    match QUEUE.get() {
        Some(queue) => queue.put(bytes),
        None => drop(io::stderr().lock().write_all(bytes)),
    }
}

/// For `tracing`: one write is one event.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What waits to be written.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    left_out: u64,
    /// Whether some of it is being written now.
    is_writing: bool,
}

impl Queue {
    fn put(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if state.waiting_bytes + bytes.len() > WAITING_BYTES_MAX {
            state.left_out += 1;
            return;
        }
        state.waiting_bytes += bytes.len();
        state.waiting.push_back(bytes.to_vec());
        self.changed.notify_all();
    }

    /// Writes for ever what comes.
    fn pass_on(&self, writer: &mut impl Write) {
        loop {
            let (batch, left_out) = self.next_batch();
            for bytes in batch {
                // Whoever does not want it does not get it.
                let _ = writer.write_all(&bytes);
            }
            if left_out > 0 {
                let _ = writeln!(
                    writer,
                    "windrow: {left_out} lines of the log are left out here, as nobody read it"
                );
            }
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    fn next_batch(&self) -> (VecDeque<Vec<u8>>, u64) {
        let state = self.lock();
        let mut state = self
            .changed
            .wait_while(state, |state| state.waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        state.waiting_bytes = 0;
        (std::mem::take(&mut state.waiting), std::mem::take(&mut state.left_out))
    }

    fn wait_until_empty(&self, time_max: Duration) {
        let state = self.lock();
        let busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        drop(self.changed.wait_timeout_while(state, time_max, busy));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes nothing before it is allowed to, and shows what it took.
    struct Reluctant(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_is_left_out_is_counted() {
        let queue: &'static Queue = Box::leak(Box::default());
        let (allow, allowed) = mpsc::channel();
        let (took, taken) = mpsc::channel();
        queue.put(b"first");
        std::thread::spawn(move || queue.pass_on(&mut Reluctant(allowed, took)));
        // Until the first line is with the writer, it counts as waiting.
        while !queue.lock().is_writing {
            std::thread::yield_now();
        }
        let line = [b'x'; 1 << 10];
        let fits = WAITING_BYTES_MAX / line.len();
        (0..fits + 3).for_each(|_| queue.put(&line));
        assert_eq!(queue.lock().left_out, 3);
        queue.wait_until_empty(Duration::from_millis(1));
        // From now on, the reader takes everything.
        drop(allow);
        queue.wait_until_empty(Duration::from_secs(60));
        let all: Vec<u8> = taken.try_iter().flatten().collect();
        let all = String::from_utf8_lossy(&all);
        assert!(all.starts_with("firstxxx"), "{}", &all[..20]);
        assert!(all.ends_with("3 lines of the log are left out here, as nobody read it\n"));
    }

    #[test]
    fn a_writer_that_fails_is_no_reason_to_stop() {
        struct Broken(u32);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let queue: &'static Queue = Box::leak(Box::default());
        std::thread::spawn(move || queue.pass_on(&mut Broken(0)));
        for _ in 0..3 {
            queue.put(b"lost");
            queue.wait_until_empty(Duration::from_secs(60));
            assert!(queue.lock().waiting.is_empty() && !queue.lock().is_writing);
        }
    }
}
