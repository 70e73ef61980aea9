//! Tests that the fields are those of RFC 4180, wherever files are cut.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::input::tests::records_in_ranges_of;

fn table(format: Delimited, bytes: &[u8]) -> Result<Vec<Vec<String>>, RecordError> {
    let mut all = Vec::new();
    format.for_each(&Chunk::new("hay.csv", bytes), |_, fields| {
        all.push(fields.iter().map(|field| String::from_utf8_lossy(&field).into_owned()).collect());
        Ok(())
    })?;
    Ok(all)
}

/// A field that may need quotes.
fn field() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('"'), Just(','), Just('\t'), Just('\r'), Just('a'), Just('é')], 0..6)
        .prop_map(String::from_iter)
}

fn written(rows: &[Vec<String>], always: bool, crlf: bool) -> Vec<u8> {
    let mut file = Vec::new();
    for row in rows {
        for (index, field) in row.iter().enumerate() {
            if index > 0 {
                file.push(b',');
            }
            if always {
                file.extend(format!("\"{}\"", field.replace('"', "\"\"")).bytes());
            } else {
                write_quoted(field.as_bytes(), b',', &mut file);
            }
        }
        file.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
    }
    file
}

proptest! {
    #[test]
    fn written_fields_are_read_back(
        rows in vec(vec(field(), 1..5), 0..8),
        always: bool,
        crlf: bool,
    ) {
        let not_blank = |row: &Vec<String>| always || row.len() > 1 || !row[0].is_empty();
        let expected: Vec<_> = rows.iter().filter(|row| not_blank(row)).cloned().collect();
        let file = written(&rows, always, crlf);
        prop_assert_eq!(table(Delimited::csv(), &file).unwrap(), expected);
    }

    #[test]
    fn every_row_once_wherever_files_are_cut(
        rows in vec(vec(field(), 1..5), 0..8),
        range_bytes in 1..40_usize,
        header: bool,
    ) {
        let file = written(&rows, false, false);
        let format = Delimited { header, ..Delimited::csv() };
        let cut = records_in_ranges_of(&format, &file, range_bytes);
        let whole = records_in_ranges_of(&format, &file, file.len().max(1));
        prop_assert_eq!(cut, whole);
    }

    #[test]
    fn the_first_columns_are_the_same(
        rows in vec(vec(field(), 1..5), 0..8),
        columns in 0..4_usize,
    ) {
        let file = written(&rows, false, true);
        let chunk = Chunk::new("hay.csv", &file);
        let mut first = Vec::new();
        let (format, header) = (Delimited::csv(), Header::default());
        let records = format.rows(&chunk, &header, columns, |_, fields| {
            first.push(fields.iter().map(|field| field.into_owned()).collect::<Vec<_>>());
            Ok(())
        }).unwrap();
        let all = table(format, &file).unwrap();
        prop_assert_eq!(records as usize, all.len());
        for (first, all) in first.iter().zip(&all) {
            let expected: Vec<_> = all.iter().take(columns).map(|f| f.as_bytes().to_vec()).collect();
            prop_assert_eq!(first, &expected);
        }
    }
}

#[test]
fn ends_of_lines_and_files() {
    let rows = table(Delimited::csv(), b"a,\r\n\r\n\n,b\nc,d\r").unwrap();
    assert_eq!(rows, [["a", ""], ["", "b"], ["c", "d\r"]]);
    let keep = Delimited { blank_lines: true, ..Delimited::csv() };
    assert_eq!(table(keep, b"a\n\n").unwrap(), [["a"], [""]]);
    assert_eq!(table(Delimited::tsv(), b"\"a\tb,c\n").unwrap(), [["\"a", "b,c"]]);
}

#[test]
fn a_line_break_in_quotes_is_an_error_with_its_place() {
    let error = table(Delimited::csv(), b"a,b\nc,\"d\ne\",f\n").unwrap_err();
    assert_eq!(error.offset, 6);
    assert!(error.message.starts_with("a quoted field does not end on its line"));
    let error = table(Delimited::csv(), b"\"a\"b,c\n").unwrap_err();
    assert_eq!((error.offset, &*error.message), (3, "text follows a closing quote"));
    // The bad field is behind the wanted columns.
    let chunk = Chunk::new("hay.csv", b"a,b,\"c\nd\",e,f\n");
    assert!(Delimited::csv().rows(&chunk, &Header::default(), 1, |_, _| Ok(())).is_err());
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_field() {
    let file = b"\xef\xbb\xbf\"a\",b\n\xef\xbb\xbfc,d\n";
    let rows = table(Delimited::csv(), file).unwrap();
    assert_eq!(rows, [["a", "b"], ["\u{feff}c", "d"]]);
    let later = Chunk { offset: 9, ..Chunk::new("hay.csv", b"\xef\xbb\xbfc\n") };
    Delimited::csv()
        .for_each(&later, |_, fields| {
            assert_eq!(fields.line(), "\u{feff}c".as_bytes());
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_header_ends_on_its_line() {
    let chunk = Chunk { header: b"a,\"b\nc\"\n", ..Chunk::new("hay.csv", b"1,2\n") };
    let error = Delimited::csv().with_header().header_of(&chunk).unwrap_err();
    assert_eq!(error.offset, 2);
    assert!(error.message.starts_with("a quoted field does not end on its line"));
}

#[test]
fn columns_have_names() {
    let format = Delimited::csv().with_header();
    let chunk = Chunk::new("hay.csv", b"\xef\xbb\xbfid,\"the, name\",id\r\n1,oats,2\n");
    let mut seen = 0;
    format
        .for_each(&chunk, |_, fields| {
            seen += 1;
            assert_eq!(&*fields.named("the, name").unwrap(), b"oats");
            assert_eq!(&*fields.named("id").unwrap(), b"1");
            let message = fields.named("price").unwrap_err().to_string();
            assert_eq!(message, "there is no column 'price'; there are: id, the, name, id");
            let message = fields.get(3).unwrap_err().to_string();
            assert_eq!(message, "there is no column 4: the record has 3 columns");
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, 1);
    // A later chunk has the header in its own field.
    let later = Chunk { offset: 30, header: b"x,y\r\n", ..Chunk::new("hay.csv", b"1,2\n") };
    assert_eq!(format.header_of(&later).unwrap().names().collect::<Vec<_>>(), [b"x", b"y"]);
}

#[test]
fn fields_are_numbers_with_and_without_quotes() {
    let chunk = Chunk::new("hay.csv", b"12,x\n\"-0.5\",x\nrye,x\n");
    let mut numbers = Vec::new();
    let mut plain = Vec::new();
    Delimited::csv()
        .for_each(&chunk, |_, fields| {
            numbers.push(fields.number(0).map_or_else(|e| e.to_string(), |n| n.to_string()));
            plain.push(fields.plain(0).is_some());
            let message = fields.number(2).unwrap_err().to_string();
            assert_eq!(message, "there is no column 3: the record has 2 columns");
            Ok(())
        })
        .unwrap();
    assert_eq!(numbers, ["12", "-0.5", "'rye' is not a number"]);
    assert_eq!(plain, [true, false, true]);
}
