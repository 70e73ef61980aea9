//! `gen csv`: lines like those of a web server's access log, in seven columns.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use super::Content;
use super::distribution::Zipf;
use super::output::{Output, Share};
use super::rng::Rng;
use super::vocabulary::{Word, vocabulary};
use super::{SETUP_STREAM, file_rng};

const HEADER: &str = "timestamp,client,method,path,status,bytes,millis\n";
/// 1 January 2025, in seconds since 1970.
const FIRST_SECOND: u64 = 1_735_689_600;
const LINES_A_SECOND: u64 = 20;
/// About what a line takes; gives each file the time at which it begins.
const LINE_BYTES: u64 = 80;

const SECTIONS: [&str; 8] = ["api", "blog", "docs", "help", "news", "shop", "user", "wiki"];
const METHODS: [&str; 8] = ["GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST"];
const STATUSES: [&str; 8] = ["200", "200", "200", "200", "200", "301", "304", "404"];

/// An access log whose paths follow Zipf's law.
pub(super) struct Csv {
    seed: u64,
    header: bool,
    paths: Vec<String>,
    ranks: Zipf,
}

impl Csv {
    /// With `paths` different paths, at most [`RANKS_MAX`](super::distribution::RANKS_MAX).
    pub(super) fn new(seed: u64, paths: u32, header: bool) -> Self {
        let words = vocabulary(paths, &mut Rng::new(seed, SETUP_STREAM));
        let paths_of = |(word, section): (&Word, &&str)| {
            format!("/{section}/{}.html", String::from_utf8_lossy(word.letters()))
        };
        let paths_made = words.iter().zip(SECTIONS.iter().cycle()).map(paths_of).collect();
        Self { seed, header, paths: paths_made, ranks: Zipf::new(paths) }
    }

    fn push_line(&self, timestamp: &str, rng: &mut Rng, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        let mut number = |n: u64, out: &mut Vec<u8>| {
            out.extend_from_slice(digits.format(n).as_bytes());
        };
        let random = rng.next();
        out.extend_from_slice(timestamp.as_bytes());
        out.extend_from_slice(b",10.");
        number(random & 63, out);
        out.push(b'.');
        number(random >> 6 & 255, out);
        out.push(b'.');
        number(random >> 14 & 255, out);
        out.push(b',');
        out.extend_from_slice(METHODS[(random >> 22 & 7) as usize].as_bytes());
        out.push(b',');
        out.extend_from_slice(self.paths[self.ranks.sample(rng) as usize].as_bytes());
        out.push(b',');
        out.extend_from_slice(STATUSES[(random >> 25 & 7) as usize].as_bytes());
        out.push(b',');
        number(200 + rng.below(60_000), out);
        out.push(b',');
        number(1 + rng.below(900), out);
        out.push(b'\n');
    }
}

impl Content for Csv {
    const EXTENSION: &str = "csv";

    /// Whole lines only: the file ends less than a line short of its share.
    fn write(&self, share: Share, out: &mut Output<'_>) -> io::Result<()> {
        let mut rng = file_rng(self.seed, share);
        let mut left_bytes = share.len();
        if self.header {
            out.buffer().extend_from_slice(HEADER.as_bytes());
            left_bytes = left_bytes.saturating_sub(HEADER.len() as u64);
        }
        let mut second = share.start / LINE_BYTES / LINES_A_SECOND;
        let mut timestamp = timestamp_of(second);
        loop {
            if rng.below(LINES_A_SECOND) == 0 {
                second += 1;
                timestamp = timestamp_of(second);
            }
            let before = out.buffer().len();
            self.push_line(&timestamp, &mut rng, out.buffer());
            let line_bytes = (out.buffer().len() - before) as u64;
            if line_bytes > left_bytes {
                out.buffer().truncate(before);
                return Ok(());
            }
            left_bytes -= line_bytes;
            out.line_ends()?;
        }
    }
}

fn timestamp_of(second: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(FIRST_SECOND + second);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::testing::{content, share};
    use super::*;

    #[test]
    fn lines_have_seven_columns_of_their_kinds() {
        let text = String::from_utf8(content(&Csv::new(1, 500, false), share(50_000))).unwrap();
        assert!((49_880..=50_000).contains(&text.len()), "{}", text.len());
        let mut last = "";
        for line in text.lines() {
            let columns: Vec<&str> = line.split(',').collect();
            let [timestamp, client, method, path, status, bytes, millis] = columns[..] else {
                panic!("{line}");
            };
            assert!(timestamp >= last && timestamp.starts_with("2025-01-01T00:"), "{line}");
            last = timestamp;
            assert!(client.parse::<std::net::Ipv4Addr>().unwrap().is_private(), "{line}");
            assert!(METHODS.contains(&method) && STATUSES.contains(&status), "{line}");
            assert!(path.starts_with('/') && path.ends_with(".html"), "{line}");
            assert!((200..60_200).contains(&bytes.parse::<u64>().unwrap()), "{line}");
            assert!((1..=900).contains(&millis.parse::<u64>().unwrap()), "{line}");
        }
    }

    #[test]
    fn the_header_names_the_columns_once() {
        let text = String::from_utf8(content(&Csv::new(1, 500, true), share(5_000))).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(HEADER.trim_end()));
        assert!(lines.count() > 20 && text.matches("timestamp").count() == 1);
    }

    #[test]
    fn paths_are_distinct() {
        let csv = Csv::new(1, 3000, false);
        assert_eq!(csv.paths.iter().collect::<HashSet<_>>().len(), 3000);
    }
}
