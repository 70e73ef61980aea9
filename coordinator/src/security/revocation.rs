//! The list of members that count no more: one `ROLE/NAME` a line, `#` begins a comment.
//!
//! Somebody edits it by hand in a hurry. So a line that names nobody is an error, and never passed
//! over: a coordinator does not start with one. If one comes while it runs, it says so each minute,
//! and lets nobody in whom the list has named before. So it does when something else than a file is
//! there, which it does not wait for.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::str::FromStr;

use windrow_jobs::one_line;
use windrow_security::{Identity, Role, SecurityError};

use super::malformed;

/// Characters of a senseless line that are shown.
const SHOWN_MAX: usize = 40;

/// Who may be put out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    role: Role,
    name: String,
}

impl Member {
    pub(super) fn of(identity: &Identity) -> Self {
        Self { role: identity.role(), name: identity.name().to_string() }
    }

    pub(super) fn is(&self, role: &str, name: &str) -> bool {
        self.role.name() == role && self.name == name
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role, self.name)
    }
}

impl FromStr for Member {
    type Err = SecurityError;

    fn from_str(text: &str) -> Result<Self, SecurityError> {
        let wrong = || {
            let text = one_line(&text.chars().take(SHOWN_MAX).collect::<String>());
            malformed(format!(
                "'{text}' names no member; write ROLE/NAME, as worker/w1, submitter/ann or admin/eve"
            ))
        };
        let (role, name) = text.split_once('/').ok_or_else(wrong)?;
        let role = role.parse().map_err(|_| wrong())?;
        if !matches!(role, Role::Worker | Role::Submitter | Role::Admin) {
            return Err(wrong());
        }
        // Any cluster will do to see whether it is a name.
        Identity::new("c", role, name).map_err(|_| wrong())?;
        Ok(Self { role, name: name.to_string() })
    }
}

/// What the list says.
#[derive(Clone, Debug, Default)]
pub(super) struct Revoked {
    members: BTreeSet<Member>,
    /// The first line that names nobody, with its number; or why there are no lines.
    wrong: Option<String>,
}

impl Revoked {
    /// One that is no list.
    pub(super) fn senseless(why: &io::Error) -> Self {
        Self { members: BTreeSet::new(), wrong: Some(why.to_string()) }
    }

    pub(super) fn read(text: &str) -> Self {
        let mut this = Self::default();
        for (line, number) in text.lines().zip(1..) {
            let line = line.split('#').next().unwrap_or_default().trim();
            match line.parse() {
                _ if line.is_empty() => {}
                Ok(member) => drop(this.members.insert(member)),
                Err(error) if this.wrong.is_none() => {
                    this.wrong = Some(format!("line {number}: {error}"));
                }
                Err(_) => {}
            }
        }
        this
    }

    pub(super) fn names(&self, identity: &Identity) -> bool {
        self.contains(&Member::of(identity))
    }

    pub(super) fn contains(&self, member: &Member) -> bool {
        self.members.contains(member)
    }

    /// What is wrong with it, if anything is.
    pub(super) fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    /// What counts now, after what counted before: while a line makes no sense, it may be one of
    /// those that did.
    #[must_use]
    pub(super) fn after(mut self, before: &Self) -> Self {
        if self.wrong.is_some() {
            self.members.extend(before.members.iter().cloned());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_understood_and_nothing_is_passed_over() {
        let list = Revoked::read(
            "# gone\n\nsubmitter/ann # left\n  worker/w-1.x\t# broken\nadmin/eve#x\n",
        );
        assert_eq!(list.wrong(), None);
        for member in ["submitter/ann", "worker/w-1.x", "admin/eve"] {
            assert!(list.contains(&member.parse().unwrap()), "{member}");
        }
        for line in [
            "A",
            "Submitter/A",
            "submitter/",
            "submitter/a b",
            "submitter/a/b",
            "job/1",
            "/a",
            "worker\\w",
        ] {
            let list = Revoked::read(&format!("admin/eve\n{line}\n"));
            let wrong = list.wrong().unwrap_or_else(|| panic!("{line:?} is passed over"));
            assert!(wrong.starts_with("line 2: ") && wrong.contains("write ROLE/NAME"), "{wrong}");
            assert!(list.contains(&"admin/eve".parse().unwrap()));
        }
    }

    #[test]
    fn who_was_out_stays_out_while_a_line_makes_no_sense() {
        let before = Revoked::read("submitter/ann\nsubmitter/bob");
        let ann = "submitter/ann".parse().unwrap();
        assert!(Revoked::read("submitter ann\nsubmitter/bob").after(&before).contains(&ann));
        assert!(!Revoked::read("submitter/bob").after(&before).contains(&ann));
    }
}
