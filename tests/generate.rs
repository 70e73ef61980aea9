//! `windrow gen` writes the same bytes everywhere, or nothing.

use std::collections::BTreeMap;
use std::path::Path;

use libtest_mimic::Trial;
use xxhash_rust::xxh3::xxh3_64;

use crate::support::{Dir, Output, Process, case, windrow};

const KINDS: [&str; 3] = ["zipf", "records", "csv"];

pub fn tests() -> Vec<Trial> {
    vec![
        case("generate::bytes_are_promised", bytes_are_promised),
        case("generate::threads_do_not_matter", threads_do_not_matter),
        case("generate::seeds_differ_and_sizes_are_kept", seeds_differ_and_sizes_are_kept),
        case("generate::refuses_a_folder_in_use", refuses_a_folder_in_use),
        case("generate::leaves_nothing_after_a_failure", leaves_nothing_after_a_failure),
        case("generate::usage_errors", usage_errors),
    ]
}

fn generate(kind: &str, output: &Path, flags: &[&str]) -> Output {
    let mut command = windrow(["gen", kind, "--output"]);
    command.arg(output).args(flags);
    Process::start(command).finish()
}

fn files(kind: &str, flags: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let dir = Dir::new();
    generate(kind, &dir.join("data"), flags).expect_code(0);
    read(&dir.join("data"))
}

fn read(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Last year's measurements must be repeatable with the same data: a change here is a breaking
/// change.
fn bytes_are_promised() {
    let digest = |kind, more: &[&str]| {
        let flags = [&["--bytes", "1MB", "--seed", "1", "--files", "2"], more].concat();
        let files = files(kind, &flags);
        assert_eq!(files.len(), 2);
        xxh3_64(&files.into_values().flatten().collect::<Vec<u8>>())
    };
    let digests = [
        digest("zipf", &["--words", "2000"]),
        digest("records", &[]),
        digest("records", &["--keys", "100"]),
        digest("csv", &["--paths", "1000", "--header"]),
    ];
    let promised = [
        0x37dc_d1c0_4e89_da6d,
        0xe20a_7ce1_9fbe_301c,
        0xd6b9_8bd6_af8b_780b,
        0x64a9_513f_e312_1cdd,
    ];
    assert_eq!(digests, promised);
}

fn threads_do_not_matter() {
    for kind in KINDS {
        let with =
            |threads| files(kind, &["--bytes", "1MiB", "--files", "5", "--threads", threads]);
        let (one, four) = (with("1"), with("4"));
        assert_eq!(one.len(), 5);
        assert!(one == four, "{kind} differs");
    }
}

fn seeds_differ_and_sizes_are_kept() {
    for kind in KINDS {
        let with = |seed| files(kind, &["--bytes", "300000", "--files", "3", "--seed", seed]);
        let (one, two) = (with("1"), with("2"));
        for files in [&one, &two] {
            let bytes: usize = files.values().map(Vec::len).sum();
            assert!((299_500..=300_000).contains(&bytes), "{kind}: {bytes}");
        }
        // Contents differ between seeds and between files.
        let all: Vec<&Vec<u8>> = one.values().chain(two.values()).collect();
        for (n, file) in all.iter().enumerate() {
            assert!(all[..n].iter().all(|other| other[..1000] != file[..1000]), "{kind} repeats");
        }
    }
}

fn refuses_a_folder_in_use() {
    let dir = Dir::new();
    dir.write("data/mine", "precious");
    generate("zipf", &dir.join("data"), &["--bytes", "1MB"])
        .expect_code(1)
        .expect_said("data exists and is not empty");
    assert_eq!(dir.tree(), ["data", "data/mine"]);
    // An empty folder is accepted, and so is one whose parent is missing.
    std::fs::create_dir(dir.join("empty")).unwrap();
    for name in ["empty", "new/deeper"] {
        generate("records", &dir.join(name), &["--bytes", "1MB", "--files", "1"]).expect_code(0);
        let files = read(&dir.join(name));
        assert_eq!(files.into_keys().collect::<Vec<_>>(), ["part-00000.dat"]);
    }
}

/// A limit on the size of files takes the place of a full disk.
fn leaves_nothing_after_a_failure() {
    let dir = Dir::new();
    let gen_windrow = windrow(["gen"]);
    let mut command = std::process::Command::new("sh");
    // With the signal ignored, `write` returns an error.
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""])
        .arg(gen_windrow.get_program())
        .args(gen_windrow.get_args())
        .args(["records", "--bytes", "64MiB", "--files", "2", "--output"])
        .arg(dir.join("data"));
    Process::start(command).finish().expect_code(1).expect_said("data/part-0000");
    assert_eq!(dir.tree(), Vec::<String>::new());
}

fn usage_errors() {
    let dir = Dir::new();
    for wrong in [
        &["--bytes", "some"][..],
        &["--bytes", "0"],
        &["--bytes", "1KiB", "--files", "100"],
        &["--bytes", "1MiB", "--files", "0"],
        &["--bytes", "1MiB", "--words", "0"],
        &["--bytes", "1MiB", "--words", "4000000000"],
        &["--bytes", "1MiB", "--header"],
        &[],
    ] {
        let output = generate("zipf", &dir.join("data"), wrong).expect_code(2);
        assert!(!output.stderr.is_empty(), "{wrong:?}");
    }
    generate("zipf", &dir.join("data"), &["--bytes", "1KiB", "--files", "100"])
        .expect_said("--bytes 1024 is too little for 100 files");
    assert_eq!(dir.tree(), Vec::<String>::new());
}
