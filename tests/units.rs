//! Files that consist of units, which a user's own format finds by an index at the end of the file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::conformance::{arguments, path};
use crate::jobs::blocks::{self, Index};
use crate::support::{Dir, Mode, both, eventually, read_parts, sorted_lines};

pub fn tests() -> Vec<Trial> {
    [
        both("units::each_unit_is_read_once", each_unit_is_read_once),
        both("units::bad_rows_are_skipped_one_by_one", bad_rows),
        both("units::a_damaged_file_is_named", damaged_files),
        both("units::a_file_that_changes_is_refused", changing_file),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Writes rows to files of blocks in the folder `blocks`, and returns the rows in the order of the
/// files.
fn write_blocks(dir: &Dir, mode: &Mode, others: &[&str]) -> Vec<String> {
    let mut rows = Vec::new();
    for file in 0..3 {
        let mut text = String::new();
        for n in 0..8_000 * (file + 1) {
            let row = format!("row {} of {file}{}", n * 7_919 % 8_000, "x".repeat(n % 11));
            text.push_str(&format!("{row}\n"));
            rows.push(row);
            if n % 5_000 == 1 {
                others.iter().for_each(|other| text.push_str(&format!("{other}\n")));
            }
        }
        dir.write(format!("in/{file}.txt"), text);
    }
    let flags = ["--split-size", "200KB"];
    mode.run(arguments("write-blocks", dir, &flags)).expect_code(0);
    fs::rename(dir.join("out"), dir.join("blocks")).unwrap();
    rows
}

/// The arguments that read `input`.
fn read(dir: &Dir, input: &Path, flags: &[&str]) -> Vec<String> {
    let mut arguments = vec!["read-blocks".to_string(), "--overwrite".to_string()];
    arguments.extend(flags.iter().map(ToString::to_string));
    arguments.extend(["--output".into(), path(&dir.join("out")), "--input".into(), path(input)]);
    arguments
}

fn with_ones(rows: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = rows.iter().map(|row| format!("{row}\t1")).collect();
    lines.sort();
    lines
}

/// Whatever the splits: some have many units, some have none.
fn each_unit_is_read_once(mode: &Mode) {
    let dir = Dir::new();
    let rows = write_blocks(&dir, mode, &[]);
    let files = dir.join("blocks");
    let names = read_parts(&files);
    assert!(names.len() > 3 && names.keys().all(|name| name.ends_with(".blocks")), "{names:?}");
    let out = dir.join("out");

    for split in ["3KB", "37KB", "64MiB"] {
        let flags = ["--map-only", "--split-size", split, "--threads", "3"];
        mode.run(read(&dir, &files, &flags)).expect_code(0);
        let parts = read_parts(&out);
        assert!(split == "64MiB" || parts.len() > names.len(), "{split}: {} tasks", parts.len());
        let text = parts.into_values().collect::<Vec<_>>().concat();
        let in_order: String = rows.iter().map(|row| format!("{row}\t1\n")).collect();
        assert!(
            String::from_utf8(text).unwrap() == in_order,
            "{split}: other rows, or out of order"
        );
    }

    let counted = ["--reducers", "3", "--split-size", "20KB", "--memory", "8MiB"];
    mode.run(read(&dir, &files, &counted)).expect_code(0);
    let mut counts = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(row).or_insert(0) += 1);
    let mut expected: Vec<_> = counts.iter().map(|(row, n)| format!("{row}\t{n}")).collect();
    expected.sort();
    assert!(sorted_lines(&out) == expected, "other counts");

    mode.run(read(&dir, &files, &["--lengths"])).expect_code(0);
    let of_length = |line: &str| {
        let (length, count) = line.split_once('\t').unwrap();
        (length.parse::<usize>().unwrap(), count.parse::<usize>().unwrap())
    };
    for (length, count) in sorted_lines(&out).iter().map(|line| of_length(line)) {
        assert_eq!(count, rows.iter().filter(|row| row.len() == length).count(), "{length}");
    }

    // The sample reads units, too: the ranges are of about the same size.
    mode.run(read(&dir, &files, &["--sort", "--reducers", "4"])).expect_code(0);
    let parts = read_parts(&out);
    let sizes: Vec<_> = parts.values().map(Vec::len).collect();
    let even = sizes.iter().sum::<usize>() / 4;
    assert!(sizes.len() == 4 && sizes.iter().all(|size| (even / 2..even * 2).contains(size)));
    let text = String::from_utf8(parts.into_values().collect::<Vec<_>>().concat()).unwrap();
    assert!(text.lines().is_sorted());
    assert_eq!(text.lines().count(), rows.len());
}

/// A bad row takes no other row of its unit with it.
fn bad_rows(mode: &Mode) {
    let dir = Dir::new();
    let rows = write_blocks(&dir, mode, &["BAD", "WORSE"]);
    let bad = 2 * [8_000, 16_000, 24_000].map(|rows| (rows - 2) / 5_000 + 1).iter().sum::<usize>();
    let flags = ["--map-only", "--skip-bad-records", &bad.to_string()];
    let said = format!("{bad} bad records");
    mode.run(read(&dir, &dir.join("blocks"), &flags)).expect_code(0).expect_said(&said);
    assert!(sorted_lines(&dir.join("out")) == with_ones(&rows));
    let listed: String = fs::read_dir(dir.join("out/_bad-records"))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert_eq!(listed.lines().filter(|line| line.contains("a bad row")).count(), bad / 2);
    assert_eq!(listed.lines().filter(|line| line.contains("a worse row")).count(), bad / 2);
    // Without the flag, the first fails the job, and is named.
    mode.run(read(&dir, &dir.join("blocks"), &["--max-attempts", "1"]))
        .expect_code(1)
        .expect_said(".blocks at byte ");
}

fn damaged_files(mode: &Mode) {
    let dir = Dir::new();
    write_blocks(&dir, mode, &[]);
    let sound = dir.join("blocks/part-00000.blocks");
    let bytes = fs::read(&sound).unwrap();
    let index = Index::of(&bytes);
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let [offset, size, ..] = index.0[1];
    let footer = bytes.len() - 24;
    let start = bytes.len() - index.bytes();
    let cases: [(&str, Vec<u8>, usize, &str); 8] = [
        ("cut", bytes[..bytes.len() - 1].to_vec(), footer - 1, "no index of blocks is here"),
        ("stub", bytes[..10].to_vec(), 0, "too short to end with an index"),
        ("blocks", flipped(footer + 5), footer, "more blocks than fit into the file"),
        ("index", flipped(start + 3), start, "the index of blocks does not have its checksum"),
        (
            "outside",
            blocks::with_index(&sound, |index| index.0[1][1] += 1 << 40),
            offset as usize,
            "a unit has the bytes",
        ),
        (
            "overlap",
            blocks::with_index(&sound, |index| index.0[1][0] -= 1),
            offset as usize - 1,
            "begins before the end of the unit before it",
        ),
        (
            "empty",
            blocks::with_index(&sound, |index| index.0[1][1] = 0),
            offset as usize,
            "is empty",
        ),
        (
            "block",
            flipped((offset + size) as usize - 1),
            offset as usize,
            "the block does not have its checksum",
        ),
    ];
    for (name, bytes, at, message) in cases {
        let file = dir.join(format!("damaged-{name}"));
        fs::write(&file, bytes).unwrap();
        // It is no bad record: nobody knows how many are lost.
        for flags in [&["--max-attempts", "1"][..], &["--skip-bad-records", "1000"]] {
            mode.run(read(&dir, &file, flags))
                .expect_code(1)
                .expect_said(&format!("damaged-{name} at byte {at}: "))
                .expect_said(message);
            assert!(!dir.join("out/_SUCCESS").exists(), "{name}");
        }
    }
    mode.run(read(&dir, &sound, &["--max-record-size", "1000"]))
        .expect_code(1)
        .expect_said("give a larger --max-record-size");
}

/// The file is replaced while its first row is mapped: by one that is longer, or that has other
/// blocks under the old index.
fn changing_file(mode: &Mode) {
    let dir = Dir::new();
    write_blocks(&dir, mode, &[]);
    let sound = fs::read(dir.join("blocks/part-00000.blocks")).unwrap();
    let mut other = sound.clone();
    other[10] ^= 1;
    for (number, text) in [sound[..sound.len() / 2].to_vec(), other].into_iter().enumerate() {
        let file: PathBuf = dir.join(format!("changing-{number}"));
        fs::write(&file, &sound).unwrap();
        let gates = dir.join(format!("gates-{number}"));
        fs::create_dir(&gates).unwrap();
        let job = mode.start(read(&dir, &file, &["--gates", &path(&gates)]));
        eventually("a running map", || gates.join("reading").exists());
        fs::write(&file, text).unwrap();
        fs::write(gates.join("go"), "").unwrap();
        job.finish()
            .expect_code(1)
            .expect_said(&path(&file))
            .expect_said("changed while the job ran");
        assert!(!dir.join("out/_SUCCESS").exists());
    }
}
