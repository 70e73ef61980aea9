//! Where records end whose quoted fields may hold line breaks.
//!
//! Tables are read line by line, so such a record is a bad one; but it has to be known how far it
//! extends, or the rest of it would be taken for good records.
//!
//! ```text
//!  7,"Greenfield,LF        a record starts here
//!  upper",12LF             belongs to it: what follows the next quote may follow a closing one
//!  8,"HayfLF               a stray quote, as of a line that was cut short:
//!  9,"Hill",3LF            the next one can only open a field, so a record starts here
//! ```
//!
//! Nothing tells a closing quote from an opening one but what stands around it. So the rule is made
//! such that it gives the same wherever it begins to read, as long as it begins at a line that is
//! not inside a field, and that it finds back soon where it begins inside one.

use memchr::{memchr, memchr2, memrchr};

const QUOTE: u8 = b'"';
const LF: u8 = b'\n';

/// A field with line breaks ends within so many bytes of its record's start.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 10;

/// From where on a file is read to find out whether a line starts a record: a field that began
/// before has ended by then, and there is something left to find back in.
pub(super) const LOOK_BEHIND_BYTES: usize = RECORD_BYTES_MAX + (16 << 10);

/// The first index, `at` or after it, at which a record starts. `None` if that cannot be told from
/// `bytes`. Where these are not those of the `file_start`, what their first line is the rest of is
/// not known, and is passed over.
pub(super) fn record_start(
    bytes: &[u8],
    file_start: bool,
    at: usize,
    delimiter: u8,
) -> Option<usize> {
    debug_assert!(at > 0, "a record starts where a file does");
    let before = bytes.get(..at)?;
    // Without a quote, every line is a record, so the last one before `at` is enough to begin with.
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

/// Where the first record of `bytes` ends: behind its LF. `None` if it takes more to know; never
/// where `is_all` there is.
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

/// What closes a quoted field.
enum Closing {
    /// The quote here.
    At(usize),
    /// Nothing: the opening quote is a stray one.
    Never,
    /// More bytes have to be known.
    Unknown,
}

/// Looks for the quote that closes the field whose opening quote is at `start`.
fn closing_quote(bytes: &[u8], start: usize, delimiter: u8, is_all: bool) -> Closing {
    let mut from = start + 1;
    loop {
        // On its line it may be anywhere, on a later one only within the bound.
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
            // Text follows. On a later line, where a field can begin, it opens one.
            Some(_) if opens_field(&bytes[start..quote], delimiter) => return Closing::Never,
            Some(_) => return Closing::At(quote),
        }
    }
}

/// Whether a quote behind `before`, which begins with the quote that is open, stands on a later
/// line where a field begins.
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
    fn no_record_starts_in_a_field_that_opens_behind_the_place_that_was_asked_for() {
        let file = b"a,\"b\nc\"\nd,e\nf,\"g\nh\"\n";
        let starts: Vec<_> =
            (1..file.len()).map_while(|at| CSV.record_start(file, 0, at as u64)).collect();
        assert_eq!(starts[..8], [8; 8]);
        assert_eq!(starts[8..12], [12; 4]);
        assert_eq!(starts[12..], vec![20; starts.len() - 12]);
    }

    #[test]
    fn a_stray_quote_spoils_its_own_line_alone() {
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
        // On one line it may be as long as it likes.
        let long = format!("\"{}\",b\n", "x".repeat(2 * RECORD_BYTES_MAX));
        assert_eq!(records(&long), [&*long]);
    }

    proptest! {
        /// What one chunk takes for its end, the next one takes for its start, whatever their
        /// windows.
        #[test]
        fn all_who_ask_find_the_same(
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
                // A record starts there for who reads the records one after the other, too.
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
            for framing in [CSV, Framing::Lines, Framing::Fixed { bytes: 3 }] {
                let next = |at: &u64| framing.record_start(text.as_bytes(), 0, at + 1);
                let starts = std::iter::successors(Some(0), |at| next(at).filter(|next| *next < end));
                let last = framing.last_record_start(text.as_bytes(), 0, 0, end);
                prop_assert_eq!(Some(last), starts.last());
            }
        }
    }

    #[test]
    fn far_from_the_start_of_a_file_it_finds_back_into_the_records() {
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
