//! The wire contract between Windrow's clients, coordinator and workers: the generated code of
//! `windrow/v1/*.proto`, and nothing else.
//!
//! Domain types never depend on these messages; each side converts at its edge, in `rpc/convert.rs`.

/// The messages and services; additions keep this name.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, unused_qualifications, rust_2018_idioms)]
pub mod v1 {
    tonic::include_proto!("windrow.v1");
}

/// Number of this contract. Peers with different numbers refuse each other by name of both.
pub const PROTOCOL_VERSION: u32 = 2;

/// The compiled description of all services and messages, a `google.protobuf.FileDescriptorSet`: for tests that must know
/// every method that there is.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
