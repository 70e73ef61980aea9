//! Chooses the pieces of the input that the submitter of an ordered job samples. Pure: no file is
//! touched.
//!
//! ```text
//!  all files, end to end   |--------|--------|--------|--------|   strata of the same size
//!                            ###        ###    ###         ###     a piece of each
//! ```

use std::ops::Range;

use windrow_jobs::{InputRange, SamplePiece};

use super::listing::InputFile;

/// Approximate bytes read of all files together.
const SAMPLE_BYTES: u64 = 8 << 20;
/// Number of strata of a large input, from few to many partitions.
const STRATA: (u64, u64) = (256, 1024);
const STRATA_PER_PARTITION: u64 = 8;
/// Files of one stratum that are opened.
const FILES_PER_STRATUM: usize = 8;

/// A piece of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    /// Index of the file.
    file: usize,
    /// The range in which wanted records begin.
    bytes: Range<u64>,
}

/// The pieces of `files` to read in order to cut the job's output into `partitions` ranges.
pub(crate) fn pieces(files: &[InputFile], partitions: u32) -> Vec<SamplePiece> {
    let mut pieces = Vec::new();
    for (stratum, of_stratum) in (0..).zip(strata(files, partitions)) {
        pieces.extend(of_stratum.into_iter().map(|Piece { file, bytes }| {
            let InputFile { input, location, version } = files[file].clone();
            let file_number = file as u32;
            SamplePiece {
                stratum,
                input,
                range: InputRange { location, file_number, range: bytes, version },
            }
        }));
    }
    pieces
}

/// Spreads the pieces evenly over all bytes of all files. A piece's position in its stratum varies,
/// so that files that are sorted individually do not mislead.
fn strata(files: &[InputFile], partitions: u32) -> Vec<Vec<Piece>> {
    let total: u64 = files.iter().map(InputFile::bytes).sum();
    let wanted = (u64::from(partitions) * STRATA_PER_PARTITION).clamp(STRATA.0, STRATA.1);
    let piece_bytes = SAMPLE_BYTES / wanted;
    let for_files = files.len().div_ceil(FILES_PER_STRATUM) as u64;
    let count = total.div_ceil(piece_bytes).max(for_files).clamp(1, wanted);
    let border =
        |stratum: u64| (u128::from(total) * u128::from(stratum) / u128::from(count)) as u64;
    let mut cursor = Cursor { files, file: 0, start: 0 };
    (0..count)
        .map(|stratum| {
            let (low, high) = (border(stratum), border(stratum + 1));
            let read = (high - low).min(piece_bytes);
            // The golden ratio's multiples fill the interval evenly.
            let place = (stratum as f64 * 0.618_033_988_749_894_9).fract();
            let start = low + ((high - low - read) as f64 * place) as u64;
            cursor.pieces(start..start + read)
        })
        .collect()
}

/// A cursor over the files, end to end.
struct Cursor<'a> {
    files: &'a [InputFile],
    file: usize,
    /// Bytes of all files before this one.
    start: u64,
}

impl Cursor<'_> {
    /// The pieces of `wanted`, which must not lie before the range of the last call.
    fn pieces(&mut self, wanted: Range<u64>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while let Some(file) = self.files.get(self.file)
            && self.start < wanted.end
        {
            let end = self.start + file.bytes();
            let bytes = wanted.start.max(self.start)..wanted.end.min(end);
            if bytes.start < bytes.end && pieces.len() < FILES_PER_STRATUM {
                let bytes = bytes.start - self.start..bytes.end - self.start;
                pieces.push(Piece { file: self.file, bytes });
            }
            if wanted.end < end {
                break;
            }
            (self.file, self.start) = (self.file + 1, end);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files(sizes: &[u64]) -> Vec<InputFile> {
        sizes.iter().map(|bytes| InputFile::for_test(0, "/in", *bytes)).collect()
    }

    #[test]
    fn small_inputs_are_read_whole() {
        let pieces = strata(&files(&[10, 0, 20_000]), 4).concat();
        let expected = [Piece { file: 0, bytes: 0..10 }, Piece { file: 2, bytes: 0..20_000 }];
        assert_eq!(pieces, expected);
    }

    proptest! {
        #[test]
        fn pieces_are_few_in_order_and_spread_evenly(
            sizes in prop::collection::vec(prop_oneof![0..100_u64, 0..1_u64 << 34], 0..40),
            partitions in 1..2_000_u32,
        ) {
            let files = files(&sizes);
            let strata = strata(&files, partitions);
            let total: u64 = sizes.iter().sum();
            let begins: Vec<u64> =
                sizes.iter().scan(0, |sum, size| Some(std::mem::replace(sum, *sum + size))).collect();
            let mut last = 0;
            let mut read = 0;
            for (index, pieces) in (0_u64..).zip(&strata) {
                prop_assert!(pieces.len() <= FILES_PER_STRATUM);
                let border = |n: u64| (u128::from(total) * u128::from(n) / strata.len() as u128) as u64;
                for Piece { file, bytes } in pieces {
                    prop_assert!(bytes.start < bytes.end && bytes.end <= sizes[*file]);
                    let (start, end) = (begins[*file] + bytes.start, begins[*file] + bytes.end);
                    prop_assert!(last <= start);
                    prop_assert!(border(index) <= start && end <= border(index + 1));
                    last = end;
                    read += end - start;
                }
            }
            prop_assert!(strata.len() as u64 <= STRATA.1);
            prop_assert!(read <= SAMPLE_BYTES);
            // Skipped files are small.
            prop_assert!(total == 0 || read > 0);
        }
    }
}
