//! Finds the ends of records whose quoted fields may contain line breaks.
//!
//! Tables are read line by line, so such a record is bad. But its end must be known, or its
//! remaining lines would pass for good records.
//!
//! ```text
//!  7,"Greenfield,LF        a record starts here
//!  upper",12LF             belongs to it: what follows the next quote may follow a closing one
//!  8,"HayfLF               a stray quote, as of a line that was cut short:
//!  9,"Hill",3LF            the next one can only open a field, so a record starts here
//! ```
//!
//! Only its neighbours distinguish a closing quote from an opening one. The rule gives the same
//! result wherever reading begins, as long as it begins at a line outside a field; where it begins
//! inside a field, it soon resynchronises.

use memchr::{memchr, memchr2, memrchr};

const QUOTE: u8 = b'"';
const LF: u8 = b'\n';

/// A field with line breaks ends within this many bytes of its record's start.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 10;

/// How far before a line a file is read to decide whether the line starts a record: any earlier
/// field has ended, and there are enough bytes to resynchronise.
pub(super) const LOOK_BEHIND_BYTES: usize = RECORD_BYTES_MAX + (16 << 10);

/// The first index from `at` on at which a record starts; `None` if `bytes` do not decide it.
/// Unless `bytes` are at the `file_start`, their first line may be the rest of a record, and is
/// skipped.
pub(super) fn record_start(
    bytes: &[u8],
    file_start: bool,
    at: usize,
    delimiter: u8,
) -> Option<usize> {
    debug_assert!(at > 0, "a record starts where a file does");
    let before = bytes.get(..at)?;
    // Without quotes every line is a record, so it suffices to begin with the last line before
    // `at`.
    let last_line = memchr(QUOTE, before).is_none().then(|| memrchr(LF, before)).flatten();
    let mut start = match last_line {
        Some(line_end) => line_end + 1,
        None if file_start => 0,
        None => memchr(LF, bytes)? + 1,
    };
    while start < at {
        start += end(&bytes[start..], delimiter, false)?;
    }
    Some(start)
}

/// Size of the first record of `bytes`, which are whole records.
pub(super) fn record_bytes(bytes: &[u8], delimiter: u8) -> usize {
    end(bytes, delimiter, true).unwrap_or(bytes.len())
}

/// The end of the first record of `bytes`, behind its LF. `None` if more bytes are needed to find
/// it; never if `is_all`.
fn end(bytes: &[u8], delimiter: u8, is_all: bool) -> Option<usize> {
    let line_end = match memchr(LF, bytes) {
        Some(lf) => lf + 1,
        None => return is_all.then_some(bytes.len()),
    };
    if memchr(QUOTE, &bytes[..line_end]).is_none() {
        return Some(line_end);
    }
    let mut from = 0;
    loop {
        if bytes.get(from) == Some(&QUOTE) {
            match closing_quote(bytes, from, delimiter, is_all) {
                Closing::At(quote) => from = quote + 1,
                Closing::Never => return Some(line_end),
                Closing::Unknown => return None,
            }
        }
        match memchr2(delimiter, LF, &bytes[from..]) {
            Some(at) if bytes[from + at] == LF => return Some(from + at + 1),
            Some(at) => from += at + 1,
            None => return is_all.then_some(bytes.len()),
        }
    }
}

/// The end of a quoted field.
enum Closing {
    /// The quote at this index closes it.
    At(usize),
    /// Nothing closes it: the opening quote is stray.
    Never,
    /// More bytes are needed.
    Unknown,
}

/// Looks for the quote that closes the field whose opening quote is at `start`.
fn closing_quote(bytes: &[u8], start: usize, delimiter: u8, is_all: bool) -> Closing {
    let mut from = start + 1;
    loop {
        // The closing quote may be anywhere on the same line; on a later line, only within the
        // bound.
        let line_end = memchr(LF, &bytes[from..]).map_or(bytes.len(), |lf| from + lf);
        let found = memchr(QUOTE, &bytes[from..line_end]).or_else(|| {
            let within = &bytes[from..bytes.len().min(RECORD_BYTES_MAX).max(line_end)];
            memchr(QUOTE, within)
        });
        let Some(quote) = found.map(|at| from + at) else {
            let is_sure = is_all || (line_end < bytes.len() && bytes.len() >= RECORD_BYTES_MAX);
            return if is_sure { Closing::Never } else { Closing::Unknown };
        };
        match bytes.get(quote + 1) {
            Some(&QUOTE) => from = quote + 2,
            None if !is_all => return Closing::Unknown,
            None | Some(&LF | b'\r') => return Closing::At(quote),
            Some(next) if *next == delimiter => return Closing::At(quote),
            // Text follows. On a later line, at the start of a field, the quote opens another
            // field.
            Some(_) if opens_field(&bytes[start..quote], delimiter) => return Closing::Never,
            Some(_) => return Closing::At(quote),
        }
    }
}

/// Whether a quote after `before`, which begins with the open quote, is at the start of a field on
/// a later line.
fn opens_field(before: &[u8], delimiter: u8) -> bool {
    let begins = before.last().is_some_and(|last| *last == delimiter || *last == LF);
    begins && memchr(LF, before).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::input::Framing;

    const CSV: Framing = Framing::QuotedLines { delimiter: b',' };

    fn records(text: &str) -> Vec<&str> {
        let mut rest = text;
        std::iter::from_fn(|| {
            let (record, more) = rest.split_at(record_bytes(rest.as_bytes(), b','));
            rest = more;
            (!record.is_empty()).then_some(record)
        })
        .collect()
    }

    #[test]
    fn a_field_with_line_breaks_belongs_to_one_record() {
        for record in [
            "\"x\ny\",b\n",
            "a,\"x\r\n\r\ny\"\r\n",
            "\"a\nb\",\"c\nd\",e\n",
            "\"x\n\",b\n",
            "\"x \"\"quoted\"\"\ny\",b\n",
            "\"x\n\"\",\"\"\ny\"\n",
            "\"a\"b,\"x\ny\"\n",
            "\"x\ny\"z,\"q\"\n",
        ] {
            let text = format!("1,2\n{record}3,\"4\"\n");
            assert_eq!(records(&text), ["1,2\n", record, "3,\"4\"\n"], "{text:?}");
            assert_eq!(records(&format!("{record}{record}")), [record, record]);
        }
        assert_eq!(records("a\n\"x\ny\""), ["a\n", "\"x\ny\""]);
    }

    #[test]
    fn no_record_starts_in_a_field_that_opens_behind_the_given_index() {
        let file = b"a,\"b\nc\"\nd,e\nf,\"g\nh\"\n";
        let starts: Vec<_> =
            (1..file.len()).map_while(|at| CSV.record_start(file, 0, at as u64)).collect();
        assert_eq!(starts[..8], [8; 8]);
        assert_eq!(starts[8..12], [12; 4]);
        assert_eq!(starts[12..], vec![20; starts.len() - 12]);
    }

    #[test]
    fn a_stray_quote_spoils_only_its_own_line() {
        for stray in ["1,\"Gree\n", "\"\n", "\"a\"b\n", "\",b\n", "1,\"Gree\r\n"] {
            for next in ["2,\"Hay\",x\n", "\"Hay, low\",x\n", "2,3\n"] {
                let text = format!("{stray}{next}");
                assert_eq!(records(&text)[0], stray, "{text:?}");
            }
        }
    }

    #[test]
    fn a_field_ends_within_the_bound() {
        let field = |bytes: usize| format!("\"{}\n\",b\n", "x".repeat(bytes));
        let most = field(RECORD_BYTES_MAX - 3);
        assert_eq!(records(&most), [&*most]);
        assert_eq!(records(&field(RECORD_BYTES_MAX - 2)).len(), 2);
        // On one line a field may have any length.
        let long = format!("\"{}\",b\n", "x".repeat(2 * RECORD_BYTES_MAX));
        assert_eq!(records(&long), [&*long]);
    }

    proptest! {
        /// A chunk's end is the next chunk's start, whatever their windows.
        #[test]
        fn all_windows_give_the_same_start(
            lines in prop::collection::vec(
                prop::sample::select(vec!["a,b\n", "\"x\n", "y\",b\n", "\",\"\n", "1,\"\"\n", "\n"]), 0..60),
            at in 0..200_usize,
            more in 0..40_usize,
        ) {
            let text = lines.concat();
            let at = at.min(text.len()) as u64;
            let whole = CSV.record_start(text.as_bytes(), 0, at);
            let window = &text.as_bytes()[..text.len().min(at as usize + more)];
            let part = CSV.record_start(window, 0, at);
            prop_assert!(part.is_none() || part == whole, "{:?} {:?}", part, whole);
            if let Some(start) = whole {
                // Reading the records in sequence finds the same start.
                let mut starts = vec![0];
                while *starts.last().unwrap() < text.len() {
                    let last = *starts.last().unwrap();
                    starts.push(last + record_bytes(&text.as_bytes()[last..], b','));
                }
                prop_assert!(starts.contains(&(start as usize)), "{} {:?}", start, starts);
            }
        }

        #[test]
        fn the_last_record_is_found(
            lines in prop::collection::vec(
                prop::sample::select(vec!["a,b\n", "\"x\n", "y\",b\n", "\n"]), 1..60),
            end in 1..200_u64,
        ) {
            let text = lines.concat();
            let end = end.min(text.len() as u64);
            for framing in [CSV, Framing::Lines, Framing::Fixed { bytes: std::num::NonZeroUsize::new(3).unwrap() }] {
                let next = |at: &u64| framing.record_start(text.as_bytes(), 0, at + 1);
                let starts = std::iter::successors(Some(0), |at| next(at).filter(|next| *next < end));
                let last = framing.last_record_start(text.as_bytes(), 0, 0, end);
                prop_assert_eq!(Some(last), starts.last());
            }
        }
    }

    #[test]
    fn reading_resynchronises_far_from_the_start_of_a_file() {
        let record = "\"x\ny\",b\n1,\"Hay\"\n2,3\n";
        let text = record.repeat(3 * LOOK_BEHIND_BYTES / record.len());
        let starts: Vec<_> = (0..text.len()).step_by(record.len()).collect();
        for at in (2 * LOOK_BEHIND_BYTES..2 * LOOK_BEHIND_BYTES + record.len()).map(|at| at as u64)
        {
            let offset = at - LOOK_BEHIND_BYTES as u64;
            let window = &text.as_bytes()[offset as usize..];
            let start = CSV.record_start(window, offset, at).unwrap() as usize;
            let in_record = start - starts.iter().rfind(|of| **of <= start).unwrap();
            assert!([0, 8, 16].contains(&in_record), "{at}: {in_record}");
        }
    }
}
