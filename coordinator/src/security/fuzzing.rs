//! For `fuzz/`: what newcomers send, and the files of join tokens.

use windrow_jobs::fuzzing::{HeapBound, Target};

use super::{authority, tokens};

/// Requests for certificates.
pub(crate) const REQUESTS: Target = Target {
    name: "certificate-requests",
    seeds: || vec![include_bytes!("seeds/request.der").to_vec()],
    check: requests,
    heap: HeapBound::SMALL,
};

/// Files of tokens, and names of hosts.
pub(crate) const TOKENS: Target =
    Target { name: "token-files", seeds: token_seeds, check: token_files, heap: HeapBound::SMALL };

fn requests(bytes: &[u8]) {
    let _ = authority::requested_key(bytes);
}

fn token_seeds() -> Vec<Vec<u8>> {
    let record = br#"{"role":"worker","name":"barn","expires_unix_s":1,"secret_sha256":"00"}"#;
    vec![record.to_vec(), b"barn.example".to_vec(), b"::1".to_vec()]
}

fn token_files(bytes: &[u8]) {
    let _ = tokens::read_record(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && authority::host_name(text).is_ok()
    {
        assert!(!text.is_empty() && !text.contains(|c: char| c.is_control() || c == ' '));
    }
}
