//! The ready jobs on tables, compared with plain programs, on files with many splits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use libtest_mimic::Trial;

use crate::support::{Dir, Mode, both, read_parts, sorted_lines};

pub fn tests() -> Vec<Trial> {
    type Test = fn(&Mode);
    let tests: [(&str, Test); 7] = [
        ("ready_jobs::sum_by_key", sum_by_key),
        ("ready_jobs::sort_by_columns", sort_by_columns),
        ("ready_jobs::sort_records", sort_records),
        ("ready_jobs::dedup_and_distinct", dedup_and_distinct),
        ("ready_jobs::top_and_sample", top_and_sample),
        ("ready_jobs::count_lines_as_uniq_does", count_lines_as_uniq_does),
        (
            "ready_jobs::the_header_of_the_first_file_that_has_one",
            the_header_of_the_first_file_that_has_one,
        ),
    ];
    tests.into_iter().flat_map(|(name, test)| both(name, test)).collect()
}

/// Pseudo-random and deterministic.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // The constants of splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % limit
    }
}

/// Rows `id,crop,tons`, some of them quoted, in two files with a header each.
struct Table {
    files: [PathBuf; 2],
    rows: Vec<(u64, String, i64)>,
}

impl Table {
    const HEADER: &str = "id,crop,tons";

    fn write(dir: &Dir) -> Self {
        let mut random = Random(7);
        let crops = ["hay", "rye", "oats", "wheat, winter"];
        let rows: Vec<_> = (0..6000)
            .map(|_| {
                let crop = crops[random.below(4) as usize];
                (random.below(500), crop.to_string(), random.below(2_000) as i64 - 1_000)
            })
            .collect();
        let text = |rows: &[(u64, String, i64)]| {
            let lines: Vec<_> = rows.iter().map(line).collect();
            format!("{}\n{}\n", Self::HEADER, lines.join("\n"))
        };
        let files =
            [dir.write("a.csv", text(&rows[..2500])), dir.write("b.csv", text(&rows[2500..]))];
        Self { files, rows }
    }
}

fn line((id, crop, tons): &(u64, String, i64)) -> String {
    if crop.contains(',') {
        format!("{id},\"{crop}\",{tons}")
    } else {
        format!("{id},{crop},{tons}")
    }
}

/// Runs a job over files, with many splits each.
fn run(mode: &Mode, dir: &Dir, flags: &[&str], files: &[PathBuf]) -> PathBuf {
    let output = dir.join(format!("out-{}", flags.join("_").replace([',', ':', '.'], "")));
    mode.run(
        flags
            .iter()
            .map(ToString::to_string)
            .chain(["--split-size", "16KiB", "--reducers", "3", "--output"].map(String::from))
            .chain([output.display().to_string(), "--input".into()])
            .chain(files.iter().map(|file| file.display().to_string())),
    )
    .expect_code(0);
    output
}

/// The parts, joined in order.
fn joined(output: &std::path::Path) -> Vec<u8> {
    read_parts(output).into_values().flatten().collect()
}

fn sum_by_key(mode: &Mode) {
    let dir = Dir::new();
    let table = Table::write(&dir);
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, crop, tons) in &table.rows {
        *sums.entry(crop).or_default() += tons;
    }
    let output = run(mode, &dir, &["sum", "--by", "crop", "--column", "tons"], &table.files);
    let expected: Vec<_> = sums.iter().map(|(crop, tons)| format!("{crop}\t{tons}")).collect();
    assert_eq!(sorted_lines(&output), expected);

    let output = run(mode, &dir, &["mean", "--column", "tons"], &table.files);
    let mean = sums.values().sum::<i64>() as f64 / table.rows.len() as f64;
    assert_eq!(sorted_lines(&output), [mean.to_string()]);
}

fn sort_by_columns(mode: &Mode) {
    let dir = Dir::new();
    let table = Table::write(&dir);
    let mut rows = table.rows.clone();
    rows.sort_by(|a, b| (b.2, &a.1).cmp(&(a.2, &b.1)).then_with(|| line(a).cmp(&line(b))));
    let expected = |rows: &[(u64, String, i64)]| {
        let lines: Vec<_> = rows.iter().map(line).collect();
        format!("{}\n{}\n", Table::HEADER, lines.join("\n"))
    };
    let output = run(mode, &dir, &["sort", "--key", "tons:nr,crop"], &table.files);
    assert_eq!(String::from_utf8(joined(&output)).unwrap(), expected(&rows));

    let mut rows = table.rows.clone();
    rows.sort_by_key(|row| row.0);
    let output = run(mode, &dir, &["sort", "--key", "id:n", "--stable"], &table.files);
    assert_eq!(String::from_utf8(joined(&output)).unwrap(), expected(&rows));
}

fn sort_records(mode: &Mode) {
    let dir = Dir::new();
    let mut random = Random(1);
    let bytes: Vec<u8> = (0..100_000).map(|_| random.below(256) as u8).collect();
    let file = dir.join("records.bin");
    std::fs::write(&file, &bytes).unwrap();
    let flags = ["sort", "--record-bytes", "20", "--key-bytes", "0..2"];
    let mut records: Vec<&[u8]> = bytes.chunks(20).collect();
    records.sort();
    assert_eq!(joined(&run(mode, &dir, &flags, &[file])), records.concat());
}

fn dedup_and_distinct(mode: &Mode) {
    let dir = Dir::new();
    let table = Table::write(&dir);
    let mut first = BTreeMap::new();
    let mut crops: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for row in &table.rows {
        first.entry(row.0).or_insert_with(|| line(row));
        crops.entry(row.0).or_default().insert(&row.1);
    }
    let mut expected: Vec<_> = first.into_values().collect();
    expected.sort();
    let output = run(mode, &dir, &["dedup", "--by", "id"], &table.files);
    assert_eq!(sorted_lines(&output), expected);

    let mut expected: Vec<_> =
        crops.iter().map(|(id, crops)| format!("{id}\t{}", crops.len())).collect();
    expected.sort();
    let output = run(mode, &dir, &["distinct", "--by", "id", "--column", "crop"], &table.files);
    assert_eq!(sorted_lines(&output), expected);
}

fn top_and_sample(mode: &Mode) {
    let dir = Dir::new();
    let table = Table::write(&dir);
    let mut rows = table.rows.clone();
    rows.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| line(a).cmp(&line(b))));
    let expected: String = rows[..20].iter().map(|row| line(row) + "\n").collect();
    let output = run(mode, &dir, &["top", "--column", "tons", "--count", "20"], &table.files);
    assert_eq!(String::from_utf8(joined(&output)).unwrap(), expected);

    let output = run(mode, &dir, &["sample", "--count", "50", "--header"], &table.files);
    let all: BTreeSet<_> = table.rows.iter().map(line).collect();
    let picked = sorted_lines(&output);
    assert_eq!(picked.len(), 50);
    assert!(picked.iter().all(|line| all.contains(line)), "{picked:?}");
}

/// As coreutils count lines that no table could have.
fn count_lines_as_uniq_does(mode: &Mode) {
    let dir = Dir::new();
    let lines = ["\"GET /\" 200", "", "\"", "it's 5\"", "a,\"b", "x\ty", "\"a\"b", " "];
    let mut random = Random(3);
    let text: String = (0..3_000)
        .map(|_| format!("{}\n", lines[random.below(lines.len() as u64) as usize]))
        .collect();
    let file = dir.write("a.log", text);
    // "COUNT LINE", blanks before, to "LINE TAB COUNT".
    let script = r#"LC_ALL=C sort "$0" | LC_ALL=C uniq -c | sed 's/^ *\([0-9]*\) \(.*\)$/\2\t\1/'"#;
    let judge = std::process::Command::new("sh").args(["-c", script]).arg(&file).output().unwrap();
    assert!(judge.status.success(), "{judge:?}");
    let counted = String::from_utf8(judge.stdout).unwrap();
    let mut expected: Vec<_> = counted.lines().collect();
    expected.sort_unstable();
    let files = [file];
    assert_eq!(sorted_lines(&run(mode, &dir, &["count", "--by", "0"], &files)), expected);
    let mut keys: Vec<_> =
        expected.iter().map(|line| line.rsplit_once('\t').unwrap().0.to_string()).collect();
    keys.sort_unstable();
    assert_eq!(sorted_lines(&run(mode, &dir, &["distinct", "--by", "0"], &files)), keys);
}

/// Empty files have no header, and come first by name.
fn the_header_of_the_first_file_that_has_one(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a.csv", "");
    dir.write("in/b.csv", "name,n\nrye,2\n");
    dir.write("in/c.csv", "");
    dir.write("in/d.csv", "name,n\nhay,3\noats,1\n");
    for (flags, expected) in [
        (&["sort", "--header"][..], "name,n\nhay,3\noats,1\nrye,2\n"),
        (&["sort", "--key", "n:nr"], "name,n\nhay,3\nrye,2\noats,1\n"),
        (&["sort", "--key", "n:n", "--stable"], "name,n\noats,1\nrye,2\nhay,3\n"),
    ] {
        let output = run(mode, &dir, flags, &[dir.join("in")]);
        assert_eq!(String::from_utf8(joined(&output)).unwrap(), expected, "{flags:?}");
    }
}
