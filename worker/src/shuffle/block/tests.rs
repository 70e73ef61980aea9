//! Blocks, whole and broken.

use proptest::collection::vec;
use proptest::prelude::*;
use windrow_jobs::pairs::RecordRef;

use super::codec::Method;
use super::header::reseal;
use super::*;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

const CODECS: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd];

/// All pairs in blocks of about `block_bytes`.
fn blocks(codec: Codec, pairs: &Pairs, block_bytes: usize) -> Vec<Vec<u8>> {
    let mut builder = BlockBuilder::new(codec, block_bytes);
    let mut blocks = Vec::new();
    let mut finish = |builder: &mut BlockBuilder| {
        builder.finish();
        assert!(builder.is_empty());
        blocks.push(builder.take());
    };
    for (key, value) in pairs {
        while !builder.push(RecordRef { key, value }).unwrap() {
            finish(&mut builder);
        }
    }
    finish(&mut builder);
    blocks
}

/// All pairs in one block.
fn encode(codec: Codec, pairs: &Pairs) -> Vec<u8> {
    let blocks = blocks(codec, pairs, 64 << 10);
    assert_eq!(blocks.len(), 1);
    blocks.concat()
}

fn pairs_of(block: &Block) -> Pairs {
    let records = (0..block.len()).map(|index| block.record(index));
    let pairs: Pairs =
        records.clone().map(|record| (record.key.to_vec(), record.value.to_vec())).collect();
    let mut read = Vec::new();
    block.read(0..block.len(), &mut read);
    assert!(read.into_iter().eq(records));
    pairs
}

fn decode(bytes: &[u8]) -> Result<Pairs, BlockError> {
    let mut block = Block::default();
    block.decode_bytes(Bytes::copy_from_slice(bytes))?;
    Ok(pairs_of(&block))
}

/// Sorted pairs whose keys share little or much.
fn pairs() -> impl Strategy<Value = Pairs> {
    let key =
        (0usize..3, vec(0u8..4, 0..12)).prop_map(|(n, key)| [vec![b'k'; n * 90], key].concat());
    vec((key, vec(any::<u8>(), 0..200)), 0..60).prop_map(|mut pairs| {
        pairs.sort();
        pairs
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn pushed_pairs_are_decoded(pairs in pairs(), codec in 0usize..3) {
        let bytes = encode(CODECS[codec], &pairs);
        prop_assert_eq!(Header::read(&bytes)?.block_bytes(), bytes.len());
        prop_assert_eq!(decode(&bytes)?, pairs);
    }

    #[test]
    fn blocks_are_decoded_in_the_same_memory(
        pairs in pairs(), codec in 0usize..3, block_bytes in 200usize..1000,
    ) {
        let (mut block, mut buffer) = (Block::default(), Vec::new());
        let (mut copied, mut taken) = (Vec::new(), Vec::new());
        for bytes in blocks(CODECS[codec], &pairs, block_bytes) {
            block.decode_bytes(Bytes::copy_from_slice(&bytes))?;
            copied.extend(pairs_of(&block));
            buffer.clear();
            buffer.extend_from_slice(&bytes);
            block.decode_buffer(&mut buffer)?;
            taken.extend(pairs_of(&block));
        }
        prop_assert_eq!(&copied, &pairs);
        prop_assert_eq!(&taken, &pairs);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        mut bytes in vec(prop_oneof![0u8..5, any::<u8>()], HEADER_BYTES..200),
        method in 0u8..3,
        layout in 0u8..2,
    ) {
        let stored = (bytes.len() - HEADER_BYTES) as u32;
        bytes[8..12].copy_from_slice(&stored.to_le_bytes());
        if method == Method::Plain as u8 {
            bytes[12..16].copy_from_slice(&stored.to_le_bytes());
        } else {
            bytes[14..16].fill(0);
        }
        bytes[17..20].fill(0);
        bytes[22..24].fill(0);
        bytes[24..28].copy_from_slice(&[method, layout, 0, 0]);
        reseal(&mut bytes);
        // Decoding may succeed; then the pairs must be within bounds, which `record` asserts.
        let copied = decode(&bytes);
        let mut block = Block::default();
        let kept = block.decode_bytes(bytes.clone().into()).map(|()| pairs_of(&block));
        prop_assert_eq!(&copied, &kept);
        let taken = block.decode_buffer(&mut bytes).map(|()| pairs_of(&block));
        prop_assert_eq!(copied, taken);
    }
}

/// Pairs that share much of their keys, or nothing.
fn similar() -> Pairs {
    (0..50u8).map(|n| ([&[b'k'; 20][..], &[n]].concat(), vec![n, 1])).collect()
}

fn different() -> Pairs {
    (0..50u8).map(|n| (vec![n; 3], vec![n, 1])).collect()
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed_in_every_layout_and_codec() {
    for codec in CODECS {
        let whole = blocks(codec, &vec![different(); 6].concat(), 300).pop().unwrap();
        assert_eq!((whole[25], whole[24]), (Layout::Whole as u8, Method::Plain as u8));
        let shared = encode(codec, &similar());
        assert_eq!(shared[25], Layout::SharedPrefixes as u8);
        assert_eq!(shared[24] == Method::Plain as u8, codec == Codec::None);
        for bytes in [whole, shared] {
            for bit in 0..bytes.len() * 8 {
                let mut broken = bytes.clone();
                broken[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&broken).is_err(), "bit {bit}");
            }
            for len in 0..bytes.len() {
                assert_eq!(decode(&bytes[..len]), Err(BlockError::Short), "cut at {len}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(decode(&longer), Err(BlockError::Long));
        }
    }
}

#[test]
fn the_layout_follows_the_savings_of_shared_prefixes() {
    let layouts = |pairs: &Pairs| -> Vec<u8> {
        let mut sorted = pairs.clone();
        sorted.sort();
        blocks(Codec::None, &sorted, 500).iter().map(|block| block[25]).collect()
    };
    let similar: Pairs =
        (0..2000u32).map(|n| ([&[b'k'; 20][..], &n.to_be_bytes()].concat(), vec![])).collect();
    assert!(layouts(&similar).iter().all(|layout| *layout == Layout::SharedPrefixes as u8));
    let long_values: Pairs = similar.iter().map(|(key, _)| (key.clone(), vec![1; 200])).collect();
    let layouts = layouts(&long_values);
    let tried = layouts.iter().filter(|layout| **layout == Layout::SharedPrefixes as u8).count();
    assert!(tried < layouts.len() / 10, "{tried} of {}", layouts.len());
}

#[test]
fn many_small_pairs_end_a_block_so_that_memory_stays_bounded() {
    let tiny: Pairs = vec![(vec![], vec![]); 10_000];
    for block in blocks(Codec::None, &tiny, 48 << 10) {
        assert!(Header::read(&block).unwrap().records() <= 2048);
    }
}

#[test]
fn a_header_that_promises_too_much_is_refused_before_anything_is_allocated() {
    for field in [12, 20] {
        let mut bytes = encode(Codec::None, &vec![(b"key".to_vec(), b"value".to_vec())]);
        bytes[field..field + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        reseal(&mut bytes);
        assert_eq!(decode(&bytes), Err(BlockError::Header));
    }
}

/// A block of one pair with this value, compressed by hand; its header announces `claimed` raw
/// bytes.
fn bomb(method: Method, value_bytes: usize, claimed: Option<usize>) -> Vec<u8> {
    let mut raw = vec![0];
    windrow_jobs::varint::write(value_bytes as u64, &mut raw);
    raw.resize(raw.len() + value_bytes, 0);
    let stored = match method {
        Method::Zstd => zstd::bulk::compress(&raw, 1).unwrap(),
        _ => lz4_flex::block::compress(&raw),
    };
    let raw_bytes = claimed.unwrap_or(raw.len()) as u32;
    let numbers = [stored.len() as u32, raw_bytes, 1, raw_bytes - 5].map(u32::to_le_bytes);
    let mut block = [&[0; 8], numbers.as_flattened(), &[method as u8, 0, 0, 0], &stored].concat();
    reseal(&mut block);
    block
}

#[test]
fn a_decompression_bomb_is_refused() {
    for method in [Method::Lz4, Method::Zstd] {
        // An honest header is refused for its size alone.
        let honest = bomb(method, PACKED_RAW_BYTES_MAX - 5, None);
        assert!(honest.len() < PACKED_RAW_BYTES_MAX / 200);
        assert_eq!(decode(&honest).unwrap()[0].1.len(), PACKED_RAW_BYTES_MAX - 5);
        // It announces too much, and decompression is not even tried.
        let mut claims = Block::default();
        let error = claims.decode_bytes(bomb(method, 64 << 20, None).into());
        assert_eq!((error, claims.data.capacity()), (Err(BlockError::Header), 0));
        // It announces little and holds much: decompression stops at the announced size.
        let mut gives = Block::default();
        let error = gives.decode_bytes(bomb(method, 64 << 20, Some(4 << 20)).into());
        assert_eq!(error, Err(BlockError::Compression));
        assert!(gives.data.capacity() <= 4 << 20);
    }
}

#[test]
fn a_pair_that_is_too_large_for_compression_is_stored_uncompressed() {
    for codec in CODECS {
        let pairs = vec![(vec![], vec![7; PACKED_RAW_BYTES_MAX])];
        let bytes = encode(codec, &pairs);
        assert_eq!(bytes[24], Method::Plain as u8);
        assert_eq!(decode(&bytes), Ok(pairs));
    }
}

#[test]
fn a_key_that_shares_more_than_the_previous_key_is_refused() {
    let mut bytes = encode(Codec::None, &similar());
    let second_pair = HEADER_BYTES + 3 + 21 + 2;
    assert_eq!(bytes[second_pair], 20);
    bytes[second_pair] = 22;
    reseal(&mut bytes);
    assert_eq!(decode(&bytes), Err(BlockError::Pairs));
}

/// Found by fuzzing: the sum overflowed before it was checked.
#[test]
fn a_shared_length_that_overflows_is_refused() {
    let mut raw = vec![0, 1, 0, b'k'];
    windrow_jobs::varint::write(u64::MAX, &mut raw);
    raw.extend_from_slice(&[0, 0]);
    let bytes = raw.len() as u32;
    let numbers = [bytes, bytes, 2, 1].map(u32::to_le_bytes);
    let head = [&[0; 8], numbers.as_flattened(), &[0, Layout::SharedPrefixes as u8, 0, 0]].concat();
    let mut block = [head, raw].concat();
    reseal(&mut block);
    assert_eq!(decode(&block), Err(BlockError::Pairs));
}
