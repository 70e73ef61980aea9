//! Resource use of a process and its descendants. The kernel counts by user or by control group;
//! here the processes are added up. Orphans among them become children of the process, which is a
//! subreaper.

use std::fs;

use rustix::process::Pid;

/// One process of the family.
#[derive(Clone, Copy, Debug)]
struct Member {
    pid: i32,
    /// Its parent, except for the root.
    parent: Option<i32>,
}

/// A snapshot of a process and its descendants.
pub(super) struct Members(Vec<Member>);

impl Members {
    /// Finds up to `most` of them.
    pub(super) fn of(pid: Pid, most: u64) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut members = vec![Member { pid: pid.as_raw_nonzero().get(), parent: None }];
        let mut looked_at = 0;
        while looked_at < members.len() && members.len() < most {
            let parent = members[looked_at].pid;
            looked_at += 1;
            // Children are listed under the thread that has started them.
            let threads = fs::read_dir(format!("/proc/{parent}/task"));
            for thread in threads.into_iter().flatten().flatten() {
                let children = fs::read_to_string(thread.path().join("children"));
                let children = children.unwrap_or_default();
                let children = children.split_ascii_whitespace().filter_map(|id| id.parse().ok());
                members.extend(children.map(|pid| Member { pid, parent: Some(parent) }));
            }
        }
        members.truncate(most);
        Self(members)
    }

    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether they use more memory than this, without file-backed pages.
    pub(super) fn has_more_memory(&self, most: u64) -> bool {
        // Memory that several processes share counts for each of them here: the sum is an upper
        // bound.
        if self.0.iter().map(|member| resident_bytes(member.pid)).sum::<u64>() <= most {
            return false;
        }
        let apart = self.0.iter().filter(|member| !member.is_as_its_parent());
        apart.map(|member| fair_bytes(member.pid)).sum::<u64>() > most
    }
}

impl Member {
    /// Whether it shares the address space of its parent, as a process does that is just being
    /// started (vfork).
    fn is_as_its_parent(&self) -> bool {
        /// Compares the address spaces.
        const KCMP_VM: i32 = 1;
        let Some(parent) = self.parent else { return false };
        // SAFETY: all arguments are integers.
        #[allow(unsafe_code)]
        let compared = unsafe { libc::syscall(libc::SYS_kcmp, self.pid, parent, KCMP_VM, 0, 0) };
        compared == 0
    }
}

/// Whether a killed process and all its descendants run no more code: all of their threads are
/// exiting. The kernel may still be freeing their memory, which takes 40 ms for 250 MB.
pub(super) fn has_stopped(pid: Pid) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else {
        return false;
    };
    let mut threads = threads.peekable();
    threads.peek().is_some()
        && threads.all(|thread| {
            let Ok(thread) = thread.map(|thread| thread.path()) else { return false };
            let read = |file| fs::read_to_string(thread.join(file));
            read("stat").is_ok_and(|stat| is_exiting(&stat))
                && read("children").is_ok_and(|children| children.trim().is_empty())
        })
}

/// `PF_EXITING` of the kernel: set after a thread's last system call and before it frees anything.
fn is_exiting(stat: &str) -> bool {
    const EXITING: u64 = 4;
    const FLAGS: usize = 6;
    // The name in the field before may contain any character.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let flags = fields.split_ascii_whitespace().nth(FLAGS).and_then(|flags| flags.parse().ok());
    flags.is_some_and(|flags: u64| flags & EXITING != 0)
}

/// Resident memory of a process; shared pages count in full.
fn resident_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    sum_of_lines(&status, &["RssAnon:", "RssShmem:"])
}

/// Proportional memory of a process: shared pages count by share. The kernel walks all page tables
/// for it.
fn fair_bytes(pid: i32) -> u64 {
    match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(sums) => sum_of_lines(&sums, &["Pss_Anon:", "Pss_Shmem:"]),
        // The process can refuse this to its worker, and gains nothing by it.
        Err(_) => resident_bytes(pid),
    }
}

fn sum_of_lines(text: &str, names: &[&str]) -> u64 {
    let of_line = |line: &str| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        names.contains(&name).then_some(kib.saturating_mul(1024))
    };
    text.lines().filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    fn a_killed_process_has_stopped_once_its_descendants_have() {
        let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&sleeper);
        assert!(!has_stopped(pid));
        sleeper.kill().unwrap();
        // It exists until it is reaped.
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert!(has_stopped(pid));
        sleeper.wait().unwrap();
        assert!(!has_stopped(pid), "nothing is known of one that is gone");
        let stat = |flags| format!("7 (a) 1 2) S 1 7 7 0 -1 {flags} 0 0");
        assert!(is_exiting(&stat("4227076")) && !is_exiting(&stat("4194560")));
    }

    #[test]
    fn memory_lines_are_added_up() {
        let status =
            "Name:\tRssAnon: 9 kB\nRssAnon:\t    100 kB\nRssFile:\t 7 kB\nRssShmem:\t  20 kB\n";
        assert_eq!(sum_of_lines(status, &["RssAnon:", "RssShmem:"]), 120 << 10);
    }

    #[test]
    fn this_process_has_memory() {
        let pid = rustix::process::getpid();
        let own = Members::of(pid, 1);
        assert!(own.has_more_memory(1) && !own.has_more_memory(1 << 50));
        let number = pid.as_raw_nonzero().get();
        assert!(fair_bytes(number) > 0 && resident_bytes(number) > 0);
        let itself = Member { pid: number, parent: Some(number) };
        assert!(itself.is_as_its_parent());
    }
}
