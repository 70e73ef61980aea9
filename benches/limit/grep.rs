//! The lines that contain a literal, with file and offset.

use std::path::Path;

use memchr::memmem::Finder;

use super::output::Output;
use super::{Piece, Result, Turns, on_all_cores, open, pieces};

const PIECE_BYTES: usize = 4 << 20;

pub fn run(input: &Path, output: &Path, literal: &[u8]) -> Result<()> {
    let inputs = open(input)?;
    let pieces = pieces(&inputs, PIECE_BYTES);
    let turns = Turns::new(pieces.len());
    let finder = Finder::new(literal);
    on_all_cores(|core| {
        let mut out = Output::create(output, core)?;
        for piece in turns.take() {
            search(&pieces[piece], &finder, &mut out)?;
        }
        out.finish()
    })?;
    Ok(())
}

/// Searches the piece as a whole: lines matter only around a match.
fn search(piece: &Piece<'_>, finder: &Finder<'_>, out: &mut Output) -> Result<()> {
    let bytes = piece.bytes;
    let mut from = 0;
    while let Some(found) = finder.find(&bytes[from..]).map(|found| from + found) {
        let start = memchr::memrchr(b'\n', &bytes[..found]).map_or(0, |before| before + 1);
        let end = memchr::memchr(b'\n', &bytes[found..]).map_or(bytes.len(), |n| found + n + 1);
        let place = format!("{}:{}\t", piece.path.display(), piece.offset + start);
        out.bytes(place.as_bytes())?;
        out.bytes(&bytes[start..end])?;
        from = end;
    }
    Ok(())
}
