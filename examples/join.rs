//! Joins a log with names: two inputs in different formats, each with its own mapper, meet in one
//! reducer.
//!
//!     cargo run --release --example join -- run named-visits \
//!         --input users=users.csv --input visits=visits.txt --output named

use std::process::ExitCode;

use windrow::prelude::*;

/// `id,name`, with a header.
struct Users;

impl Mapper for Users {
    type Input = Delimited;
    type Key = str;
    type Value = str;

    fn map(&self, user: Fields<'_>, out: &mut impl Emit<str, str>) -> Result<()> {
        out.emit(str::from_utf8(&user.named("id")?)?, str::from_utf8(&user.named("name")?)?)
    }

    fn format(&self) -> Delimited {
        Delimited::csv().with_header()
    }
}

/// `id page`
struct Visits;

impl Mapper for Visits {
    type Input = Line;
    type Key = str;
    type Value = str;

    fn map(&self, line: &str, out: &mut impl Emit<str, str>) -> Result<()> {
        let (id, page) = line.split_once(' ').ok_or_else(|| Error::new("no page"))?;
        out.emit(id, page)
    }
}

/// Receives the user first, then the visits: values come in the order of the inputs.
struct NameVisits;

impl Reducer<str, Tagged<str>> for NameVisits {
    type OutputKey = str;
    type OutputValue = str;

    fn reduce(
        &self,
        id: &str,
        values: &mut Values<'_, Tagged<str>>,
        out: &mut impl Emit<str, str>,
    ) -> Result<()> {
        let mut name = format!("unknown ({id})");
        while let Some((input, value)) = values.next()? {
            match input {
                0 => name = value.to_string(),
                _ => out.emit(&name, value)?,
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let job = Job::join("named-visits").input("users", Users).input("visits", Visits);
    windrow::main([job.about("Put names to visits").reduce(NameVisits)])
}
