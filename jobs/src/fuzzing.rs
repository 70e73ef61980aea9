//! Fuzz targets for `fuzz/`: the decoders of this crate, and the types by which all crates describe
//! their targets. Not for users.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use crate::input::{
    Chunk, Column, Delimited, FixedRecords, Format, JsonLines, Line, LineBytes, Position,
};
use crate::value::Decimal;
use crate::{BadRecordBudget, Digest, GlibcVersion, Key, Value, side_files, varint};

/// A decoder of foreign bytes, to be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name by which people choose it.
    pub name: &'static str,
    /// Valid inputs, which the fuzzer mutates.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Panics unless the input is refused or decoded correctly.
    pub check: fn(&[u8]),
    /// How much memory the check may use.
    pub heap: HeapBound,
}

/// Most memory that a target may hold at once.
#[derive(Clone, Copy, Debug)]
pub struct HeapBound {
    /// Bytes for any input.
    pub fixed: usize,
    /// Additional bytes for each byte of input.
    pub times: usize,
}

impl HeapBound {
    /// For targets that decode Protobuf: a field of two bytes can become a struct of some hundred
    /// bytes.
    pub const MESSAGES: Self = Self { fixed: 64 << 10, times: 1 << 10 };
    /// For targets that hold little more than their input.
    pub const SMALL: Self = Self { fixed: 64 << 10, times: 64 };

    /// The bound for an input of this size.
    pub fn bytes_max(self, input_bytes: usize) -> usize {
        self.fixed + self.times * input_bytes
    }
}

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    Target { name: "keys", seeds: key_seeds, check: keys, heap: HeapBound::SMALL },
    Target { name: "values", seeds: value_seeds, check: values, heap: HeapBound::SMALL },
    Target { name: "varints", seeds: varint_seeds, check: varints, heap: HeapBound::SMALL },
    Target { name: "records", seeds: record_seeds, check: records, heap: HeapBound::SMALL },
    Target { name: "words", seeds: word_seeds, check: words, heap: HeapBound::SMALL },
];

fn key_seeds() -> Vec<Vec<u8>> {
    let tuple =
        encoded_key::<(String, Reverse<String>, Option<i64>)>(("a\0b", Reverse("c"), Some(-1)));
    vec![b"text".to_vec(), encoded_key::<u64>(1 << 40), tuple, vec![1], "é".into()]
}

fn encoded_key<K: Key + ?Sized>(key: K::Ref<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    K::encode(key, &mut bytes);
    bytes
}

fn keys(bytes: &[u8]) {
    key::<str>(bytes);
    key::<[u8]>(bytes);
    key::<bool>(bytes);
    key::<char>(bytes);
    key::<i16>(bytes);
    key::<u64>(bytes);
    key::<i128>(bytes);
    key::<Option<Vec<u8>>>(bytes);
    key::<Reverse<(u8, String)>>(bytes);
    key::<(String, Reverse<String>, Option<i64>)>(bytes);
    key::<((Vec<u8>, Option<String>), Reverse<i32>, ())>(bytes);
}

/// Bytes that decode are exactly the encoding of the decoded key.
fn key<K: Key + ?Sized>(bytes: &[u8]) {
    if let Ok(decoded) = K::decode(bytes) {
        let mut again = encoded_key::<K>(K::view(&decoded));
        assert_eq!(again, bytes, "{}", std::any::type_name::<K>());
        K::write_text(K::view(&decoded), &mut again);
    }
}

type Tree = crate::value::Serde<(BTreeMap<String, Vec<i64>>, Option<char>)>;

fn value_seeds() -> Vec<Vec<u8>> {
    let triple = encoded_value::<(String, Option<Vec<u8>>, u64)>(("barn", Some(&b"x"[..]), 300));
    let tree = (BTreeMap::from([("a".to_string(), vec![1, -2])]), Some('x'));
    let tree = encoded_value::<Tree>(&tree);
    vec![triple, tree, b"text".to_vec(), vec![0x2c, 0x01], 0.5f64.to_le_bytes().to_vec()]
}

/// Encodes a value that can be encoded: it was decoded, or made here.
fn encoded_value<V: Value + ?Sized>(value: V::Ref<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(V::encode(value, &mut bytes).is_ok(), "{}", std::any::type_name::<V>());
    bytes
}

fn values(bytes: &[u8]) {
    value::<str>(bytes);
    value::<[u8]>(bytes);
    value::<bool>(bytes);
    value::<char>(bytes);
    value::<u8>(bytes);
    value::<i64>(bytes);
    value::<u128>(bytes);
    value::<f32>(bytes);
    value::<f64>(bytes);
    value::<Decimal>(bytes);
    value::<Option<Option<String>>>(bytes);
    value::<(String, Option<Vec<u8>>, u64)>(bytes);
    value::<Tree>(bytes);
    value::<(Tree, u8)>(bytes);
}

/// Bytes that decode keep their meaning.
fn value<V: Value + ?Sized>(bytes: &[u8]) {
    let Ok(decoded) = V::decode(bytes) else { return };
    let name = std::any::type_name::<V>();
    let again = encoded_value::<V>(V::view(&decoded));
    let Ok(decoded) = V::decode(&again) else { panic!("{name}: its own encoding is refused") };
    assert_eq!(encoded_value::<V>(V::view(&decoded)), again, "{name}");
    // May fail, for a value that has no text.
    let _ = V::write_text(V::view(&decoded), &mut Vec::new());
}

fn varint_seeds() -> Vec<Vec<u8>> {
    let numbers = [0, 0x7f, 0x80, u64::from(u32::MAX), u64::MAX];
    let encoded = |number| {
        let mut bytes = Vec::new();
        varint::write(number, &mut bytes);
        bytes
    };
    numbers.map(encoded).to_vec()
}

fn varints(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(number) = varint::read(&mut rest) {
        let mut again = Vec::new();
        varint::write(number, &mut again);
        assert!(bytes[..bytes.len() - rest.len()].ends_with(&again));
    }
}

fn record_seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 4] = [
        b"name,area\n\"Greenfield, upper\",7\r\n\nHay,8",
        b"a\tb\nc\td\n",
        b"{\"page\": \"/\", \"seconds\": [1.5, null]}\n\n3\n",
        b"\xff\xfe\n\"x",
    ];
    texts.map(<[u8]>::to_vec).to_vec()
}

fn records(bytes: &[u8]) {
    let bytes_of_one =
        NonZeroUsize::MIN.saturating_add(bytes.first().map_or(0, |byte| *byte as usize));
    for lossy in [false, true] {
        for format in [Delimited::csv(), Delimited::csv().with_header(), Delimited::tsv()] {
            read(&format, bytes, lossy);
        }
        read(&JsonLines::<serde_json::Value>::default(), bytes, lossy);
        read(&FixedRecords { bytes: bytes_of_one }, bytes, lossy);
        read(&Line, bytes, lossy);
        read(&LineBytes, bytes, lossy);
    }
}

/// Records come in order; records and errors lie within the file.
fn read<F: Format>(format: &F, bytes: &[u8], lossy: bool) {
    let mut chunk = Chunk::new("file", bytes);
    chunk.lossy = lossy;
    let mut next = 0;
    let result = format.for_each(&chunk, |Position { offset, .. }, _| {
        assert!(offset >= next && offset < bytes.len() as u64, "a record at {offset}");
        next = offset + 1;
        Ok(())
    });
    if let Err(error) = result {
        assert!(error.offset <= bytes.len() as u64, "{error:?}");
    }
}

fn word_seeds() -> Vec<Vec<u8>> {
    let digest = Digest([0xa5; 32]).to_string();
    ["3", "0.01%", "1e-3%", "stop-words", "7", "area", "2.34", "-12.50", &digest]
        .map(|word| word.as_bytes().to_vec())
        .to_vec()
}

/// Short texts from users: budgets, columns, numbers, names.
fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(budget) = text.parse::<BadRecordBudget>() {
        let Ok(again) = budget.to_string().parse() else { panic!("{budget} is refused") };
        assert!(budget.records() == BadRecordBudget::records(again) && budget.covers(0, 0));
    }
    if let Ok(column) = text.parse::<Column>() {
        assert_eq!(column.to_string().parse().ok(), Some(column));
    }
    if let Ok(number) = Decimal::parse(bytes) {
        assert_eq!(Decimal::parse(number.to_string().as_bytes()).ok(), Some(number));
    }
    if let Some(digest) = Digest::from_hex(text) {
        assert_eq!(digest.to_string(), text);
    }
    if let Some(version) = GlibcVersion::parse(text) {
        assert_eq!(GlibcVersion::parse(&version.to_string()), Some(version));
    }
    if side_files::check_name(text).is_ok() {
        assert!(!text.contains(['/', '\0', '\n']) && text != "..");
    }
}
