//! Compression of blocks: the requested one, and the one that a block actually has.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use windrow_jobs::Compression;

use super::adaptive::Adaptive;

/// How blocks are compressed where that pays; blocks that hardly shrink are stored uncompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// None: for reads on the same machine, where the page cache is faster than any codec.
    None,
    /// LZ4, which keeps up with a fast network.
    Lz4,
    /// Zstandard at its fastest usual level, for slow networks and disks.
    Zstd,
}

impl Codec {
    /// The codec for data that is read on this machine, in a job with this choice.
    pub fn on_this_machine(choice: Option<Compression>) -> Self {
        choice.map_or(Self::None, Self::from)
    }

    /// The codec for data that goes to another machine.
    pub fn between_machines(choice: Option<Compression>) -> Self {
        choice.map_or(Self::Lz4, Self::from)
    }
}

impl From<Compression> for Codec {
    fn from(choice: Compression) -> Self {
        match choice {
            Compression::None => Self::None,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}

/// A block must shrink by at least one part in this many to be stored compressed.
const SAVING_PARTS: usize = 8;

/// Level of Zstandard: higher ones are slower than the disks and networks that they would relieve.
const ZSTD_LEVEL: i32 = 1;

/// How a block's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    Plain = 0,
    Lz4 = 1,
    Zstd = 2,
}

impl Method {
    /// The method with this number in a header.
    pub fn of(number: u8) -> Option<Self> {
        [Self::Plain, Self::Lz4, Self::Zstd].into_iter().find(|method| *method as u8 == number)
    }

    /// Whether `stored` bytes can decompress to `raw` bytes.
    pub fn can_give(self, stored: usize, raw: usize) -> bool {
        match self {
            Self::Plain => raw == stored,
            // One byte of LZ4 decompresses to at most 255 bytes.
            Self::Lz4 => raw <= stored.saturating_mul(255),
            // Four bytes of Zstandard, a block of one repeated byte, decompress to at most 128 KiB.
            Self::Zstd => raw <= stored.saturating_mul(32 << 10),
        }
    }

    /// Decompresses `stored` into `raw`; `None` if that does not give `raw_bytes` bytes.
    pub fn decompress(self, stored: &[u8], raw_bytes: usize, raw: &mut Vec<u8>) -> Option<()> {
        raw.resize(raw_bytes, 0);
        let bytes = match self {
            Self::Plain => return None,
            Self::Lz4 => decompress_into(stored, raw).ok()?,
            Self::Zstd => zstd::bulk::decompress_to_buffer(stored, raw).ok()?,
        };
        (bytes == raw_bytes).then_some(())
    }
}

/// Compresses one block after the other.
pub struct Compressor {
    codec: Codec,
    trials: Adaptive,
    lz4: Option<CompressTable>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Compressor {
    /// A compressor that allocates its memory at the first use.
    pub fn new(codec: Codec) -> Self {
        Self { codec, trials: Adaptive::default(), lz4: None, zstd: None }
    }

    /// Whether to compress the next block: rarely, if that has not paid lately.
    pub fn is_due(&mut self) -> bool {
        self.codec != Codec::None && self.trials.is_due()
    }

    /// Appends `raw` to `out`, compressed; `None`, and `out` has any bytes, if that does not pay.
    pub fn append(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Option<Method> {
        let start = out.len();
        let method = self.compress(self.codec, raw, out);
        let is_smaller = out.len() - start < raw.len() - raw.len() / SAVING_PARTS;
        let paying = method.filter(|_| is_smaller);
        self.trials.report(paying.is_some());
        paying
    }

    /// `None` if the codec fails, for example for want of memory.
    fn compress(&mut self, codec: Codec, raw: &[u8], out: &mut Vec<u8>) -> Option<Method> {
        let start = out.len();
        let (method, bytes) = match codec {
            Codec::None => return None,
            Codec::Lz4 => {
                out.resize(start + get_maximum_output_size(raw.len()), 0);
                let table = self.lz4.get_or_insert_default();
                let bytes = compress_into_with_table(raw, &mut out[start..], table);
                (Method::Lz4, bytes.ok()?)
            }
            Codec::Zstd => {
                if self.zstd.is_none() {
                    self.zstd = Some(zstd::bulk::Compressor::new(ZSTD_LEVEL).ok()?);
                }
                out.resize(start + zstd::zstd_safe::compress_bound(raw.len()), 0);
                let bytes = self.zstd.as_mut()?.compress_to_buffer(raw, &mut out[start..]);
                (Method::Zstd, bytes.ok()?)
            }
        };
        out.truncate(start + bytes);
        Some(method)
    }
}
