//! `windrow verify`: what has become of an output since its job has ended.

use std::fs;

use libtest_mimic::Trial;

use crate::support::{Dir, Mode, Output, Process, case, windrow};

pub fn tests() -> Vec<Trial> {
    vec![
        case("verify::an_output_is_compared_with_its_manifest", compared),
        case("verify::what_is_no_output_is_named", no_output),
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

    // The size alone tells nothing.
    let mut zeroed = whole.clone();
    let middle = whole.len() / 2;
    zeroed[middle..middle + 100].fill(0);
    fs::write(&part, zeroed).unwrap();
    verify(&out).expect_code(1).expect_said("part-00001: its bytes have the checksum");

    fs::write(&part, &whole[1..]).unwrap();
    let size = format!("it has {} bytes, of {} that were written", whole.len() - 1, whole.len());
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

fn no_output() {
    let dir = Dir::new();
    let folder = dir.join("").display().to_string();
    verify(&folder).expect_code(1).expect_said("has no _SUCCESS");
    dir.write("_SUCCESS", "{}");
    verify(&folder).expect_code(1).expect_said("_SUCCESS: it is no manifest");
    dir.write("_SUCCESS", r#"{"format": 7, "parts": []}"#);
    verify(&folder).expect_code(1).expect_said("this one knows format 1");
}
