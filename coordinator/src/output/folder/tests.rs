use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::mknodat;

use super::*;

fn open(path: &Path) -> Folder {
    Folder::open(path).unwrap()
}

#[test]
fn no_name_leads_out_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    let folder = open(&inner);
    for name in ["", ".", "..", "../file", "/etc/passwd", "a/b", "a/", "./a"] {
        assert!(folder.file(name).is_err(), "{name}");
        assert!(folder.new_file(name).is_err(), "{name}");
        assert!(folder.folder(name).is_err(), "{name}");
        assert!(folder.made_folder(name, USUAL).is_err(), "{name}");
        assert!(folder.stat(name).is_err(), "{name}");
        assert!(folder.remove_file(name).is_err() && folder.remove_tree(name).is_err(), "{name}");
        assert!(folder.rename_new(name, &folder, "b").is_err(), "{name}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_link_is_named_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().canonicalize().unwrap();
    fs::create_dir_all(real.join("a/b")).unwrap();
    symlink("a", real.join("link")).unwrap();
    assert!(Folder::open(&real.join("a/b")).is_ok());
    for path in ["link", "link/b", "a/../a"] {
        assert!(Folder::open(&real.join(path)).is_err(), "{path}");
        assert!(Folder::make(&real.join(path).join("new")).is_err(), "{path}");
    }
    let said = Folder::open(&real.join("link/b")).unwrap_err().to_string();
    assert!(said.starts_with("it is a link"), "{said}");
    let (_, made) = Folder::make(&real.join("a/new/deep")).unwrap();
    assert!(made && real.join("a/new/deep").is_dir());
    assert!(!Folder::make(&real.join("a/new/deep")).unwrap().1);
    assert_eq!(fs::read_dir(real.join("a")).unwrap().count(), 2);
}

#[test]
fn only_regular_files_are_opened_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let folder = open(&dir.path().canonicalize().unwrap());
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "x").unwrap();
    fs::create_dir(at("folder")).unwrap();
    symlink("file", at("link")).unwrap();
    symlink("/dev/zero", at("zero")).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    assert!(folder.file("file").is_ok());
    assert_eq!(folder.file("none").unwrap_err().kind(), io::ErrorKind::NotFound);
    for (name, said) in [
        ("folder", "a folder"),
        ("link", "a link"),
        ("zero", "a link"),
        ("pipe", "a pipe"),
        ("socket", "a socket"),
    ] {
        let error = folder.file(name).unwrap_err().to_string();
        assert!(error.starts_with(&format!("it is {said}")), "{name}: {error}");
        assert!(folder.new_file(name).is_err());
    }
    for name in ["file", "link", "zero", "pipe"] {
        assert!(folder.folder(name).is_err(), "{name}");
        assert!(folder.made_folder(name, USUAL).is_err(), "{name}");
    }
}
