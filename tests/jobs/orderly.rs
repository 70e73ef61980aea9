//! Sorts lines over all parts, and joins two inputs: features of the engine without a ready job's
//! options.

use windrow::prelude::*;

/// Each line is its own key.
struct WholeLine;

impl Mapper for WholeLine {
    type Input = Line;
    type Key = str;
    type Value = ();

    fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> Result<()> {
        out.emit(line, ())
    }
}

/// `key TAB value`
struct Fields;

impl Mapper for Fields {
    type Input = Line;
    type Key = str;
    type Value = str;

    fn map(&self, line: &str, out: &mut impl Emit<str, str>) -> Result<()> {
        let (key, value) = line.split_once('\t').ok_or_else(|| Error::new("no tab"))?;
        out.emit(key, value)
    }
}

/// All values of a key, each with the number of its input.
struct Listed;

impl Reducer<str, Tagged<str>> for Listed {
    type OutputKey = str;
    type OutputValue = str;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, Tagged<str>>,
        out: &mut impl Emit<str, str>,
    ) -> Result<()> {
        let mut list = Vec::new();
        while let Some((input, value)) = values.next()? {
            list.push(format!("{input}:{value}"));
        }
        out.emit(key, &list.join(" "))
    }
}

/// Writes all lines in order over all parts.
pub fn sorted_lines() -> Job {
    Job::new("sorted-lines", WholeLine).sort()
}

/// Lists the values of each key of the inputs `left` and `right`.
pub fn paired() -> Job {
    Job::join("paired").input("left", Fields).input("right", Fields).reduce(Listed)
}
