//! A job as a user would write it: strings, serde values, nothing tuned. This program is its
//! executable.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use windrow::prelude::*;
use windrow::value::Serde;

/// The traffic of one path of an access log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    pub requests: u64,
    pub bytes: u64,
    pub largest: u64,
    pub methods: Vec<String>,
}

impl Traffic {
    /// From a row: time, client, method, path, status, bytes.
    pub fn of(row: &str) -> Option<(String, Self)> {
        let mut fields = row.split(',');
        let method = fields.nth(2)?.to_string();
        let path = fields.next()?.to_string();
        let bytes = fields.nth(1)?.parse().ok()?;
        Some((path, Self { requests: 1, bytes, largest: bytes, methods: vec![method] }))
    }

    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.largest = self.largest.max(other.largest);
        for method in &other.methods {
            if !self.methods.contains(method) {
                self.methods.push(method.clone());
                self.methods.sort();
            }
        }
    }
}

struct Rows;

impl Mapper for Rows {
    type Input = Line;
    type Key = String;
    type Value = Serde<Traffic>;

    fn map(&self, row: &str, out: &mut impl Emit<String, Self::Value>) -> Result<()> {
        let (path, traffic) = Traffic::of(row).ok_or_else(|| Error::new("not a row of a log"))?;
        out.emit(&path, &traffic)
    }
}

struct Total;

impl Combiner<Serde<Traffic>> for Total {
    type Accumulator = Traffic;

    fn start(&self, traffic: &Traffic) -> Result<Traffic> {
        Ok(traffic.clone())
    }

    fn add(&self, total: &mut Traffic, traffic: &Traffic) -> Result<()> {
        total.add(traffic);
        Ok(())
    }

    fn finish<'a>(&self, total: &'a Traffic) -> &'a Traffic {
        total
    }
}

impl Reducer<String, Serde<Traffic>> for Total {
    type OutputKey = String;
    type OutputValue = Serde<Traffic>;

    fn reduce(
        &self,
        path: std::borrow::Cow<'_, str>,
        values: &mut Values<'_, Serde<Traffic>>,
        out: &mut impl Emit<String, Serde<Traffic>>,
    ) -> Result<()> {
        let mut total = Traffic::default();
        while let Some(traffic) = values.next()? {
            total.add(&traffic);
        }
        out.emit(&path, &total)
    }
}

/// The command line of a program with this job.
pub fn main() -> ExitCode {
    windrow::main([Job::new("traffic", Rows).combine(Total).reduce(Total)])
}
