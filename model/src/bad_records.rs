//! Bad records, on which user code fails, and how many of them a job may skip.
//!
//! `collect::skipping_mapper` and `Program::reduce_skipping` decide which records are skipped. The
//! engine decides where they are written and how many are too many.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::failure::{FailureCause, RecordPlace};

/// How many bad records a job may skip; one more fails the job. A group that cannot be reduced
/// counts as one record.
///
/// ```
/// use windrow_model::BadRecordBudget;
///
/// assert_eq!("3".parse::<BadRecordBudget>()?, BadRecordBudget::Records(3));
/// assert!("0.5%".parse::<BadRecordBudget>()?.covers(5, 1_000));
/// # Ok::<(), windrow_model::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BadRecordBudget {
    /// A number of records in the whole job.
    Records(u64),
    /// This share of the records that a stage reads.
    Share(Share),
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

/// A `Share` is never NaN.
impl Eq for Share {}

/// A record, or a group, that was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRecord {
    /// File and offset of the record's first byte, or the group's key; after a panic, also the line
    /// of code.
    pub place: RecordPlace,
    /// The error or the panic.
    pub message: String,
    /// The start of the record; `None` for a group.
    pub record: Option<String>,
}

/// At most this many bytes of a record, and of a message, are kept.
const KEPT_BYTES_MAX: usize = 4 << 10;

impl BadRecordBudget {
    /// Whether a stage that has read `read` records may skip `skipped` of them.
    pub fn covers(self, skipped: u64, read: u64) -> bool {
        match self {
            Self::Records(most) => skipped <= most,
            // A decimal fraction such as 0.1 is rounded in binary; the tolerance lets it still
            // cover exactly that share.
            Self::Share(Share(share)) => {
                skipped as f64 <= share * read as f64 * (1.0 + 8.0 * f64::EPSILON)
            }
        }
    }

    /// The number of records that may be skipped, unless it depends on how many are read.
    pub fn records(self) -> Option<u64> {
        match self {
            Self::Records(most) => Some(most),
            Self::Share(_) => None,
        }
    }
}

impl Share {
    /// An error unless `share` is a number from 0 to 1.
    pub fn new(share: f64) -> Result<Self> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(Error::new("a share of records lies between 0% and 100%"))
        }
    }

    /// From 0 to 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        Self::new(share).map_err(|error| error.message().to_string())
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

/// A count, or a share in percent.
impl FromStr for BadRecordBudget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || {
            Error::new(format!(
                "'{text}' is neither a number of records, as 3, nor a share, as 0.01%"
            ))
        };
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim_end().parse().map_err(|_| malformed())?;
                Share::new(percent / 100.0).map(Self::Share)
            }
            None => text.parse().map(Self::Records).map_err(|_| malformed()),
        }
    }
}

impl fmt::Display for BadRecordBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(most) => most.fmt(f),
            // Rounded to the digits that the user wrote: the division by 100 has added others.
            Self::Share(Share(share)) => write!(f, "{}%", (share * 1e14).round() / 1e12),
        }
    }
}

impl BadRecord {
    /// The failure of user code at the record `bytes`, whose first byte lies at `offset`. Returns
    /// any other failure as the error.
    #[doc(hidden)] // for the engine
    pub fn of_record(cause: FailureCause, offset: u64, bytes: &[u8]) -> Result<Self, FailureCause> {
        let mut bad = Self::of_group(cause)?;
        match bad.place.offset.replace(offset) {
            Some(at) if at != offset => bad.message += &format!(" (at byte {at})"),
            _ => {}
        }
        Ok(bad.with_record(bytes))
    }

    /// The record or group that killed its process, if the attempt ran alone there and the place is
    /// known.
    pub fn of_death(cause: &FailureCause) -> Option<Self> {
        let mut cause = cause.clone();
        let place = match &mut cause {
            FailureCause::ProcessDied { alone: true, place, .. } => std::mem::take(&mut **place),
            FailureCause::OutOfMemory { alone: true, place, .. } => std::mem::take(place),
            _ => return None,
        };
        let mut message = cause.to_string();
        message.truncate(message.floor_char_boundary(KEPT_BYTES_MAX));
        place.names_record().then_some(Self { place, message, record: None })
    }

    /// With the start of the record.
    #[doc(hidden)] // for the engine
    pub fn with_record(self, bytes: &[u8]) -> Self {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let kept = &line[..line.len().min(KEPT_BYTES_MAX)];
        Self { record: Some(String::from_utf8_lossy(kept).into_owned()), ..self }
    }

    /// The failure of user code at a group. Returns any other failure as the error.
    #[doc(hidden)] // for the engine
    pub fn of_group(cause: FailureCause) -> Result<Self, FailureCause> {
        match cause {
            FailureCause::UserError { place, mut message }
            | FailureCause::UserPanic { place, mut message } => {
                message.truncate(message.floor_char_boundary(KEPT_BYTES_MAX));
                Ok(Self { place, message, record: None })
            }
            other => Err(other),
        }
    }

    /// The failure that the attempt would have reported without skipping.
    pub fn into_cause(self) -> FailureCause {
        let Self { place, message, .. } = self;
        match place.source {
            Some(_) => FailureCause::UserPanic { place, message },
            None => FailureCause::UserError { place, message },
        }
    }

    /// Appends the record as one line of JSON, without the fields that are unknown.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let RecordPlace { file, offset, key, source } = &self.place;
        let line = BadRecordLine {
            file: (!file.is_empty()).then_some(file),
            offset: *offset,
            key: key.as_deref(),
            message: &self.message,
            source: source.as_deref(),
            record: self.record.as_deref(),
        };
        // Strings and numbers can always be written as JSON, and writing to a `Vec` cannot fail.
        let _ = serde_json::to_writer(&mut *out, &line);
        out.push(b'\n');
    }
}

/// A line of a file of bad records.
#[derive(Serialize)]
struct BadRecordLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Death;

    #[test]
    fn budgets_are_counts_or_percents() {
        let shown = |text: &str| match text.parse::<BadRecordBudget>() {
            Ok(budget) => budget.to_string(),
            Err(error) => error.message().to_string(),
        };
        for text in ["0", "3", "0%", "0.01%", "12.5%", "100%"] {
            assert_eq!(shown(text), text);
        }
        for text in ["", "-1", "1.5", "%", "x%", "1 %x", "many"] {
            assert!(shown(text).contains("neither a number"), "{text}: {}", shown(text));
        }
        for text in ["101%", "-1%", "NaN%", "inf%"] {
            assert!(shown(text).contains("between 0% and 100%"), "{text}: {}", shown(text));
        }
    }

    #[test]
    fn a_budget_covers_its_number_or_share_and_no_more() {
        let covers = |text: &str, skipped, read| {
            text.parse::<BadRecordBudget>().unwrap().covers(skipped, read)
        };
        assert!(covers("3", 3, 3) && !covers("3", 4, 1_000_000));
        assert!(covers("0.01%", 10, 100_000) && !covers("0.01%", 11, 100_000));
        assert!(covers("0.0003%", 3, 1_000_000) && !covers("0.0003%", 3, 999_999));
        assert!(covers("0%", 0, 0) && !covers("0%", 1, 9));
    }

    #[test]
    fn a_line_has_only_the_known_fields() {
        let cause = |offset| FailureCause::UserError {
            place: RecordPlace { file: "/in/a".into(), offset, ..RecordPlace::default() },
            message: "odd".into(),
        };
        let mut lines = Vec::new();
        let bad = BadRecord::of_record(cause(Some(7)), 4, b"ab\xff\"\r\n").unwrap();
        bad.write_line(&mut lines);
        BadRecord::of_group(cause(None)).unwrap().write_line(&mut lines);
        let expected = concat!(
            r#"{"file":"/in/a","offset":4,"message":"odd (at byte 7)","record":"ab"#,
            "\u{fffd}\\\"\"}\n",
            r#"{"file":"/in/a","message":"odd"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(lines).unwrap(), expected);
        let long = BadRecord::of_record(cause(None), 0, &[b'x'; 9_000]).unwrap();
        assert_eq!(long.record.unwrap().len(), KEPT_BYTES_MAX);
    }

    #[test]
    fn a_record_that_killed_a_lone_attempt_is_a_bad_record() {
        let place = RecordPlace { file: "/in".into(), offset: Some(7), ..RecordPlace::default() };
        let died = |alone, place: &RecordPlace| FailureCause::ProcessDied {
            death: Death::Signal(6),
            alone,
            place: Box::new(place.clone()),
            output: "oh no\n".into(),
        };
        let bad = BadRecord::of_death(&died(true, &place)).unwrap();
        let message =
            "the process that ran user code was killed by SIGABRT; the last that it printed: oh no";
        assert_eq!((&*bad.message, &bad.place), (message, &place));
        assert_eq!(BadRecord::of_death(&died(false, &place)), None);
        assert_eq!(BadRecord::of_death(&died(true, &RecordPlace::default())), None);
        assert_eq!(BadRecord::of_death(&FailureCause::Cancelled), None);
    }

    #[test]
    fn only_failures_of_user_code_are_bad_records() {
        let cancelled = BadRecord::of_record(FailureCause::Cancelled, 0, b"x");
        assert_eq!(cancelled, Err(FailureCause::Cancelled));
    }
}
