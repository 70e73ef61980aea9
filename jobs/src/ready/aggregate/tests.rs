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
fn counting_lines_is_uniq_c() {
    let log = ("a.log", "\"GET /\" 200\n\nit's 5\"\n\"\n\"GET /\" 200\r\n\n\"x\n");
    let expected = "\t2\n\"\t1\n\"GET /\" 200\t2\n\"x\t1\nit's 5\"\t1\n";
    assert_eq!(run(&count(), &["--by", "0"], &[log]), expected);
    assert_eq!(run(&count(), &["--by", "0", "--header"], &[("a", "x\ny\n\n")]), "\t1\ny\t1\n");
    // A column makes the input a table.
    let message = error(&sum(), &["--by", "0", "--column", "1"], &[log]);
    assert_eq!(message, "a.log at byte 7: text follows a closing quote");
}

#[test]
fn a_key_with_a_tab_is_quoted() {
    let file = ("a.csv", "\"a\tb\",1\n\"\"\"c\"\"\",2\nd,3\n");
    assert_eq!(run(&count(), &["--by", "1"], &[file]), "\"\"\"c\"\"\"\t1\n\"a\tb\"\t1\nd\t1\n");
    assert_eq!(run(&count(), &["--by", "1", "--no-quotes"], &[("a", "\"x,1\n")]), "\"x\t1\n");
}

#[test]
fn a_byte_order_mark_is_not_part_of_a_key() {
    let files = [("a", "\u{feff}hay,1\nhay,2\n"), ("b", "\u{feff}n,crop\n3,hay\n")];
    assert_eq!(run(&sum(), &["--by", "1", "--column", "2"], &files[..1]), "hay\t3\n");
    assert_eq!(run(&sum(), &["--by", "crop", "--column", "n"], &files[1..]), "hay\t3\n");
    let message = error(&sum(), &["--column", "1"], &[("a", "\u{feff}n,1\n")]);
    assert!(message.ends_with("then say --header)"), "{message}");
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
