//! The identity in a certificate: its one URI among the alternative names,
//! `windrow://CLUSTER/ROLE/NAME`.
//!
//! Cluster and name use few characters, so they need no escaping in URIs, file names, logs or
//! terminals.

use std::fmt;
use std::str::FromStr;

const SCHEME: &str = "windrow://";
const PART_BYTES_MAX: usize = 64;

/// What a member is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Serves all other roles.
    Coordinator,
    /// Runs tasks.
    Worker,
    /// Submits jobs.
    Submitter,
    /// May do whatever submitters and workers may, to everybody's jobs.
    Admin,
    /// The processes of one job, named by the job's identity: they may fetch each other's map
    /// outputs, and nothing else.
    Job,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] =
        [Self::Coordinator, Self::Worker, Self::Submitter, Self::Admin, Self::Job];

    /// The role's name in URIs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Submitter => "submitter",
            Self::Admin => "admin",
            Self::Job => "job",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| NotAnIdentity(text.to_string()))
    }
}

/// A member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    cluster: String,
    role: Role,
    name: String,
}

/// A text that names no member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{}' is no name: from 1 to {PART_BYTES_MAX} of the characters a-z, A-Z, 0-9, '-', '_' and '.'",
    windrow_jobs::one_line(.0)
)]
pub struct NotAnIdentity(pub String);

impl Identity {
    /// # Errors
    /// When the cluster or the name has other characters than letters, digits, `-`, `_` and `.`, or
    /// is empty or too long.
    pub fn new(cluster: &str, role: Role, name: &str) -> Result<Self, NotAnIdentity> {
        for part in [cluster, name] {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if part.is_empty() || part.len() > PART_BYTES_MAX || !part.bytes().all(is_plain) {
                return Err(NotAnIdentity(part.to_string()));
            }
        }
        Ok(Self { cluster: cluster.to_string(), role, name: name.to_string() })
    }

    /// The cluster's name, one for each authority.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The member's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The member's name, unique in its role.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.cluster, self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = NotAnIdentity;

    fn from_str(uri: &str) -> Result<Self, NotAnIdentity> {
        let parts = uri.strip_prefix(SCHEME).map(|rest| rest.split('/').collect::<Vec<_>>());
        match parts.as_deref() {
            Some([cluster, role, name]) => Self::new(cluster, role.parse()?, name),
            _ => Err(NotAnIdentity(uri.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn valid_identities_survive_the_round_trip(
            cluster in "[-_.a-zA-Z0-9]{1,64}",
            name in "[-_.a-zA-Z0-9]{1,64}",
            role in proptest::sample::select(&Role::ALL),
        ) {
            let identity = Identity::new(&cluster, role, &name).unwrap();
            prop_assert_eq!(identity.to_string().parse(), Ok(identity));
        }

        #[test]
        fn any_text_is_refused_or_printed_unchanged(text in ".{0,40}") {
            let uri = format!("windrow://c/worker/{text}");
            if let Ok(identity) = uri.parse::<Identity>() {
                prop_assert_eq!(identity.to_string(), uri);
            }
        }
    }

    #[test]
    fn ambiguous_uris_are_refused() {
        for uri in [
            "windrow://c/worker/",
            "windrow://c/worker/a/b",
            "windrow://c/king/a",
            "windrow:///worker/a",
            "windrow://c/worker/a%2fb",
            "windrow://c/worker/a\n",
            "http://c/worker/a",
            "",
        ] {
            assert!(uri.parse::<Identity>().is_err(), "{uri}");
        }
    }
}
