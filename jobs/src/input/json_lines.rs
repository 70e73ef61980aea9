//! JSON, one value per line.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::line::lines;
use super::{Chunk, Format, Framing, Position, RecordError};

/// Lines of JSON (also called NDJSON), each read as a `T`. Blank lines and a byte order mark are
/// skipped.
///
/// ```
/// use serde::Deserialize;
/// use windrow_jobs::input::{Chunk, Format, JsonLines};
///
/// #[derive(Deserialize)]
/// struct Visit {
///     page: String,
///     seconds: f64,
/// }
///
/// let chunk = Chunk::new("visits.json", br#"{"page": "/index", "seconds": 1.5}"#);
/// JsonLines::<Visit>::default().for_each(&chunk, |_, visit| {
///     assert_eq!((&*visit.page, visit.seconds), ("/index", 1.5));
///     Ok(())
/// })?;
/// # Ok::<(), windrow_jobs::input::RecordError>(())
/// ```
#[derive(Debug)]
pub struct JsonLines<T>(PhantomData<fn() -> T>);

impl<T> Default for JsonLines<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: DeserializeOwned + 'static> Format for JsonLines<T> {
    type Record<'a> = T;

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn for_each(
        &self,
        chunk: &Chunk<'_>,
        mut each: impl for<'a> FnMut(Position<'a>, T) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let chunk = &chunk.without_mark();
        lines(chunk.bytes).try_for_each(|line| {
            let bytes = &chunk.bytes[line.clone()];
            if bytes.trim_ascii().is_empty() {
                return Ok(());
            }
            let record = match serde_json::from_slice(bytes) {
                Err(_) if chunk.lossy => {
                    let text = String::from_utf8_lossy(bytes);
                    let parsed = serde_json::from_str(&text);
                    parsed.map_err(|error| (index_before_replacement(bytes, stop(&error)), error))
                }
                parsed => parsed.map_err(|error| (stop(&error), error)),
            };
            let record =
                record.map_err(|(index, error)| malformed(chunk, line.start + index, &error))?;
            each(chunk.position(line.start), record)
        })
    }
}

/// The index of the byte at which parsing stopped.
fn stop(error: &serde_json::Error) -> usize {
    error.column().saturating_sub(1)
}

/// The index in `bytes` of the byte at `index` of the text in which invalid bytes are replaced.
fn index_before_replacement(bytes: &[u8], mut index: usize) -> usize {
    let mut start = 0;
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().len();
        if index < valid {
            return start + index;
        }
        (index, start) = (index - valid, start + valid);
        let replacement = char::REPLACEMENT_CHARACTER.len_utf8();
        if index < replacement {
            return start;
        }
        (index, start) = (index - replacement, start + chunk.invalid().len());
    }
    start
}

/// The error at the byte at which parsing stopped.
#[cold]
fn malformed(chunk: &Chunk<'_>, index: usize, error: &serde_json::Error) -> RecordError {
    // The message's line and column count within the record: the offset is more useful.
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    RecordError {
        offset: chunk.position(index).offset,
        message: format!("not the JSON that is expected: {message}"),
    }
}
