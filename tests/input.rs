//! Which files are read, and how they are split into lines.

use libtest_mimic::Trial;
use xxhash_rust::xxh3::xxh3_64;

use crate::conformance::{arguments, path};
use crate::support::{Dir, Mode, both, case, sorted_lines};

pub fn tests() -> Vec<Trial> {
    let mut tests = both("input::line_endings", line_endings);
    tests.extend(both("input::folders_and_patterns", folders_and_patterns));
    tests.extend(both("input::empty_files", empty_files));
    tests.extend(both("input::locations", locations));
    tests.push(case("input::every_split_size", every_split_size));
    tests.push(case("input::many_small_files_share_a_split", many_small_files_share_a_split));
    tests.push(case("input::relative_paths", relative_paths));
    tests.extend(both("input::whole_files", whole_files));
    tests
}

fn line_endings(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/unix", "a b\nc\n");
    dir.write("in/dos", "a\r\nb\r\n\r\n");
    dir.write("in/unfinished", "c\nd");
    dir.write("in/blank", "\n\n\n");
    mode.run(arguments("word-count", &dir, &[])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), ["a\t2", "b\t2", "c\t2", "d\t1"]);
}

/// Folders are read recursively, except files whose names begin with '.' or '_', and no file is
/// read twice.
fn folders_and_patterns(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a.txt", "plain");
    dir.write("in/deep/er/b.txt", "deep");
    dir.write("in/.hidden", "hidden");
    dir.write("in/_temporary/c.txt", "temporary");
    dir.write("in/.git/config", "git");
    dir.write("more/d.log", "log");
    dir.write("more/e.txt", "skipped");
    let all = path(&dir.path().join("**/*.txt"));
    let log = path(&dir.join("more/*.log"));
    let run = |output: &str, inputs: &[&str]| {
        let mut flags = vec!["word-count".to_string(), "--output".into(), path(&dir.join(output))];
        flags.extend(inputs.iter().flat_map(|input| ["--input".to_string(), input.to_string()]));
        mode.run(flags).expect_code(0);
        sorted_lines(&dir.join(output))
    };
    assert_eq!(run("o1", &[&path(&dir.join("in"))]), ["deep\t1", "plain\t1"]);
    assert_eq!(
        run("o2", &[&path(&dir.join("in")), &log, &path(&dir.join("in/a.txt"))]),
        ["deep\t1", "log\t1", "plain\t1"]
    );
    assert_eq!(run("o3", &[&all]), ["deep\t1", "plain\t1", "skipped\t1"]);
    // A file that is named explicitly is read.
    assert_eq!(run("o4", &[&path(&dir.join("in/.hidden"))]), ["hidden\t1"]);
}

/// A file URL is its path, without decoding, and a URL of a store is never taken for a path.
fn locations(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a%20b", "percent");
    dir.write("in/s3://c", "colon");
    let run =
        |input: &str, output: &str| mode.run(["word-count", "--input", input, "--output", output]);
    let here = path(dir.path());
    run(&format!("file://{here}/in/*%20*"), &format!("file://{here}/o1")).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("o1")), ["percent\t1"]);
    run(&format!("{here}/in"), &format!("{here}/o2")).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("o2")), ["colon\t1", "percent\t1"]);
    let (input, out) = (format!("{here}/in"), format!("{here}/out"));
    for (input, output, said) in [
        (
            "s3://bucket/a//b/*",
            &*out,
            "'s3://bucket/a//b/*': this build cannot read or write s3://",
        ),
        (&*input, "gs://bucket/out", "'gs://bucket/out': this build cannot read or write gs://"),
        (
            "ftp://host/x",
            &*out,
            "'ftp://host/x' has an unknown scheme: this build reads and writes paths",
        ),
        ("s3:///key", &*out, "names no bucket"),
        (&*input, "file://host/out", "write file:/// and an absolute path"),
    ] {
        run(input, output).expect_code(2).expect_said(said);
    }
    assert!(!dir.join("out").exists(), "left behind: {:?}", dir.tree());
}

fn empty_files(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/empty", "");
    let summary = mode.run(arguments("word-count", &dir, &["--reducers", "2", "--json"]));
    assert_eq!(summary.expect_code(0).last_json()["output_records"], 0);
    assert!(sorted_lines(&dir.join("out")).is_empty());
    dir.write("in/full", "x");
    let mut flags = arguments("grep", &dir, &[]);
    flags.insert(1, "x".into());
    flags[3] = path(&dir.join("out2"));
    mode.run(flags).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out2")), [format!("{}:0\tx", path(&dir.join("in/full")))]);
}

/// Each line is processed exactly once, wherever splits end.
fn every_split_size() {
    let dir = Dir::new();
    let text = "one two\r\nthree\n\nfour five six\nseven";
    dir.write("in/a", text);
    let expected = ["five\t1", "four\t1", "one\t1", "seven\t1", "six\t1", "three\t1", "two\t1"];
    for size in 1..=text.len() + 1 {
        let mut flags = arguments("word-count", &dir, &["--split-size", &format!("{size}B")]);
        let output = dir.join(format!("out-{size}"));
        let at = flags.iter().position(|flag| flag == "--output").unwrap() + 1;
        flags[at] = path(&output);
        Mode::Embedded.run(flags).expect_code(0);
        assert_eq!(sorted_lines(&output), expected, "split size {size}");
    }
}

fn many_small_files_share_a_split() {
    let dir = Dir::new();
    for n in 0..500 {
        dir.write(format!("in/{n:03}.txt"), format!("file{n} common\n"));
    }
    let summary =
        Mode::Embedded.run(arguments("word-count", &dir, &["--split-size", "1MiB", "--json"]));
    let summary = summary.expect_code(0).last_json();
    assert_eq!(summary["map"]["tasks"], 1, "{summary}");
    assert_eq!(summary["input_files"], 500);
    let lines = sorted_lines(&dir.join("out"));
    assert_eq!(lines.len(), 501);
    assert_eq!(lines[0], "common\t500");
}

/// Relative patterns start from the current folder, whatever characters its name has.
fn relative_paths() {
    let dir = Dir::new();
    dir.write("odd [name]*/in/a.txt", "x");
    let mut command =
        crate::support::windrow(["run", "word-count", "--input", "**/*.txt", "--output", "out"]);
    command.current_dir(dir.join("odd [name]*"));
    crate::support::Process::start(command).finish().expect_code(0);
    assert_eq!(sorted_lines(&dir.join("odd [name]*/out")), ["x\t1"]);
}

/// A whole file is one record, whatever the sizes of files, splits and chunks; one that is too
/// large is refused before anything runs.
fn whole_files(mode: &Mode) {
    let dir = Dir::new();
    let mut expected = Vec::new();
    let sizes = [0, 1, 3, 70_000, 300_000, 5 << 20].into_iter().chain((0..40).map(|n| 900 + n));
    for (number, bytes) in sizes.enumerate() {
        let name = format!("document{number:02}");
        let text: Vec<u8> = (0..bytes).map(|n| (n * 7 + number) as u8).collect();
        if bytes > 0 {
            expected.push(format!("{name}\t{bytes} {:x}", xxh3_64(&text)));
        }
        dir.write(format!("in/{name}"), text);
    }
    for flags in [&["--split-size", "64KiB"][..], &["--memory", "4MiB", "--threads", "3"]] {
        mode.run(arguments("documents", &dir, &[&["--overwrite"], flags].concat())).expect_code(0);
        assert_eq!(sorted_lines(&dir.join("out")), expected, "{flags:?}");
    }
    let too_large = "document05 has 5242880 bytes, but the job reads each file as one record";
    mode.run(arguments("documents", &dir, &["--overwrite", "--max-record-size", "1MiB"]))
        .expect_code(2)
        .expect_said(too_large);

    dir.write("in/document50", "bad");
    mode.run(arguments("documents", &dir, &["--overwrite", "--skip-bad-records", "1"]))
        .expect_code(0)
        .expect_said("1 bad record");
    assert_eq!(sorted_lines(&dir.join("out")), expected);
}
