//! What `fuzz/` tries of this crate: see `windrow_jobs::fuzzing`. Not for users.

use std::io::Write;

use windrow_jobs::fuzzing::{HeapBound, Target};

use crate::cli::check_texts;
use crate::executable::needs_of;

/// Those of this crate.
pub const TARGETS: &[Target] = &[
    Target {
        name: "command-line",
        seeds: || {
            ["64MiB", "map-3", "words=/words", "/notes", "barn:7171", "[::1]:1", "0.5%"]
                .map(|text| text.as_bytes().to_vec())
                .to_vec()
        },
        check: |bytes| std::str::from_utf8(bytes).map_or((), check_texts),
        heap: HeapBound::SMALL,
    },
    Target {
        name: "executables",
        seeds: || vec![executable()],
        check: executables,
        heap: HeapBound { fixed: 1 << 20, times: 64 },
    },
];

/// The smallest that asks for an interpreter: its ELF header, one program header, and the path.
fn executable() -> Vec<u8> {
    const PATH: &[u8] = b"/lib64/ld-linux-x86-64.so.2\0";
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |bytes: &mut Vec<u8>, values: &[u16]| {
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    };
    let words = |bytes: &mut Vec<u8>, values: &[u64]| {
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    };
    // An executable for x86-64, version 1; entry, program headers behind the header, no sections.
    halves(&mut bytes, &[2, 62, 1, 0]);
    words(&mut bytes, &[0, 64, 0]);
    halves(&mut bytes, &[0, 0, 64, 56, 1, 64, 0, 0]);
    // PT_INTERP, readable: its offset, addresses, sizes, alignment.
    halves(&mut bytes, &[3, 0, 4, 0]);
    words(&mut bytes, &[120, 0, 0, PATH.len() as u64, PATH.len() as u64, 1]);
    bytes.extend_from_slice(PATH);
    bytes
}

fn executables(bytes: &[u8]) {
    let file = tempfile::tempfile().and_then(|mut file| file.write_all(bytes).map(|()| file));
    match file {
        Ok(file) => drop(needs_of(&file)),
        Err(error) => panic!("no file to write the input to: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_an_executable() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&executable()).unwrap();
        let needs = needs_of(&file).unwrap();
        assert_eq!((&*needs.arch, &*needs.interpreter), ("x86_64", "/lib64/ld-linux-x86-64.so.2"));
    }
}
