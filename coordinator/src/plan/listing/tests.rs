use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use rustix::fs::{FileType, Mode};

use tempfile::TempDir;

use super::*;

/// Creates a folder with these files, each with its own name as content.
fn tree(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    dir
}

fn listed(dir: &TempDir, inputs: &[&str]) -> Result<Vec<String>, String> {
    let inputs: Vec<_> =
        inputs.iter().map(|input| format!("{}/{input}", dir.path().display())).collect();
    let prefix = format!("{}/", dir.path().display());
    match list_all(&inputs, &mut Places::default()) {
        Ok(files) => Ok(files.iter().map(|f| f.location.as_str().replace(&prefix, "")).collect()),
        Err(error) => Err(error.to_string().replace(&prefix, "")),
    }
}

fn list_all(inputs: &[String], places: &mut Places) -> Result<Vec<InputFile>, PlanError> {
    let inputs: Vec<_> = inputs.iter().map(|input| input.parse().unwrap()).collect();
    list(0, &inputs, places)
}

#[test]
fn a_folder_means_all_files_below_it_except_hidden_ones() {
    let dir =
        tree(&["d/b", "d/a", "d/sub/c", "d/.git/x", "d/_SUCCESS", "d/.hidden", "d/_temporary/y"]);
    assert_eq!(listed(&dir, &["d"]).unwrap(), ["d/a", "d/b", "d/sub/c"]);
}

#[test]
fn patterns_go_through_folders_and_skip_hidden_names() {
    let dir = tree(&[
        "a.md",
        "x/b.md",
        "x/y/c.md",
        "x/.z/d.md",
        "x/_e.md",
        "x/f.txt",
        "target/_out/g.md",
    ]);
    assert_eq!(listed(&dir, &["**/*.md"]).unwrap(), ["a.md", "x/b.md", "x/y/c.md"]);
    assert_eq!(listed(&dir, &["x/*"]).unwrap(), ["x/b.md", "x/f.txt", "x/y/c.md"]);
}

#[test]
fn circular_links_do_not_loop() {
    let dir = tree(&["a.md", "x/b.md", "elsewhere/c.md"]);
    symlink(dir.path(), dir.path().join("x/up")).unwrap();
    symlink(dir.path(), dir.path().join("x/up2")).unwrap();
    symlink(dir.path().join("a.md"), dir.path().join("x/link.md")).unwrap();
    symlink("nowhere", dir.path().join("x/broken.txt")).unwrap();
    let expected = ["a.md", "elsewhere/c.md", "x/b.md", "x/link.md"];
    assert_eq!(listed(&dir, &["**/*.md"]).unwrap(), expected);
    assert_eq!(listed(&dir, &["x/**/b.md", "**/else*"]).unwrap(), ["elsewhere/c.md", "x/b.md"]);
    assert!(listed(&dir, &["nowhere/**"]).unwrap_err().contains("no input matches"));
}

#[test]
fn hidden_names_are_taken_when_they_are_named() {
    let dir = tree(&["_logs/a", "_logs/.b", "x/_one", "x/_two", ".env"]);
    assert_eq!(listed(&dir, &[".env"]).unwrap(), [".env"]);
    assert_eq!(listed(&dir, &["_logs"]).unwrap(), ["_logs/a"]);
    assert_eq!(listed(&dir, &["_logs/*"]).unwrap(), ["_logs/a"]);
    assert_eq!(listed(&dir, &["x/_t*"]).unwrap(), ["x/_two"]);
}

#[test]
fn a_file_named_twice_is_read_once() {
    let dir = tree(&["d/a", "d/b"]);
    assert_eq!(listed(&dir, &["d/b", "d", "d/*"]).unwrap(), ["d/a", "d/b"]);
    assert_eq!(listed(&dir, &["d/b", "d/../d/b"]).unwrap(), ["d/b"]);
}

#[test]
fn a_file_whose_name_looks_like_a_pattern_is_a_file() {
    let dir = tree(&["a[1].txt", "a1.txt"]);
    assert_eq!(listed(&dir, &["a[1].txt"]).unwrap(), ["a[1].txt"]);
}

#[test]
fn links_to_files_are_followed_and_cycles_do_no_harm() {
    let dir = tree(&["elsewhere/file", "d/a"]);
    symlink(dir.path().join("elsewhere/file"), dir.path().join("d/link")).unwrap();
    symlink(dir.path().join("d"), dir.path().join("d/cycle")).unwrap();
    assert_eq!(listed(&dir, &["d"]).unwrap(), ["d/a", "d/link"]);
}

#[test]
fn an_input_without_files_is_named() {
    let dir = tree(&["d/_only_hidden"]);
    for input in ["missing", "*.nothing", "d", "d/_only_hidden/below"] {
        let error = listed(&dir, &[input]).unwrap_err();
        assert!(error.starts_with(&format!("no input matches '{input}'")), "{error}");
    }
}

#[test]
fn wrong_patterns_dangling_links_and_special_files_are_named() {
    let dir = tree(&["d/a"]);
    symlink("nowhere", dir.path().join("d/dangling")).unwrap();
    let error = listed(&dir, &["d"]).unwrap_err();
    assert!(error.starts_with("d/dangling is a link to nowhere, which does not exist"), "{error}");
    let error = listed(&dir, &["***"]).unwrap_err();
    assert!(error.contains("'***' is not a pattern"), "{error}");
    let error = list_all(&["/dev/null".into()], &mut Places::default()).unwrap_err().to_string();
    assert!(error.contains("/dev/null is not a regular file"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    if rustix::process::geteuid().is_root() {
        return; // Root may read every file.
    }
    let dir = tree(&["d/a", "d/b"]);
    fs::set_permissions(dir.path().join("d/b"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = listed(&dir, &["d"]).unwrap_err();
    assert!(error.starts_with("cannot read d/b: "), "{error}");
}

#[test]
fn pipes_and_sockets_are_refused_without_waiting() {
    let dir = tree(&["d/a"]);
    let pipe = dir.path().join("d/pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    symlink(&pipe, dir.path().join("d/to-pipe")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("d/socket")).unwrap();
    assert_eq!(listed(&dir, &["d"]).unwrap(), ["d/a"]);
    assert_eq!(listed(&dir, &["d/*"]).unwrap(), ["d/a"]);
    let error = listed(&dir, &["d/pipe"]).unwrap_err();
    assert_eq!(error, "d/pipe is not a regular file; copy what it holds into a file first");
}

#[test]
fn names_that_are_not_utf8_and_links_in_a_loop_are_named() {
    let dir = tree(&["d/a", "e/a"]);
    fs::write(dir.path().join("d").join(OsStr::from_bytes(b"x\xffy")), "").unwrap();
    let error = listed(&dir, &["d"]).unwrap_err();
    assert!(error.contains("is not valid UTF-8; rename the file"), "{error}");
    symlink("loop", dir.path().join("e/loop")).unwrap();
    let error = listed(&dir, &["e"]).unwrap_err();
    assert!(error.starts_with("cannot read e/loop: "), "{error}");
    assert!(listed(&dir, &["e/loop/**"]).is_err());
}

#[test]
fn many_files_in_many_folders_come_in_the_order_of_their_paths() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for folder in 0..70 {
        let folder = PathBuf::from(format!("d/{folder}"));
        fs::create_dir_all(dir.path().join(&folder).join("-below")).unwrap();
        for file in 0..20 {
            for path in
                [folder.join(file.to_string()), folder.join("-below").join(file.to_string())]
            {
                fs::write(dir.path().join(&path), "x").unwrap();
                expected.push(path);
            }
        }
    }
    expected.sort();
    let expected: Vec<_> = expected.iter().map(|path| path.display().to_string()).collect();
    assert_eq!(listed(&dir, &["d"]).unwrap(), expected);
    assert_eq!(listed(&dir, &["d/**/1*", "d"]).unwrap(), expected);
}

#[test]
fn places_are_real_folders_and_targets_of_links() {
    let dir = tree(&["d/a", "d/b", "elsewhere/file"]);
    symlink(dir.path().join("elsewhere/file"), dir.path().join("d/link")).unwrap();
    symlink(dir.path().join("d"), dir.path().join("alias")).unwrap();
    let mut places = Places::default();
    let input = dir.path().join("alias").display().to_string();
    list_all(&[input], &mut places).unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    let mut real: Vec<_> = places.iter().map(|(real, _)| real.to_path_buf()).collect();
    real.sort();
    assert_eq!(real, [root.join("d"), root.join("elsewhere/file")]);
}

#[test]
fn no_pattern_skips_a_name_that_is_not_utf8() {
    let dir = tree(&["d/a", "e/b/x"]);
    fs::write(dir.path().join("d").join(OsStr::from_bytes(b"x\xffy")), "").unwrap();
    let folder = dir.path().join("e").join(OsStr::from_bytes(b"\xff"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("x"), "").unwrap();
    for pattern in ["d/*", "d/x*", "d/**", "**/x?y", "e/*", "e/*/x", "e/**/x", "e/?/x"] {
        let error = listed(&dir, &[pattern]).unwrap_err();
        assert!(error.contains("is not valid UTF-8; rename"), "{pattern}: {error}");
    }
    assert_eq!(listed(&dir, &["d/[a-w]", "e/b/*"]).unwrap(), ["d/a", "e/b/x"]);
}

#[test]
fn patterns_go_component_by_component() {
    let dir = tree(&["a/1/x", "a/2/y", "a/3", "b/1/x", "[b]/1/x"]);
    for (pattern, expected) in [
        ("*/1/x", &["[b]/1/x", "a/1/x", "b/1/x"][..]),
        ("a/*", &["a/1/x", "a/2/y", "a/3"]),
        ("a/*/", &["a/1/x", "a/2/y"]),
        ("a/?/x", &["a/1/x"]),
        ("./a//*/x", &["./a/1/x"]),
        ("a/../b/*/x", &["a/../b/1/x"]),
        ("[[]b]/*", &["[b]/1/x"]),
        ("[!a]/1/*", &["b/1/x"]),
    ] {
        assert_eq!(listed(&dir, &[pattern]).unwrap(), expected, "{pattern}");
    }
    for pattern in ["a/3/*", "*/3/x", "a/*/z"] {
        let error = listed(&dir, &[pattern]).unwrap_err();
        assert!(error.contains("no input matches"), "{pattern}: {error}");
    }
}

#[test]
fn a_file_url_means_its_path() {
    let dir = tree(&["d/a%20b", "d/c:d", "x://y"]);
    let url = |name: &str| format!("file://{}/{name}", dir.path().display());
    let listed = |input: String| match list_all(&[input], &mut Places::default()) {
        Ok(files) => files.into_iter().map(|file| file.location.to_string()).collect(),
        Err(error) => vec![error.to_string()],
    };
    let at = |name: &str| format!("{}/{name}", dir.path().display());
    assert_eq!(listed(url("d")), [at("d/a%20b"), at("d/c:d")]);
    assert_eq!(listed(url("d/*%20b")), [at("d/a%20b")]);
    assert_eq!(listed(url("x:/y")), [at("x:/y")], "a path of this name exists");
    let missing = listed(url("d/none")).concat();
    assert!(missing.contains(&url("d/none")), "the input is named as given: {missing}");
}

#[test]
fn objects_in_a_store_are_refused() {
    let error = list_all(&["s3://bucket/logs/*".into()], &mut Places::default()).unwrap_err();
    assert!(matches!(error, PlanError::NoStore(_)), "{error}");
    assert!(error.to_string().starts_with("'s3://bucket/logs/*': "), "{error}");
}

#[test]
fn a_dangling_link_is_named() {
    let dir = tree(&["a"]);
    symlink("/nowhere/at/all", dir.path().join("link")).unwrap();
    let error = listed(&dir, &["link"]).unwrap_err();
    assert_eq!(
        error,
        "link is a link to /nowhere/at/all, which does not exist; remove the link, or name the files to read"
    );
}

#[test]
fn who_expects_a_url_to_be_decoded_is_told_the_path() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("odd name"), "x").unwrap();
    let error = listed(&dir, &["odd%20name"]).unwrap_err();
    assert!(error.ends_with(" write 'odd name'") && error.contains("no %XX is decoded"), "{error}");
    let error = listed(&dir, &["other%20name"]).unwrap_err();
    assert!(!error.contains("decoded"), "{error}");
}
