//! The wire contract between Windrow's clients, coordinator and workers: the code generated from
//! `windrow/v1/*.proto`, and the encoding of packed fields.
//!
//! Domain types do not depend on these messages; each side converts in `rpc/convert`.

pub mod fragments;
pub mod planes;
pub mod protocols;
pub mod runs;

/// Messages and services. Compatible additions stay in `v1`.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, unused_qualifications, rust_2018_idioms)]
pub mod v1 {
    include!("generated/windrow.v1.rs");
}

/// The highest protocol that this build speaks.
pub const PROTOCOL_VERSION: u32 = 5;

/// The lowest protocol that this build speaks. New messages and fields need no new number, since
/// unknown ones are ignored; a new number is for changes that the other side must know of.
pub const PROTOCOL_MIN: u32 = 5;

/// Most bytes of output in one `Printed` message.
pub const PRINTED_BYTES_MAX: usize = 64 << 10;

/// Most tasks in one `Printed` message.
pub const PRINTED_TASKS_MAX: usize = 100_000;
