use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Location {
    Location::parse(text).unwrap()
}

fn refusal(text: &str) -> String {
    Location::parse(text).unwrap_err().to_string()
}

#[test]
fn paths_are_kept_as_written() {
    for path in [
        "/data/in.txt",
        "in.txt",
        "./s3://bucket/key",
        "/a:b/c",
        "a:b",
        "c:/x",
        "file:/x",
        "s3:bucket",
        "/s3://bucket",
        "-://x",
        "1s3://x",
        "*://x",
        "a//b/../c",
        "/a%20b",
        "/ ",
        "/tab\there",
        "/\u{fc}ml\u{e4}ut",
    ] {
        let location = parse(path);
        assert_eq!((location.scheme(), location.is_url()), (Scheme::File, false), "{path}");
        assert_eq!(location.to_local(), Ok(Path::new(path)));
        assert_eq!((location.key(), location.authority()), (path, ""));
        assert_eq!(location.is_absolute(), path.starts_with('/'), "{path}");
    }
}

#[test]
fn a_file_url_is_the_path_after_it() {
    for (url, path) in [
        ("file:///data/in", "/data/in"),
        ("FILE:///a%20b//c/../d", "/a%20b//c/../d"),
        ("file://localhost/x", "/x"),
        ("file:////x", "//x"),
    ] {
        let location = parse(url);
        assert_eq!(location.to_local(), Ok(Path::new(path)), "{url}");
        assert_eq!(location.to_string(), url, "it is shown as it was written");
        assert!(location.is_absolute() && location.is_url());
    }
    for url in ["file://", "file://x", "file://host/x", "file://localhost", "file://localhostile/x"]
    {
        assert!(refusal(url).contains("write file:/// and an absolute path"), "{url}");
    }
}

#[test]
fn keys_are_kept_as_written() {
    for (url, scheme, authority, key) in [
        ("s3://bucket/logs/2026/a.gz", Scheme::S3, "bucket", "logs/2026/a.gz"),
        ("S3://bucket/a//b", Scheme::S3, "bucket", "a//b"),
        ("s3://bucket//a", Scheme::S3, "bucket", "/a"),
        ("gs://bucket/a/../b", Scheme::Gs, "bucket", "a/../b"),
        ("az://container/a b%20c", Scheme::Az, "container", "a b%20c"),
        ("hdfs://name:8020/a\tb", Scheme::Hdfs, "name:8020", "a\tb"),
        ("https://host/x?y=z://#1", Scheme::Https, "host", "x?y=z://#1"),
        ("http://host", Scheme::Http, "host", ""),
        ("s3://bucket/", Scheme::S3, "bucket", ""),
        ("s3://bucket/dir/", Scheme::S3, "bucket", "dir/"),
    ] {
        let location = parse(url);
        assert_eq!(
            (location.scheme(), location.authority(), location.key()),
            (scheme, authority, key),
            "{url}"
        );
        assert_eq!(location.to_string(), url);
        assert!(location.is_absolute());
    }
}

#[test]
fn a_refused_location_says_what_to_write() {
    assert_eq!(refusal(""), "a path is empty");
    assert!(refusal("/a\0b").contains("contains a NUL"));
    assert_eq!(refusal("s3:///key"), "'s3:///key' names no bucket: write s3://bucket/...");
    assert_eq!(refusal("az://"), "'az://' names no container: write az://container/...");
    let unknown = refusal("ftp://host/x");
    assert!(unknown.contains("s3://, gs://"), "{unknown}");
    assert!(unknown.ends_with("write './ftp://host/x'"), "{unknown}");
}

#[test]
fn a_location_without_a_store_names_those_that_exist() {
    let error = parse("s3://bucket/key").to_local().unwrap_err().to_string();
    assert!(
        error.starts_with("'s3://bucket/key': this build cannot read or write s3://"),
        "{error}"
    );
    assert!(error.contains("only paths and file:///"), "{error}");
}

#[test]
fn a_path_that_looks_like_a_url_stays_a_path() {
    let location = Location::of_path(Path::new("s3://bucket/key")).unwrap();
    assert_eq!(location.to_local(), Ok(Path::new("./s3://bucket/key")));
    let location = Location::of_path(Path::new("/s3://bucket/key")).unwrap();
    assert_eq!(location.as_str(), "/s3://bucket/key");
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf8_has_no_location() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    assert_eq!(Location::of_path(Path::new(OsStr::from_bytes(b"/x\xff"))), None);
    assert_eq!(Location::of_path(Path::new("")), None);
}

/// Texts that are close to URLs.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "file", "s3", "gs", "az", "hdfs", "http", "https", "FiLe", "localhost", "bucket", "://",
            ":", "//", "/", "..", ".", "%2F", "%", " ", "?", "#", "@", "*", "\t", "\n", "\0",
        ])
        .prop_map(str::to_string),
        1 => ".{0,4}",
    ];
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_location_is_displayed_as_written_and_read_again(text in text()) {
        match Location::parse(&text) {
            Ok(location) => {
                prop_assert_eq!(location.to_string(), text.clone());
                prop_assert_eq!(&text.parse::<Location>().unwrap(), &location);
                let written = serde_json::to_string(&location).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Location>(&written).unwrap(), &location);
                // The name is neither cut nor extended.
                prop_assert!(text.ends_with(location.key()));
                prop_assert!(text.contains(location.authority()));
                prop_assert_eq!(location.to_local().is_ok(), location.scheme() == Scheme::File);
            }
            Err(error) => prop_assert!(!error.to_string().contains(['\n', '\t'])),
        }
    }

    #[test]
    fn every_path_has_a_location(text in text()) {
        prop_assume!(!text.is_empty() && !text.contains('\0'));
        let location = Location::of_path(Path::new(&text)).unwrap();
        prop_assert_eq!(&Location::parse(location.as_str()).unwrap(), &location);
        let local = location.to_local().unwrap().to_str().unwrap();
        prop_assert_eq!(local.strip_prefix("./").filter(|path| *path == text).unwrap_or(local), &text);
    }

    #[test]
    fn an_absolute_path_and_its_url_name_the_same_file(text in text()) {
        let path = format!("/{}", text.replace('\0', ""));
        for location in [parse(&path), parse(&format!("file://{path}"))] {
            prop_assert_eq!(location.to_local(), Ok(Path::new(&path)));
        }
    }

    #[test]
    fn every_key_can_be_named(key in text()) {
        let key = key.replace('\0', "");
        let location = parse(&format!("s3://bucket/{key}"));
        prop_assert_eq!((location.authority(), location.key()), ("bucket", &*key));
    }
}
