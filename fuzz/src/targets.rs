//! The targets: those of the crates, and what security reads from strangers.

use std::time::SystemTime;

use windrow_jobs::fuzzing::{HeapBound, Target};
use windrow_security::pki_types::CertificateDer;
use windrow_security::{Certified, Identity, JoinToken};

const CERTIFICATE: &[u8] = include_bytes!("../seeds/certificate.der");

/// All targets.
pub fn all() -> Vec<Target> {
    let own = &[CERTIFICATES, JOIN_TOKENS];
    [
        windrow_jobs::fuzzing::TARGETS,
        windrow_worker::fuzzing::TARGETS,
        windrow_coordinator::fuzzing::TARGETS,
        windrow::fuzzing::TARGETS,
        own,
    ]
    .concat()
}

const CERTIFICATES: Target = Target {
    name: "certificates",
    seeds: || vec![CERTIFICATE.to_vec()],
    check: certificates,
    heap: HeapBound::SMALL,
};

const JOIN_TOKENS: Target = Target {
    name: "join-tokens",
    seeds: join_token_seeds,
    check: join_tokens,
    heap: HeapBound::SMALL,
};

fn certificates(bytes: &[u8]) {
    if let Ok(certified) = Certified::read(&CertificateDer::from(bytes)) {
        assert_eq!(certified.identity.to_string().parse(), Ok(certified.identity.clone()));
        let _ = certified.check(SystemTime::UNIX_EPOCH);
        let _ = certified.renew_at();
    }
}

fn join_token_seeds() -> Vec<Vec<u8>> {
    let authority = CertificateDer::from(CERTIFICATE.to_vec());
    let token = JoinToken { id: "0123456789abcdef".into(), secret: vec![7; 32], authority };
    vec![token.to_string().into_bytes(), b"windrow://cluster/worker/barn".to_vec()]
}

fn join_tokens(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = text.parse::<JoinToken>() {
        assert!(token.to_string().parse::<JoinToken>().is_ok_and(|again| again == token));
    }
    if let Ok(identity) = text.parse::<Identity>() {
        assert_eq!(identity.to_string(), text);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_target_has_a_name_of_its_own() {
        let names: BTreeSet<_> = all().iter().map(|target| target.name).collect();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn the_seeds_of_this_file_are_read_correctly() {
        let certified = Certified::read(&CertificateDer::from(CERTIFICATE)).unwrap();
        assert_eq!(certified.identity.name(), "barn");
        let seeds = join_token_seeds().into_iter().map(|seed| String::from_utf8(seed).unwrap());
        let seeds: Vec<_> = seeds.collect();
        assert!(seeds[0].parse::<JoinToken>().is_ok() && seeds[1].parse::<Identity>().is_ok());
    }
}
