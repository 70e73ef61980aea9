//! The users that a worker may give to jobs, and what speaks against them.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use super::rights::NOBODYS;

/// The capabilities that a worker needs to give its jobs users; root has them.
const NEEDED: [(CapabilitySet, &str); 6] = [
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::FOWNER, "CAP_FOWNER"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
    (CapabilitySet::KILL, "CAP_KILL"),
];

/// Users that a worker may give to jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobUsers {
    /// Their ids, which no account on the worker's machine has.
    pub numbers: RangeInclusive<u32>,
    /// The groups of each user: jobs read inputs and write outputs with their rights.
    pub groups: Vec<u32>,
}

impl JobUsers {
    /// Why jobs cannot have them.
    pub(crate) fn refusal(&self) -> Option<String> {
        let may = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        let missing = NEEDED.iter().filter(|(capability, _)| !may.contains(*capability));
        let missing: Vec<_> = missing.map(|(_, name)| *name).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Some(format!(
                "this worker may not give jobs users of their own: it needs {missing}, or to be root"
            ));
        }
        if self.groups.is_empty() || self.groups.contains(&0) {
            return Some("jobs need a group that is not root's: name it with --job-group".into());
        }
        if self.numbers.is_empty() || self.numbers.contains(&0) || *self.numbers.end() >= NOBODYS {
            return Some(format!(
                "the numbers of jobs' users must be above 0, and below {NOBODYS}"
            ));
        }
        // A worker that is not root does not own the first process.
        if !Path::new("/proc/1").exists() {
            return Some("/proc does not show the processes of other users here (hidepid=, ProtectProc=), so it is not known whether a user is in use".into());
        }
        if self.numbers.contains(&geteuid().as_raw()) {
            return Some("this worker's own user cannot be a job's".into());
        }
        whose(&self.numbers)
    }
}

/// Names the owner of some of these ids, if one is known.
pub(super) fn whose(numbers: &RangeInclusive<u32>) -> Option<String> {
    let read = |list| fs::read_to_string(list).unwrap_or_default();
    if let Some((name, first, last)) = somebodys_own(&read("/etc/subuid"), numbers) {
        return Some(format!(
            "/etc/subuid gives {name} the users {first} to {last}, which jobs could get; choose numbers that nobody has (--job-users)"
        ));
    }
    somebody(&read("/etc/passwd"), numbers).map(|(number, name)| {
        format!(
            "user {number} is {name}, and all processes of a job's user are killed with the job; choose numbers that nobody has (--job-users)"
        )
    })
}

/// The first account whose id is among these.
fn somebody<'a>(known: &'a str, numbers: &RangeInclusive<u32>) -> Option<(u32, &'a str)> {
    known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        numbers.contains(&number).then_some((number, name))
    })
}

/// The first owner of subordinate ids that overlap with these.
fn somebodys_own<'a>(list: &'a str, numbers: &RangeInclusive<u32>) -> Option<(&'a str, u64, u64)> {
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let mut number = || fields.next()?.trim().parse::<u64>().ok();
        let (first, count) = (number()?, number()?);
        let last = first.saturating_add(count.checked_sub(1)?);
        let overlaps = first <= u64::from(*numbers.end()) && last >= u64::from(*numbers.start());
        overlaps.then_some((name, first, last))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u32 = 4_280_000_000;
    const GROUP: u32 = 4_280_000_500;

    fn of(numbers: RangeInclusive<u32>, groups: &[u32]) -> JobUsers {
        JobUsers { numbers, groups: groups.to_vec() }
    }

    #[test]
    fn ids_with_an_owner_are_refused() {
        let list = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(somebody(list, &(1_000..=1_999)), Some((1_000, "ann")));
        assert_eq!(somebody(list, &(2_000..=2_999)), None);
        let own = "ann:100000:65536\nbob:165536:65536\nempty:5:0\nodd\n";
        assert_eq!(somebodys_own(own, &(165_530..=165_540)), Some(("ann", 100_000, 165_535)));
        assert_eq!(somebodys_own(own, &(231_071..=231_071)), Some(("bob", 165_536, 231_071)));
        assert_eq!(somebodys_own(own, &(1..=99_999)), None);
        assert_eq!(somebodys_own(own, &(231_072..=300_000)), None);
        if !geteuid().is_root() {
            assert!(of(FIRST..=FIRST, &[GROUP]).refusal().unwrap().contains("CAP_SETUID"));
            return;
        }
        let refusal = |numbers, groups: &[u32]| of(numbers, groups).refusal();
        assert!(refusal(0..=9, &[GROUP]).unwrap().contains("above 0"));
        assert!(refusal(FIRST..=u32::MAX, &[GROUP]).unwrap().contains("below 4294967294"));
        assert!(refusal(FIRST..=FIRST, &[0]).unwrap().contains("--job-group"));
        assert!(refusal(FIRST..=FIRST, &[]).unwrap().contains("--job-group"));
        assert!(refusal(1..=FIRST, &[GROUP]).unwrap().contains("killed with the job"));
    }
}
