//! Sorts whole lines: the key is the line, and there is no value.

use super::inverted;
use super::keyed::{HEADER, ROW};
use crate::emit::Emit;
use crate::error::Result;
use crate::input::{LineBytes, Located, LocatedRecord};
use crate::mapper::Mapper;
use crate::output::TextOutput;

pub(super) struct Lines {
    pub(super) reverse: bool,
    pub(super) header: bool,
}

impl Mapper for Lines {
    type Input = Located<LineBytes>;
    type Key = [u8];
    type Value = ();

    #[inline]
    fn map(&self, line: LocatedRecord<'_, &[u8]>, out: &mut impl Emit<[u8], ()>) -> Result<()> {
        if !self.reverse && !self.header {
            return out.emit(line.record, ());
        }
        let mut key = Vec::with_capacity(line.record.len() + 3);
        if self.header && line.offset == 0 {
            // The first file's header becomes that of the output.
            if line.file_number > 0 {
                return Ok(());
            }
            key.push(HEADER);
            key.extend_from_slice(line.record);
            return out.emit(&key, ());
        }
        if self.header {
            key.push(ROW);
        }
        if self.reverse {
            inverted::write(line.record, &mut key);
        } else {
            key.extend_from_slice(line.record);
        }
        out.emit(&key, ())
    }
}

/// Writes the lines from their keys.
#[derive(Clone, Copy)]
pub(super) struct LineKeys {
    pub(super) reverse: bool,
    pub(super) header: bool,
}

impl TextOutput<[u8], ()> for LineKeys {
    #[inline]
    fn write(&self, key: &[u8], (): (), out: &mut Vec<u8>) -> Result<()> {
        let (is_header, line) = match key {
            [kind, line @ ..] if self.header => (*kind == HEADER, line),
            line => (false, line),
        };
        if self.reverse && !is_header {
            inverted::read(line, out);
        } else {
            out.extend_from_slice(line);
        }
        out.push(b'\n');
        Ok(())
    }
}
