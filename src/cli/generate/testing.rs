//! Content in memory, for the unit tests of its kinds.

use std::sync::atomic::AtomicBool;

use super::Content;
use super::output::{Output, Share};

/// One file of `bytes`.
pub(super) fn share(bytes: u64) -> Share {
    Share::of(0, 1, bytes)
}

/// The bytes of one file.
pub(super) fn content(content: &impl Content, share: Share) -> Vec<u8> {
    let mut bytes = Vec::new();
    let stop = AtomicBool::new(false);
    let mut out = Output::new(&mut bytes, &stop);
    content.write(share, &mut out).unwrap();
    let written = out.finish().unwrap();
    assert_eq!(written, bytes.len() as u64);
    bytes
}

mod tests {
    use super::*;

    #[test]
    fn shares_join_without_gap() {
        let shares: Vec<_> = (0..7).map(|file| Share::of(file, 7, 1000)).collect();
        assert_eq!((shares[0].start, shares[6].end), (0, 1000));
        assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(shares.iter().all(|share| (142..=143).contains(&share.len())));
    }
}
