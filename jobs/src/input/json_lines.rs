//! JSON, a value a line.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::line::lines;
use super::{Chunk, Format, Framing, Position, RecordError};

/// Lines that are JSON (also called NDJSON), each read as a `T`. Blank lines are skipped.
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
        lines(chunk.bytes).try_for_each(|line| {
            let bytes = &chunk.bytes[line.clone()];
            if bytes.trim_ascii().is_empty() {
                return Ok(());
            }
            let record = match serde_json::from_slice(bytes) {
                Err(_) if chunk.lossy => serde_json::from_str(&String::from_utf8_lossy(bytes)),
                parsed => parsed,
            };
            let record = record.map_err(|error| malformed(chunk, line.start, &error))?;
            each(chunk.position(line.start), record)
        })
    }
}

/// Names the byte at which reading stopped.
#[cold]
fn malformed(chunk: &Chunk<'_>, start: usize, error: &serde_json::Error) -> RecordError {
    let index = start + error.column().saturating_sub(1);
    // The line and column of the message are those within the record: the offset says it better.
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    RecordError {
        offset: chunk.position(index).offset,
        message: format!("not the JSON that is expected: {message}"),
    }
}
