//! The audit log: who did what, from where, and with which result. One JSON object for each line,
//! in the coordinator's state folder; only calls that change something, read other people's logs,
//! or were refused.
//!
//! Actions and refusals have files, queues and threads of their own: anybody can cause any number
//! of refusals, and must not push actions out. Refusals of one caller and method are counted,
//! actions only if they are identical ([`writer`]). Files are bounded, and the oldest are removed
//! ([`files`]). The log never delays a call: entries that its queue has no room for, or that cannot
//! be written, are counted and reported once.

mod files;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use tonic::body::Body;
use tonic::codegen::http::Response;
use tonic::{Code, Status};
use windrow_security::Identity;
use windrow_security::access::{Authorizer, Caller, Subject};

use files::Files;
use writer::{Counted, Writer};

const WAITING_MAX: usize = 4_096;
/// Longest reason that is kept.
const REASON_CHARS_MAX: usize = 300;

/// The name of all unknown methods: their names are chosen by the caller.
const UNKNOWN: &str = "unknown";
/// The name of callers without a certificate, when refusals are counted.
const NOBODY: &str = "nobody";

/// Methods whose success is noted. Refusals always are.
const NOTED: [(&str, &str); 7] = [
    ("/windrow.v1.Enrollment/Enroll", "enroll"),
    ("/windrow.v1.Enrollment/Renew", "renew"),
    ("/windrow.v1.Enrollment/CertifyJob", "certify-job"),
    ("/windrow.v1.Jobs/Submit", "submit"),
    ("/windrow.v1.Jobs/Cancel", "cancel"),
    ("/windrow.v1.Jobs/Logs", "read-logs"),
    ("/windrow.v1.Sessions/Open", "open-session"),
];

/// An action or a refusal.
#[derive(Clone, Debug)]
struct Entry {
    who: String,
    from: Option<String>,
    what: String,
    /// Why it was refused, if it was.
    refused: Option<String>,
    subject: Option<String>,
    /// The name under which it is counted, which is never chosen by the caller.
    counted_as: String,
}

/// The audit log. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    actions: Queue,
    refusals: Queue,
}

impl Audit {
    /// Starts the log in a coordinator's state folder.
    pub(crate) fn start(state: &Path) -> io::Result<Self> {
        let start = |name, counted| {
            let (entries, waiting) = sync_channel(WAITING_MAX);
            let lost = Arc::new(AtomicU64::new(0));
            let writer = Writer::new(Files::new(state, name), counted, Arc::clone(&lost));
            std::thread::Builder::new()
                .name(format!("windrow-{name}"))
                .spawn(|| writer.run(waiting))?;
            Ok::<_, io::Error>(Queue { entries, lost })
        };
        Ok(Self {
            actions: start("audit", Counted::Repeated)?,
            refusals: start("refusals", Counted::Alike)?,
        })
    }

    /// Notes that a member was evicted.
    pub(crate) fn shut_out(&self, identity: &Identity, why: &str) {
        let who = "the coordinator".to_string();
        self.note(Entry {
            counted_as: who.clone(),
            who,
            from: None,
            what: why.to_string(),
            refused: None,
            subject: Some(identity.to_string()),
        });
    }

    fn note(&self, entry: Entry) {
        let queue = if entry.refused.is_some() { &self.refusals } else { &self.actions };
        queue.push(entry);
    }
}

/// The queue of a writer.
#[derive(Clone, Debug)]
struct Queue {
    entries: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    fn push(&self, entry: Entry) {
        if self.entries.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An authorizer that notes the results of the calls it decides on.
pub(crate) struct Audited {
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) audit: Audit,
    /// Whether the method exists: other names are chosen by the caller, and are not written.
    pub(crate) is_method: fn(&str) -> bool,
}

impl Authorizer for Audited {
    fn admit(&self, method: &str, caller: &Caller) -> Result<(), Status> {
        self.authorizer.admit(method, caller)
    }

    fn answered(&self, method: &str, caller: &Caller, answer: &Response<Body>) {
        if let Some(entry) = entry(method, (self.is_method)(method), caller, answer) {
            self.audit.note(entry);
        }
    }
}

fn entry(method: &str, is_method: bool, caller: &Caller, answer: &Response<Body>) -> Option<Entry> {
    let refusal = Status::from_header_map(answer.headers());
    let refused = refusal.filter(|status| is_refusal(status.code()));
    let noted = NOTED.iter().find(|(name, _)| *name == method).map(|(_, what)| *what);
    let has_succeeded = !answer.headers().contains_key("grpc-status");
    let what = match (noted, &refused) {
        (Some(what), Some(_)) => what,
        (Some(what), None) if has_succeeded => what,
        (None, Some(_)) if is_method => method.rsplit('/').next().unwrap_or_default(),
        (None, Some(_)) => UNKNOWN,
        _ => return None,
    };
    let reason = |status: Status| status.message().chars().take(REASON_CHARS_MAX).collect();
    Some(Entry {
        who: who(caller),
        from: caller.origin().and_then(|origin| Some(origin.address?.to_string())),
        what: what.to_string(),
        refused: refused.map(reason),
        subject: answer.extensions().get::<Subject>().map(|Subject(subject)| subject.clone()),
        counted_as: caller.identity().map_or_else(|| NOBODY.to_string(), Identity::to_string),
    })
}

/// Whether the code means a refusal, not an error.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::PermissionDenied | Code::Unauthenticated)
}

fn who(caller: &Caller) -> String {
    let user = || caller.origin().and_then(|origin| origin.user.as_ref().ok().copied().flatten());
    match caller.identity() {
        Some(identity) => identity.to_string(),
        None => user().map_or_else(|| NOBODY.to_string(), |user| format!("user {user}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, Instant};

    use super::*;

    /// Made-up method names do not grow the number of kinds, are not written, and do not keep an
    /// action from being written.
    #[test]
    fn a_stranger_with_many_method_names_fills_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::start(folder.path()).unwrap();
        let nobody = Caller::new(None);
        let refusal = Status::permission_denied("no").into_http::<Body>();
        for n in 0..20_000 {
            let method = format!("/windrow.v1.Jobs/Forged{n}");
            audit.note(entry(&method, false, &nobody, &refusal).expect("a refusal is noted"));
        }
        let answer = Response::new(Body::empty());
        for _ in 0..100 {
            audit.note(
                entry("/windrow.v1.Jobs/Submit", true, &nobody, &answer)
                    .expect("an action is noted"),
            );
        }
        let action =
            entry("/windrow.v1.Jobs/Cancel", true, &nobody, &answer).expect("an action is noted");
        audit.note(action);
        drop(audit);
        let path = |name: &str| folder.path().join(name);
        let read = |name: &str| fs::read_to_string(path(name)).unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !(read("audit.log").contains("cancel") && read("refusals.log").contains("more")) {
            assert!(Instant::now() < deadline, "{}", read("audit.log"));
            std::thread::yield_now();
        }
        let (actions, refusals) = (read("audit.log"), read("refusals.log"));
        assert!(!actions.contains("refused") && !actions.contains("lost"), "{actions}");
        assert!(!refusals.contains("Forged"), "{refusals}");
        assert!(refusals.lines().count() <= 12, "{refusals}");
    }
}
