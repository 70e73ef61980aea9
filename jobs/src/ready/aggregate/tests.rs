//! Aggregates by number and by name of columns.

use super::super::tests::{error, run};
use super::*;

const FILES: [(&str, &str); 2] = [
    ("a.csv", "crop,farm,tons\nhay,\"Green, upper\",1.5\nrye,Hill,-2\r\n"),
    ("b.csv", "tons,crop,farm\n0.25,hay,Hill\n\n10,\"hay\",Hill\n"),
];

#[test]
fn columns_are_found_by_name_in_each_file() {
    assert_eq!(run(&sum(), &["--by", "crop", "--column", "tons"], &FILES), "hay\t11.75\nrye\t-2\n");
    assert_eq!(run(&max(), &["--by", "crop", "--column", "tons"], &FILES), "hay\t10\nrye\t-2\n");
    assert_eq!(
        run(&min(), &["--by", "farm", "--column", "tons"], &FILES),
        "Green, upper\t1.5\nHill\t-2\n"
    );
    assert_eq!(run(&mean(), &["--column", "tons"], &FILES), "2.4375\n");
    assert_eq!(
        run(&count(), &["--by", "farm,crop"], &FILES),
        "Green, upper\thay\t1\nHill\thay\t2\nHill\trye\t1\n"
    );
    assert_eq!(run(&count(), &["--header"], &FILES), "4\n");
}

#[test]
fn columns_are_counted_from_one() {
    let file = ("a.tsv", "a\t1\nb\t2\na\t0.5\n");
    let flags = ["--delimiter", "tab", "--by", "1", "--column", "2"];
    assert_eq!(run(&sum(), &flags, &[file]), "a\t1.5\nb\t2\n");
    assert_eq!(run(&count(), &["--by", "0"], &[("a", "x,y\nz\nx,y\n")]), "x,y\t2\nz\t1\n");
    assert_eq!(run(&count(), &[], &[("a", "")]), "");
}

#[test]
fn keys_of_several_columns_are_never_mixed_up() {
    let file = ("a.csv", "\"a\tb\",c\na,\"b\tc\"\n");
    assert_eq!(run(&count(), &["--by", "1,2"], &[file]), "\"a\tb\"\tc\t1\na\t\"b\tc\"\t1\n");
}

#[test]
fn mistakes_are_named() {
    let by_number = ["--by", "1", "--column", "3"];
    assert_eq!(
        error(&sum(), &by_number, &FILES),
        "a.csv at byte 0: 'tons' is not a number (is it a header? then say --header)"
    );
    assert_eq!(
        error(&sum(), &["--column", "price"], &FILES[1..]),
        "b.csv at byte 0: there is no column 'price'; there are: tons, crop, farm"
    );
    assert_eq!(
        error(&sum(), &["--column", "2"], &[("a", "1,2\n3\n")]),
        "a at byte 4: there is no column 2: the record has 1 column"
    );
    assert_eq!(
        error(&sum(), &["--column", "0"], &FILES),
        "job sum: there is no column 0: they are counted from 1"
    );
    assert_eq!(
        error(&count(), &["--by", "crop", "--header", "false"], &FILES),
        "job count: column 'crop' needs a header: leave out --header false"
    );
    assert_eq!(
        error(&count(), &["--delimiter", "::"], &FILES),
        "job count: bad delimiter '::': it is one ASCII character, or 'tab'"
    );
}

#[test]
fn sums_are_exact_or_an_error() {
    let large = "5000000000000000000000000000000000000\n".repeat(2);
    let message = error(&sum(), &["--column", "1"], &[("a", &large)]);
    assert!(message.ends_with("the sum has more than 36 digits"), "{message}");
}
