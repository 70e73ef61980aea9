//! Writes the entries of one log on a thread of its own, and counts redundant ones.
//!
//! Actions: one member may repeat the same action on the same job a thousand times a second. The
//! first is written at once, and identical ones with their number, so that nothing is omitted and
//! hardly anything pushed out.
//!
//! Refusals: they cost the caller nothing, so there can be any number. Ten of one caller and method
//! are written in a minute, and the others counted. All callers without a certificate count as one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use windrow_jobs::one_line;

use super::Entry;
use super::files::Files;

/// Refusals of one caller and method that are written in a [period](Counted::period).
const ALIKE_MAX: u64 = 10;
/// Most kinds that are counted in a period.
const KINDS_MAX: usize = 1_000;
const SECOND: Duration = Duration::from_secs(1);

/// Which entries are counted together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Entries that are equal except for the time and the port.
    Repeated,
    /// Entries of one caller and method.
    Alike,
}

impl Counted {
    /// The period after which counting begins anew.
    fn period(self) -> Duration {
        match self {
            Self::Repeated => SECOND,
            Self::Alike => 60 * SECOND,
        }
    }

    fn written_max(self) -> u64 {
        match self {
            Self::Repeated => 1,
            Self::Alike => ALIKE_MAX,
        }
    }
}

/// The key of a count: caller and method, and for actions the address without the port, and the
/// subject.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    who: String,
    what: String,
    from: Option<String>,
    subject: Option<String>,
}

impl Kind {
    fn others() -> Self {
        let others = || "others".to_string();
        Self { who: others(), what: others(), from: None, subject: None }
    }
}

pub(super) struct Writer {
    files: Files,
    counted: Counted,
    lost: Arc<AtomicU64>,
    has_failed: bool,
    /// The counts of this period.
    kinds: BTreeMap<Kind, u64>,
    since: Instant,
}

impl Writer {
    pub(super) fn new(files: Files, counted: Counted, lost: Arc<AtomicU64>) -> Self {
        let (has_failed, kinds) = Default::default();
        Self { files, counted, lost, has_failed, kinds, since: Instant::now() }
    }

    pub(super) fn run(mut self, waiting: Receiver<Entry>) {
        loop {
            match waiting.recv_timeout(SECOND) {
                Ok(entry) => self.take(&entry),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.end_period(),
            }
            if self.since.elapsed() >= self.counted.period() {
                self.end_period();
            }
        }
    }

    fn take(&mut self, entry: &Entry) {
        let is_known = |kind: &Kind| self.kinds.contains_key(kind);
        let mut kind = self.kind(entry);
        if self.kinds.len() >= KINDS_MAX && !is_known(&kind) {
            if self.counted == Counted::Repeated {
                return self.write(&to_json(entry));
            }
            kind = Kind::others();
        }
        let count = self.kinds.entry(kind).or_default();
        *count += 1;
        if *count <= self.counted.written_max() {
            self.write(&to_json(entry));
        }
    }

    fn kind(&self, entry: &Entry) -> Kind {
        let address = |from: &String| from.rsplit_once(':').map(|(host, _port)| host.to_string());
        let (who, from, subject) = match self.counted {
            Counted::Repeated => {
                (&entry.who, entry.from.as_ref().and_then(address), entry.subject.clone())
            }
            Counted::Alike => (&entry.counted_as, None, None),
        };
        Kind { who: who.clone(), what: entry.what.clone(), from, subject }
    }

    /// Writes the numbers of entries that were not written.
    fn end_period(&mut self) {
        self.since = Instant::now();
        for (Kind { who, what, from, subject }, count) in std::mem::take(&mut self.kinds) {
            if let Some(more @ 1..) = count.checked_sub(self.counted.written_max()) {
                let outcome = outcome(self.counted == Counted::Alike);
                let mut line = json!({ "time": now(), "who": who, "what": what, "outcome": outcome, "more": more });
                for (name, value) in [("from", from), ("subject", subject)] {
                    if let Some(value) = value {
                        line[name] = one_line(&value).into();
                    }
                }
                self.write(&line);
            }
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.write(&json!({ "time": now(), "lost": lost }));
        }
    }

    fn write(&mut self, entry: &Value) {
        // JSON escapes control characters; this escapes characters that hide or reverse text.
        let line = windrow_jobs::escape(
            &entry.to_string(),
            |_| false,
            |line, c| {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    line.push_str(&format!("\\u{unit:04x}"));
                }
            },
        )
        .into_owned();
        match self.files.append(&line) {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.has_failed, true) {
                    let path = self.files.path();
                    tracing::error!(path = %path.display(), %error, "cannot write the audit log; lost entries are counted there once it can be written");
                }
            }
        }
    }
}

fn to_json(entry: &Entry) -> Value {
    let mut object = json!({
        "time": now(),
        "who": entry.who,
        "what": entry.what,
        "outcome": outcome(entry.refused.is_some()),
    });
    let more = [("from", &entry.from), ("why", &entry.refused), ("subject", &entry.subject)];
    for (name, value) in more {
        if let Some(value) = value {
            object[name] = one_line(value).into();
        }
    }
    object
}

fn outcome(is_refused: bool) -> &'static str {
    if is_refused { "refused" } else { "done" }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn entry(who: &str, what: &str, refused: bool) -> Entry {
        Entry {
            who: who.to_string(),
            from: Some("127.0.0.1:1".to_string()),
            what: what.to_string(),
            refused: refused.then(|| "no\n\u{202e}".to_string()),
            subject: None,
            counted_as: who.to_string(),
        }
    }

    fn writer(folder: &Path, counted: Counted) -> Writer {
        Writer::new(Files::new(folder, "audit"), counted, Arc::default())
    }

    fn lines(folder: &Path) -> Vec<Value> {
        let text = fs::read_to_string(folder.join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn refusals_are_counted_by_caller_and_method() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), Counted::Alike);
        for n in 0..10_000 {
            // As callers without a certificate: many users of this machine.
            let who = format!("user {n}");
            writer.take(&Entry { who, ..entry("nobody", "unknown", true) });
        }
        writer.take(&entry("ann", "List", true));
        writer.end_period();
        let lines = lines(folder.path());
        assert_eq!(lines.len() as u64, ALIKE_MAX + 2);
        assert!(lines.iter().any(|line| line["who"] == "ann" && line["what"] == "List"));
        assert!(lines.iter().any(|line| line["more"] == 10_000 - ALIKE_MAX));
        assert_eq!(lines[0]["why"], r"no\n\u{202e}");
        for n in 0..10_000 {
            writer.take(&entry(&format!("member {n}"), "List", true));
        }
        assert!(writer.kinds.len() <= KINDS_MAX + 1);
    }

    #[test]
    fn repeated_actions_are_counted_and_none_is_omitted() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), Counted::Repeated);
        let about =
            |n: usize| Entry { subject: Some(format!("job {n}")), ..entry("ann", "submit", false) };
        for n in 0..KINDS_MAX + 100 {
            writer.take(&about(n));
        }
        for port in 0..500 {
            writer.take(&Entry { from: Some(format!("127.0.0.1:{port}")), ..about(7) });
        }
        writer.take(&Entry { from: Some("10.0.0.1:1".to_string()), ..about(7) });
        writer.end_period();
        let lines = lines(folder.path());
        assert_eq!(lines.len(), KINDS_MAX + 102);
        for (n, line) in lines.iter().take(KINDS_MAX + 100).enumerate() {
            assert_eq!(line["subject"], format!("job {n}"));
        }
        assert_eq!(lines[KINDS_MAX + 100]["from"], "10.0.0.1:1");
        let last = &lines[KINDS_MAX + 101];
        assert_eq!((&last["subject"], &last["more"]), (&json!("job 7"), &json!(500)));
    }

    #[test]
    fn lost_entries_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mut writer = writer(&state, Counted::Repeated);
        writer.take(&entry("ann", "submit", false));
        writer.take(&entry("ann", "cancel", false));
        fs::create_dir(&state).unwrap();
        writer.end_period();
        assert_eq!(lines(&state)[0]["lost"], 2);
    }
}
