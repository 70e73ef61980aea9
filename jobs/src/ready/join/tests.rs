//! Compares joins with nested loops over both tables.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::tests::run_two;
use super::*;

/// The join, row by row.
fn nested_loops(left: &[(u8, u8)], right: &[(u8, u8)], kind: Kind) -> Vec<String> {
    let mut rows = Vec::new();
    for (key, l) in left {
        let partners: Vec<_> = right.iter().filter(|row| row.0 == *key).collect();
        rows.extend(partners.iter().map(|(_, r)| format!("k{key},l{l},r{r}")));
        if partners.is_empty() && matches!(kind, Kind::Left | Kind::Full) {
            rows.push(format!("k{key},l{l},"));
        }
    }
    for (key, r) in right {
        if matches!(kind, Kind::Right | Kind::Full) && left.iter().all(|row| row.0 != *key) {
            rows.push(format!("k{key},,r{r}"));
        }
    }
    rows.sort();
    rows
}

proptest! {
    #[test]
    fn a_join_equals_nested_loops(
        left in vec((0..4_u8, 0..4_u8), 0..8),
        right in vec((0..4_u8, 0..4_u8), 0..8),
        which in 0..4_usize,
    ) {
        let (name, kind) =
            [("inner", Kind::Inner), ("left", Kind::Left), ("right", Kind::Right), ("full", Kind::Full)][which];
        let left_file: String = left.iter().map(|(key, l)| format!("k{key},l{l}\n")).collect();
        let right_file: String = right.iter().map(|(key, r)| format!("r{r},k{key}\n")).collect();
        let flags = ["--by", "1", "--right-by", "2", "--kind", name, "--left-columns", "2", "--right-columns", "2"];
        let text = run_two(&join(), &flags, &[("l", &left_file)], &[("r", &right_file)]);
        let mut rows: Vec<_> = text.lines().map(str::to_string).collect();
        rows.sort();
        prop_assert_eq!(rows, nested_loops(&left, &right, kind));
    }
}

#[test]
fn keys_are_compared_and_written_as_text() {
    let left = [("l.csv", "id,name\n\"a,1\",\"Green, upper\"\nb,Hill\n")];
    let right = [("r.csv", "crop,id\noats,\"a,1\"\n\"say \"\"rye\"\"\",\"b\"\n")];
    let text = run_two(&join(), &["--by", "id"], &left, &right);
    assert_eq!(text, "\"a,1\",\"Green, upper\",oats\nb,Hill,\"say \"\"rye\"\"\"\n");
    let flags =
        ["--by", "name,id", "--right-by", "crop,id", "--kind", "left", "--right-columns", "3"];
    let right = [("r.csv", "crop,id,n\nHill,b,3\n")];
    let text = run_two(&join(), &flags, &left, &right);
    assert_eq!(text, "\"Green, upper\",\"a,1\",\nHill,b,3\n");
    let flags = ["--by", "1", "--delimiter", "tab"];
    assert_eq!(run_two(&join(), &flags, &[("l", "\"a\tx\n")], &[("r", "\"a\ty\n")]), "\"a\tx\ty\n");
    let flags = ["--by", "1,2", "--delimiter", "tab"];
    assert_eq!(run_two(&join(), &flags, &[("l", "\"a\tx\n")], &[("r", "\"a\tx\n")]), "\"a\tx\n");
}

#[test]
fn mistakes_are_named() {
    let error = |flags: &[&str]| super::super::tests::error(&join(), flags, &[("l", "a,b\n")]);
    assert_eq!(
        error(&["--by", "1", "--kind", "full"]),
        "job join: this kind of join needs --left-columns: how many are left empty where the left table has no row"
    );
    assert_eq!(
        error(&["--by", "1", "--right-by", "1,2"]),
        "job join: --by and --right-by must name the same number of columns"
    );
    assert_eq!(
        error(&["--by", "1", "--left-columns", "3"]),
        "l at byte 0: the row has 2 columns instead of 3"
    );
}
