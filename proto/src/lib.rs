//! The wire contract between Windrow's clients, coordinator and workers: the generated code of
//! `windrow/v1/*.proto`, and how its packed fields are written and read.
//!
//! Domain types never depend on these messages; each side converts at its edge, in `rpc/convert`.

pub mod pieces;
pub mod planes;
pub mod protocols;
pub mod runs;

/// The messages and services; additions keep this name.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, unused_qualifications, rust_2018_idioms)]
pub mod v1 {
    tonic::include_proto!("windrow.v1");
}

/// The highest protocol that this build speaks.
pub const PROTOCOL_VERSION: u32 = 4;

/// The lowest protocol that this build speaks. Messages and fields may be added without a new
/// number, since unknown ones are ignored; a number is for changes that the other side must know
/// of.
pub const PROTOCOL_MIN: u32 = 4;

/// The compiled description of all services and messages, a `google.protobuf.FileDescriptorSet`:
/// for tests that must know every method that there is.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
