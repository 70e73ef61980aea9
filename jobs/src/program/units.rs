//! Asks a format for the units of a file.

use crate::failure::{FailureCause, RecordPlace};
use crate::input::{FileReader, Format, FoundUnits, Units};
use crate::user_code::panic;

/// Runs a format's [`units`](Format::units). A panic is caught, and a failure of the file passes
/// through the format.
pub(super) fn find_units<F: Format>(
    format: &F,
    file: &FileReader<'_>,
    mut units: Units,
) -> Result<FoundUnits, FailureCause> {
    let outcome = panic::guard(|| format.units(file, &mut units));
    if let Some(cause) = file.take_failure() {
        return Err(cause);
    }
    match outcome {
        Ok(found) => units.finish(found).map_err(|error| error.into_failure(file.name())),
        Err(caught) => Err(caught.into_failure(RecordPlace::in_file(file.name()))),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::input::{Chunk, Framing, Position, RecordError, Unit};

    /// Reads what `Self` says; a unit for each time.
    #[derive(Clone, Default)]
    struct Reads(Vec<Range<u64>>);

    impl Format for Reads {
        type Record<'a> = ();

        fn framing(&self) -> Framing {
            Framing::Units
        }

        fn units(&self, file: &FileReader<'_>, units: &mut Units) -> Result<(), RecordError> {
            for range in &self.0 {
                // An error that the format does not pass on.
                let _ = file.read(range.clone());
                units.push(Unit::new(range.clone()))?;
            }
            if self.0.is_empty() { panic!("no reads") } else { Ok(()) }
        }

        fn for_each(
            &self,
            _chunk: &Chunk<'_>,
            _each: impl for<'a> FnMut(Position<'a>, ()) -> Result<(), RecordError>,
        ) -> Result<(), RecordError> {
            Ok(())
        }
    }

    fn found(reads: &[Range<u64>]) -> Result<FoundUnits, FailureCause> {
        let read = |buffer: &mut [u8], offset: u64| match offset {
            50.. => Err(FailureCause::InputChanged { file: "f".into(), message: "x".into() }),
            _ => {
                buffer.fill(7);
                Ok(())
            }
        };
        let file = FileReader::new("f", 100, 20, &read);
        find_units(&Reads(reads.to_vec()), &file, Units::new(0..100, 100, 10_000, usize::MAX))
    }

    #[test]
    fn failures_of_the_file_pass_through_the_format() {
        assert_eq!(found(&[0..10, 20..30]).unwrap().units.len(), 2);
        assert!(matches!(found(&[0..10, 60..61]), Err(FailureCause::InputChanged { .. })));
    }

    #[test]
    fn a_panic_of_the_format_names_the_file() {
        let Err(FailureCause::UserPanic { place, message }) = found(&[]) else { panic!() };
        assert_eq!((&*place.file, &*message), ("f", "no reads"));
    }
}
