//! Files that travel with a job, each identified by the digest of its bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A BLAKE3 hash, against which bytes from anywhere can be checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Parses what [`Display`](fmt::Display) shows; `None` for any other text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if text.len() != 2 * digest.len() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |sign: u8| match sign {
                b'0'..=b'9' => Some(sign - b'0'),
                b'a'..=b'f' => Some(sign - b'a' + 10),
                _ => None,
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes identified by their digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Blob {
    /// Digest of all bytes.
    pub digest: Digest,
    /// Number of bytes.
    pub bytes: u64,
}

/// The executable in which a job runs; it comes from the submitter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobExecutable {
    /// The file.
    pub executable: Blob,
    /// Arguments before Windrow's own, for an executable that has other commands, too.
    pub arguments: Vec<String>,
    /// What a machine must have to run it.
    pub needs: PlatformNeeds,
}

/// What a machine must have to run an executable. Empty fields ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformNeeds {
    /// The processor, as [`std::env::consts::ARCH`] names it.
    pub arch: String,
    /// The dynamic linker, by its absolute path.
    pub interpreter: String,
    /// The oldest version of glibc that has all symbols it links to.
    pub glibc: Option<GlibcVersion>,
}

/// What a machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, as [`std::env::consts::ARCH`] names it.
    pub arch: String,
    /// The dynamic linkers that exist.
    pub interpreters: Vec<String>,
    /// Its version of glibc, if known.
    pub glibc: Option<GlibcVersion>,
}

/// A version of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GlibcVersion {
    /// Always 2 so far.
    pub major: u32,
    /// Grows by one with each release.
    pub minor: u32,
}

impl GlibcVersion {
    /// From text such as "2.34" or "2.2.5".
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(str::parse);
        Some(Self { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()? })
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl PlatformNeeds {
    /// What `platform` lacks, in words; `None` if, as far as known, it can run the executable.
    pub fn missing(&self, platform: &Platform) -> Option<String> {
        if !self.arch.is_empty() && self.arch != platform.arch {
            return Some(format!("is made for {}, not for {}", self.arch, platform.arch));
        }
        if !self.interpreter.is_empty() && !platform.interpreters.contains(&self.interpreter) {
            return Some(format!("needs the dynamic linker {}", self.interpreter));
        }
        match (self.glibc, platform.glibc) {
            (Some(needed), Some(there)) if needed > there => {
                Some(format!("needs glibc {needed}, there is {there}"))
            }
            _ => None,
        }
    }
}

/// A file beside the input that a job's code reads by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideFile {
    /// The name that the job's code uses; see `windrow_jobs::side_files::check_name`.
    pub name: String,
    /// Its contents.
    pub blob: Blob,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_they_are_shown() {
        let digest = Digest(std::array::from_fn(|n| n as u8 * 7));
        assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
        for bad in ["", "0g", &"A".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert_eq!(Digest::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_platform_lacks_a_newer_glibc_and_another_processor() {
        let glibc = |text| GlibcVersion::parse(text);
        let linker = "/lib64/ld-linux-x86-64.so.2".to_string();
        let needs = PlatformNeeds {
            arch: "x86_64".into(),
            interpreter: linker.clone(),
            glibc: glibc("2.34"),
        };
        let there =
            Platform { arch: "x86_64".into(), interpreters: vec![linker], glibc: glibc("2.36") };
        assert_eq!(needs.missing(&there), None);
        // A machine that does not report its version may have it.
        assert_eq!(needs.missing(&Platform { glibc: None, ..there.clone() }), None);
        let lacks = |there: Platform| needs.missing(&there).unwrap();
        let older = Platform { glibc: glibc("2.9"), ..there.clone() };
        assert_eq!(lacks(older), "needs glibc 2.34, there is 2.9");
        let arm = Platform { arch: "aarch64".into(), ..there.clone() };
        assert_eq!(lacks(arm), "is made for x86_64, not for aarch64");
        let musl = Platform { interpreters: Vec::new(), ..there };
        assert!(lacks(musl).contains("ld-linux-x86-64.so.2"));
        assert_eq!(PlatformNeeds::default().missing(&Platform::default()), None);
    }
}
