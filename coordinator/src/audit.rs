//! The audit log: who did what, from where, and with which end. One JSON object a line, in the
//! folder of the coordinator's state; only what changes something, reads what others have printed,
//! or was refused.
//!
//! It is bounded twice: by the size of its files, of which the oldest go, and by what one caller may
//! write in a second, so that nobody pushes out what others have done. It never holds up a call: a
//! thread writes it, and where that cannot write, it says so once, and counts what is lost.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tonic::body::Body;
use tonic::codegen::http::Response;
use tonic::{Code, Status};
use windrow_jobs::one_line;
use windrow_security::Identity;
use windrow_security::access::{Caller, Gate, Subject};
use windrow_security::files::private;

/// The file that is written; older ones are `audit.1.log` and so on.
const FILE: &str = "audit.log";
/// At which another one is begun.
const FILE_BYTES_MAX: u64 = 4 << 20;
const FILES_MAX: u32 = 16;
/// Of one caller, method and end in a second; more are counted.
const ALIKE_MAX: u64 = 10;
/// Different callers, methods and ends in a second.
const KINDS_MAX: usize = 1_000;
const WAITING_MAX: usize = 4_096;
const SECOND: Duration = Duration::from_secs(1);
/// Longest reason that is kept.
const REASON_CHARS_MAX: usize = 300;

/// Methods whose success is noted. What is refused always is.
const NOTED: [(&str, &str); 7] = [
    ("/windrow.v1.Enrollment/Enroll", "enroll"),
    ("/windrow.v1.Enrollment/Renew", "renew"),
    ("/windrow.v1.Enrollment/CertifyJob", "certify-job"),
    ("/windrow.v1.Jobs/Submit", "submit"),
    ("/windrow.v1.Jobs/Cancel", "cancel"),
    ("/windrow.v1.Jobs/Logs", "read-logs"),
    ("/windrow.v1.Sessions/Open", "open-session"),
];

/// One thing that somebody did.
#[derive(Clone, Debug)]
struct Entry {
    who: String,
    from: Option<String>,
    what: String,
    /// Why it was refused, if it was.
    refused: Option<String>,
    subject: Option<String>,
}

/// Takes what is to be noted. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    entries: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

impl Audit {
    /// Writes to the folder of a coordinator's state from now on.
    pub(crate) fn start(state: &Path) -> io::Result<Self> {
        let (entries, waiting) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer::new(state.to_path_buf(), Arc::clone(&lost));
        std::thread::Builder::new().name("windrow-audit".into()).spawn(|| writer.run(waiting))?;
        Ok(Self { entries, lost })
    }

    /// A member is put out.
    pub(crate) fn shut_out(&self, identity: &Identity, why: &str) {
        self.note(Entry {
            who: "the coordinator".to_string(),
            from: None,
            what: why.to_string(),
            refused: None,
            subject: Some(identity.to_string()),
        });
    }

    fn note(&self, entry: Entry) {
        if self.entries.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A gate, and what comes of the calls that it is asked for.
pub(crate) struct Audited {
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) audit: Audit,
}

impl Gate for Audited {
    fn admit(&self, method: &str, caller: &Caller) -> Result<(), Status> {
        self.gate.admit(method, caller)
    }

    fn answered(&self, method: &str, caller: &Caller, answer: &Response<Body>) {
        let refusal = Status::from_header_map(answer.headers());
        let refused = refusal.filter(|status| is_refusal(status.code()));
        let noted = NOTED.iter().find(|(name, _)| *name == method).map(|(_, what)| *what);
        let has_succeeded = !answer.headers().contains_key("grpc-status");
        let what = match (noted, &refused) {
            (Some(what), Some(_)) => what,
            (Some(what), None) if has_succeeded => what,
            // Of the methods that there are, and of those that there are not.
            (None, Some(_)) => method.rsplit('/').next().unwrap_or_default(),
            _ => return,
        };
        let refused =
            refused.map(|status| status.message().chars().take(REASON_CHARS_MAX).collect());
        let subject = answer.extensions().get::<Subject>().map(|Subject(subject)| subject.clone());
        let what = what.chars().take(40).collect();
        self.audit.note(Entry { who: who(caller), from: from(caller), what, refused, subject });
    }
}

/// What somebody was kept from, and not what went wrong.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::PermissionDenied | Code::Unauthenticated)
}

fn who(caller: &Caller) -> String {
    let user = || caller.origin().and_then(|origin| origin.user.as_ref().ok().copied().flatten());
    match caller.identity() {
        Some(identity) => identity.to_string(),
        None => user().map_or_else(|| "nobody".to_string(), |user| format!("user {user}")),
    }
}

fn from(caller: &Caller) -> Option<String> {
    Some(caller.origin()?.address?.to_string())
}

/// What tells entries apart that are counted together.
type Kind = (String, String, bool);

/// Writes entries to files, on a thread of its own.
struct Writer {
    folder: PathBuf,
    lost: Arc<AtomicU64>,
    has_failed: bool,
    /// Of this second.
    kinds: BTreeMap<Kind, u64>,
    since: Instant,
}

impl Writer {
    fn new(folder: PathBuf, lost: Arc<AtomicU64>) -> Self {
        let (has_failed, kinds) = Default::default();
        Self { folder, lost, has_failed, kinds, since: Instant::now() }
    }

    fn run(mut self, waiting: Receiver<Entry>) {
        loop {
            match waiting.recv_timeout(SECOND) {
                Ok(entry) => self.take(&entry),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.end_second(),
            }
            if self.since.elapsed() >= SECOND {
                self.end_second();
            }
        }
    }

    fn take(&mut self, entry: &Entry) {
        let mut kind = (entry.who.clone(), entry.what.clone(), entry.refused.is_some());
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            kind = ("others".to_string(), "others".to_string(), entry.refused.is_some());
        }
        let count = self.kinds.entry(kind).or_default();
        *count += 1;
        if *count <= ALIKE_MAX {
            self.write(&to_json(entry));
        }
    }

    /// Says how many there were that were not written.
    fn end_second(&mut self) {
        self.since = Instant::now();
        for ((who, what, refused), count) in std::mem::take(&mut self.kinds) {
            if let Some(more @ 1..) = count.checked_sub(ALIKE_MAX) {
                let outcome = outcome(refused);
                self.write(&json!({ "time": now(), "who": who, "what": what, "outcome": outcome, "more": more }));
            }
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.write(&json!({ "time": now(), "lost": lost }));
        }
    }

    fn write(&mut self, entry: &Value) {
        // Control characters are escaped by JSON; what hides or turns text, here.
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
        match self.try_write(&format!("{line}\n")) {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.has_failed, true) {
                    let path = self.folder.join(FILE);
                    tracing::error!(path = %path.display(), %error, "the audit log cannot be written; what is lost is counted there when it can be again");
                }
            }
        }
    }

    fn try_write(&self, line: &str) -> io::Result<()> {
        // Opened each time: whoever collects it may have moved it.
        let path = self.folder.join(FILE);
        if fs::metadata(&path).is_ok_and(|file| file.len() + line.len() as u64 > FILE_BYTES_MAX) {
            for number in (1..FILES_MAX).rev() {
                let older = |number| self.folder.join(format!("audit.{number}.log"));
                let from = if number == 1 { path.clone() } else { older(number - 1) };
                match fs::rename(from, older(number)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        private().append(true).create(true).open(&path)?.write_all(line.as_bytes())
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
    use super::*;

    fn entry(who: &str, refused: bool) -> Entry {
        Entry {
            who: who.to_string(),
            from: Some("127.0.0.1:1".to_string()),
            what: "submit".to_string(),
            refused: refused.then(|| "no\n\u{202e}".to_string()),
            subject: None,
        }
    }

    fn lines(folder: &Path) -> Vec<Value> {
        let text = fs::read_to_string(folder.join(FILE)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_flood_is_counted_and_pushes_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(folder.path().to_path_buf(), Arc::default());
        for _ in 0..10_000 {
            writer.take(&entry("nobody", true));
        }
        writer.take(&entry("ann", false));
        writer.end_second();
        let lines = lines(folder.path());
        assert_eq!(lines.len() as u64, ALIKE_MAX + 2);
        assert!(lines.iter().any(|line| line["who"] == "ann" && line["outcome"] == "done"));
        assert!(lines.iter().any(|line| line["more"] == 10_000 - ALIKE_MAX));
        assert_eq!(lines[0]["why"], r"no\n\u{202e}");
        // Nor do many different ones.
        for n in 0..10_000 {
            writer.take(&entry(&format!("somebody {n}"), true));
        }
        assert!(writer.kinds.len() <= KINDS_MAX + 1);
    }

    #[test]
    fn old_files_go() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(folder.path().to_path_buf(), Arc::default());
        let full = vec![b'\n'; FILE_BYTES_MAX as usize];
        for _ in 0..FILES_MAX + 3 {
            writer.write(&json!({}));
            fs::write(folder.path().join(FILE), &full).unwrap();
        }
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files as u32, FILES_MAX);
        fs::remove_file(folder.path().join(FILE)).unwrap();
        writer.write(&json!({}));
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mut writer = Writer::new(state.clone(), Arc::default());
        writer.take(&entry("ann", false));
        writer.take(&entry("ann", false));
        fs::create_dir(&state).unwrap();
        writer.end_second();
        assert_eq!(lines(&state)[0]["lost"], 2);
    }
}
