//! The generated code is in the tree, so that a first build needs no code generator and everybody
//! can read it. This test generates it again.

// A missing file or an invalid `.proto` fails the test, as it should.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

const GENERATED: &str = "src/generated/windrow.v1.rs";

/// Generates the code with `protox`, so that no protoc need be installed.
fn generate(root: &Path) -> String {
    let entries = fs::read_dir(root.join("windrow/v1")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let descriptors = protox::compile(files, [root]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Shuffle blocks arrive as `Bytes`: slices of the receive buffer, not copies.
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(folder.path())
        .compile_fds(descriptors)
        .unwrap();
    fs::read_to_string(folder.path().join("windrow.v1.rs")).unwrap()
}

#[test]
fn the_generated_code_is_that_of_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (generated, path) = (generate(root), root.join(GENERATED));
    if fs::read_to_string(&path).unwrap_or_default() != generated {
        fs::write(&path, generated).unwrap();
        panic!("{GENERATED} was not what the .proto files say; it is now: look at the difference");
    }
}
