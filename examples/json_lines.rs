//! Sums bytes by status code over logs in JSON lines.
//!
//!     cargo run --release --example json_lines -- run traffic \
//!         --input 'logs/*.json' --output traffic

use std::process::ExitCode;

use serde::Deserialize;
use windrow::prelude::*;

/// The fields that the job needs; others are ignored.
#[derive(Deserialize)]
struct Request {
    status: u16,
    #[serde(default)]
    bytes: u64,
}

struct Traffic;

impl Mapper for Traffic {
    type Input = JsonLines<Request>;
    type Key = u16;
    type Value = u64;

    fn map(&self, request: Request, out: &mut impl Emit<u16, u64>) -> Result<()> {
        out.count("requests", 1);
        out.emit(request.status, request.bytes)
    }
}

fn main() -> ExitCode {
    windrow::main([Job::new("traffic", Traffic).combine(Sum).reduce(Sum)])
}
