//! How far a job's code is isolated from the rest of its machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Isolation levels. Each promises what the levels before it do, and more; see `docs/security.md`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Isolation {
    /// No isolation beyond the permissions of the worker's user.
    #[default]
    None,
    /// The job writes only its own files, and cannot read its worker's.
    Files,
    /// Nor can it reach other processes of its user by any system call, and none of its processes
    /// outlives it.
    Process,
    /// The job runs as a system user that nothing else uses.
    User,
}

impl Isolation {
    /// All levels, the weakest first.
    pub const ALL: [Self; 4] = [Self::None, Self::Files, Self::Process, Self::User];

    /// The level's name.
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
