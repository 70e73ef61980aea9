//! Compares sorted output with the standard library's sort.

use std::cmp::{Ordering, Reverse};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::tests::{error, run};
use super::*;

fn lines_of(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn joined(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

fn column(line: &str, index: usize) -> &str {
    line.split(',').nth(index).unwrap_or_default()
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or(0)
}

fn table() -> impl Strategy<Value = String> {
    vec("[ab\0\u{ff}]{0,3},-?[0-9]{1,3}(,[ab]{0,2})?|", 0..20)
        .prop_map(|lines| lines.iter().map(|line| format!("{line}\n")).collect())
}

proptest! {
    #[test]
    fn whole_lines(text in table(), reverse: bool, unique: bool) {
        let mut expected = lines_of(&text);
        expected.sort_by(|a, b| if reverse { b.cmp(a) } else { a.cmp(b) });
        if unique {
            expected.dedup();
        }
        let mut flags = Vec::new();
        flags.extend(reverse.then_some("-r"));
        flags.extend(unique.then_some("-u"));
        prop_assert_eq!(run(&sort(), &flags, &[("a", &text)]), joined(&expected));
    }

    #[test]
    fn by_columns(text in table(), which in 0..3_usize, reverse: bool, header: bool) {
        type Compare = fn(&str, &str) -> Ordering;
        let (key, by_key): (&str, Compare) = [
            ("2n,1", (|a, b| (number(column(a, 1)), column(a, 0)).cmp(&(number(column(b, 1)), column(b, 0)))) as Compare),
            ("1", |a, b| column(a, 0).cmp(column(b, 0))),
            ("1:r,3,2nr", |a, b| {
                let key = |line| (Reverse(column(line, 0)), column(line, 2), Reverse(number(column(line, 1))));
                key(a).cmp(&key(b))
            }),
        ][which];
        let (key, reverse) = if reverse && which == 1 { ("1", true) } else { (key, false) };
        let text = if header { format!("z,head\n{text}") } else { text };
        let mut lines = lines_of(&text);
        let head: Vec<_> = lines.drain(..usize::from(header)).collect();
        let direction = |order: Ordering| if reverse { order.reverse() } else { order };
        let mut flags = vec!["--key", key];
        flags.extend(header.then_some("--header"));
        flags.extend(reverse.then_some("--reverse"));
        let files = [("a", &*text)];

        let mut last_resort = lines.clone();
        last_resort.sort_by(|a, b| direction(by_key(a, b).then(a.cmp(b))));
        let expected = joined(&[&head[..], &last_resort].concat());
        prop_assert_eq!(run(&sort(), &flags, &files), expected);

        let mut stable = lines.clone();
        stable.sort_by(|a, b| direction(by_key(a, b)));
        let expected = joined(&[&head[..], &stable].concat());
        prop_assert_eq!(run(&sort(), &[&flags[..], &["--stable"]].concat(), &files), expected);

        stable.dedup_by(|a, b| by_key(a, b).is_eq());
        let expected = joined(&[&head[..], &stable].concat());
        prop_assert_eq!(run(&sort(), &[&flags[..], &["--unique"]].concat(), &files), expected);
    }

    #[test]
    fn fixed_records(
        text in "([ab]{5}){0,20}",
        from in 0..4_usize,
        reverse: bool,
        which in 0..3_usize,
    ) {
        let range = format!("{from}..{}", from + 2);
        let key = |record: &&[u8]| record[from..from + 2].to_vec();
        let direction = |order: Ordering| if reverse { order.reverse() } else { order };
        let mut records: Vec<&[u8]> = text.as_bytes().chunks(5).collect();
        let others = |record: &&[u8]| [&record[..from], &record[from + 2..]].concat();
        match which {
            0 => records.sort_by(|a, b| direction(key(a).cmp(&key(b)).then(others(a).cmp(&others(b))))),
            _ => records.sort_by(|a, b| direction(key(a).cmp(&key(b)))),
        }
        if which == 2 {
            records.dedup_by_key(|record| key(record));
        }
        let mut flags = vec!["--record-bytes", "5", "--key-bytes", &range];
        flags.extend(reverse.then_some("-r"));
        flags.extend([&[][..], &["-s"], &["-u"]][which]);
        let expected = String::from_utf8(records.concat()).unwrap();
        prop_assert_eq!(run(&sort(), &flags, &[("a", &text)]), expected);
    }
}

#[test]
fn the_first_files_header_leads() {
    let files = [("a", "name,n\nb,1\n"), ("b", "name,n\na,2\n")];
    assert_eq!(run(&sort(), &["-k", "n:nr"], &files), "name,n\na,2\nb,1\n");
    assert_eq!(run(&sort(), &["--header", "-r"], &files), "name,n\nb,1\na,2\n");
    // An empty file has no header.
    let files = [("0", ""), files[0], ("a2", ""), files[1]];
    assert_eq!(run(&sort(), &["-k", "n:nr"], &files), "name,n\na,2\nb,1\n");
    assert_eq!(run(&sort(), &["--header"], &files), "name,n\na,2\nb,1\n");
}

#[test]
fn lines_are_kept_unchanged() {
    let text = "\"b,x\",1\n\nc,\"\"\na\n";
    assert_eq!(run(&sort(), &["-k1"], &[("a", text)]), "\na\n\"b,x\",1\nc,\"\"\n");
    assert_eq!(run(&sort(), &["-n"], &[("a", "10\"\n9,\"\nx\n")]), "x\n9,\"\n10\"\n");
}

#[test]
fn mistakes_are_named() {
    let files = [("a", "x\n")];
    assert_eq!(
        error(&sort(), &["-k", "2x"], &files),
        "job sort: sort key '2x': there is no flag 'x', only n (numeric) and r (reverse)"
    );
    assert_eq!(
        error(&sort(), &["--record-bytes", "10", "--key-bytes", "8..12"], &files),
        "job sort: bad --key-bytes '8..12': it is FROM..TO, within 0..10"
    );
    assert_eq!(
        error(&sort(), &["--record-bytes", "3"], &files),
        "a at byte 0: a record of 3 bytes is cut short after 2"
    );
}

#[test]
fn the_whole_line_takes_its_own_flags() {
    let files = [("a", "a\nc\nb\n")];
    assert_eq!(run(&sort(), &["--key", "0r"], &files), "c\nb\na\n");
    assert_eq!(run(&sort(), &["--key", "0"], &files), "a\nb\nc\n");
    assert_eq!(run(&sort(), &["--reverse"], &files), "c\nb\na\n");
}
