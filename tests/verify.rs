//! `windrow verify`: whether an output has changed since its job ended.

use std::fs;

use libtest_mimic::Trial;

use crate::support::{Dir, Mode, Output, Process, case, windrow};

pub fn tests() -> Vec<Trial> {
    vec![
        case("verify::an_output_is_compared_with_its_manifest", compared),
        case("verify::extra_files_of_an_output_are_named", beside),
        case("verify::a_folder_without_an_output_is_named", no_output),
        case("verify::pipes_are_not_waited_for", no_files),
    ]
}

fn verify(output: &str) -> Output {
    Process::start(windrow(["verify", output])).finish()
}

fn compared() {
    let dir = Dir::new();
    let text: String = (0..2_000).map(|n| format!("word{n} {}\n", n % 7)).collect();
    let input = dir.write("input", text).display().to_string();
    let output = dir.join("out");
    let out = output.display().to_string();
    let flags = ["word-count", "--reducers", "3", "--input", &input, "--output", &out];
    Mode::Embedded.run(flags).expect_code(0);
    verify(&out).expect_code(0).expect_said("3 files");
    let part = output.join("part-00001");
    let whole = fs::read(&part).unwrap();

    // The size is still right.
    let mut zeroed = whole.clone();
    let middle = whole.len() / 2;
    zeroed[middle..middle + 100].fill(0);
    fs::write(&part, zeroed).unwrap();
    verify(&out).expect_code(1).expect_said("part-00001: its checksum is");

    fs::write(&part, &whole[1..]).unwrap();
    let size = format!("it has {} bytes, but {} were written", whole.len() - 1, whole.len());
    verify(&out).expect_code(1).expect_said(&size);

    fs::remove_file(&part).unwrap();
    fs::write(output.join("part-00009"), "x").unwrap();
    verify(&out)
        .expect_code(1)
        .expect_said("part-00001: it is missing")
        .expect_said("part-00009: the manifest does not name it")
        .expect_said("2 differences");

    fs::remove_file(output.join("part-00009")).unwrap();
    fs::write(&part, whole).unwrap();
    verify(&out).expect_code(0);
}

fn beside() {
    use std::os::unix::fs::PermissionsExt;

    let dir = Dir::new();
    let input = dir.write("input", "a b a\n").display().to_string();
    let output = dir.join("out");
    let out = output.display().to_string();
    let flags = ["word-count", "--reducers", "1", "--input", &input, "--output", &out];
    Mode::Embedded.run(flags).expect_code(0);
    for (name, said) in [
        ("zzz.csv", "zzz.csv: the manifest does not name it"),
        (".hidden", ".hidden: the manifest does not name it"),
        ("sub/part-00009", "sub: a folder that the manifest does not name"),
        ("_bad-records/m.jsonl", "_bad-records/m.jsonl: the manifest does not name it"),
        ("_bad-records", "_bad-records: the manifest does not name it"),
    ] {
        let path = output.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        verify(&out).expect_code(1).expect_said(said).expect_said("1 difference");
        fs::remove_file(&path).unwrap();
        if path.parent() != Some(&*output) {
            fs::remove_dir(path.parent().unwrap()).unwrap();
        }
    }
    fs::create_dir(output.join("_bad-records")).unwrap();
    verify(&out).expect_code(1).expect_said("_bad-records: a folder");
    fs::remove_dir(output.join("_bad-records")).unwrap();
    // The folder belongs to the next job.
    fs::create_dir(output.join("_temporary")).unwrap();
    verify(&out).expect_code(0);

    // A backup by hard links changes nothing.
    let part = output.join("part-00000");
    fs::hard_link(&part, dir.join("backup")).unwrap();
    verify(&out).expect_code(0).expect_said("part-00000: it has another hard link");
    fs::set_permissions(&part, fs::Permissions::from_mode(0o4755)).unwrap();
    verify(&out).expect_code(1).expect_said("part-00000: it has a setuid");
}

/// An output may contain pipes and links.
fn no_files() {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let dir = Dir::new();
    let input = dir.write("input", "a b a\n").display().to_string();
    let output = dir.join("out");
    let out = output.display().to_string();
    let flags = ["word-count", "--reducers", "1", "--input", &input, "--output", &out];
    crate::support::Mode::Embedded.run(flags).expect_code(0);
    type Plant = fn(&std::path::Path);
    let plants: [Plant; 3] = [
        |path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap(),
        |path| symlink("/dev/zero", path).unwrap(),
        |path| fs::create_dir(path).unwrap(),
    ];
    for (name, said) in [("part-00000", "part-00000: it is not a file"), ("_SUCCESS", "it is a")] {
        let (path, kept) = (output.join(name), dir.join("kept"));
        fs::rename(&path, &kept).unwrap();
        for plant in plants {
            plant(&path);
            verify(&out).expect_code(1).expect_said(said);
            let removed = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
            removed.unwrap();
        }
        fs::rename(kept, &path).unwrap();
    }
    // A huge sparse file is refused as a manifest at its first byte.
    fs::File::create(output.join("_SUCCESS")).unwrap().set_len(1 << 40).unwrap();
    verify(&out).expect_code(1).expect_said("_SUCCESS: it is not a manifest");
}

fn no_output() {
    let dir = Dir::new();
    let folder = dir.join("").display().to_string();
    verify(&folder).expect_code(1).expect_said("has no _SUCCESS");
    dir.write("_SUCCESS", "{}");
    verify(&folder).expect_code(1).expect_said("_SUCCESS: it is not a manifest");
    dir.write("_SUCCESS", r#"{"format": 7, "parts": []}"#);
    verify(&folder).expect_code(1).expect_said("this one knows format 1");
}
