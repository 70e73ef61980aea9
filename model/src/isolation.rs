//! How far the code of one job is kept from the rest of its machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Levels, each of which promises what the ones before it do, and more. `docs/security.md` says
/// what.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Isolation {
    /// Nothing but what the system keeps from its user.
    #[default]
    None,
    /// It writes nothing but its own, and does not read what its worker keeps.
    Files,
    /// Nor does it reach other processes of its user, by whatever system call, and nothing of it
    /// stays behind.
    Process,
    /// It has a user of the system of its own, and nothing else is that user's.
    User,
}

impl Isolation {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::None, Self::Files, Self::Process, Self::User];

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Files => "files",
            Self::Process => "process",
            Self::User => "user",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Isolation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|level| level.as_str()).collect();
            format!("it is one of {}", all.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_written_as_they_are_read() {
        for level in Isolation::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert!(Isolation::ALL.is_sorted());
        assert!("all".parse::<Isolation>().unwrap_err().contains("none, files, process, user"));
    }
}
