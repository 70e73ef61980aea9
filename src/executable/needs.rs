//! What a machine must have to run an executable, as its ELF headers say.

use std::fs::File;

use object::elf::{EM_AARCH64, EM_RISCV, EM_X86_64, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef};
use windrow_jobs::{GlibcVersion, PlatformNeeds};

/// Before the version of a symbol of glibc.
const GLIBC: &str = "GLIBC_";

/// What the executable asks for. Reads its headers only.
pub(crate) fn of(file: &File) -> Result<PlatformNeeds, object::Error> {
    let cache = ReadCache::new(file);
    let data = &cache;
    let elf = FileHeader64::<Endianness>::parse(data)?;
    let endian = elf.endian()?;
    let arch = match elf.e_machine(endian) {
        EM_X86_64 => "x86_64",
        EM_AARCH64 => "aarch64",
        EM_RISCV => "riscv64",
        // An executable that runs here is made for here.
        _ => std::env::consts::ARCH,
    };
    let mut interpreter = String::new();
    for segment in elf.program_headers(endian, data)? {
        if let Some(path) = segment.interpreter(endian, data)? {
            interpreter = String::from_utf8_lossy(path).into_owned();
        }
    }
    Ok(PlatformNeeds { arch: arch.to_string(), interpreter, glibc: glibc(elf, endian, data)? })
}

/// The newest version of glibc that a symbol asks for.
fn glibc<'data, R: ReadRef<'data>>(
    elf: &FileHeader64<Endianness>,
    endian: Endianness,
    data: R,
) -> Result<Option<GlibcVersion>, object::Error> {
    let sections = elf.sections(endian, data)?;
    let Some((mut libraries, strings)) = sections.gnu_verneed(endian, data)? else {
        return Ok(None);
    };
    let strings = sections.strings(endian, data, strings)?;
    let mut newest = None;
    while let Some((_, mut versions)) = libraries.next()? {
        while let Some(version) = versions.next()? {
            let name = String::from_utf8_lossy(version.name(endian, strings)?);
            newest = newest.max(name.strip_prefix(GLIBC).and_then(GlibcVersion::parse));
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_says_what_it_needs() {
        let needs = of(&File::open("/proc/self/exe").unwrap()).unwrap();
        assert_eq!(needs.arch, std::env::consts::ARCH);
        if cfg!(target_env = "gnu") {
            assert!(std::path::Path::new(&needs.interpreter).exists(), "{}", needs.interpreter);
            assert!(needs.glibc > GlibcVersion::parse("2.2"), "{:?}", needs.glibc);
        }
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        let mut text = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut text, &[b'x'; 4_096]).unwrap();
        assert!(of(&text).is_err());
    }
}
