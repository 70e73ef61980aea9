//! What one would write in ten minutes with rayon and the standard library.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use rayon::prelude::*;

use super::{Result, paths};

/// The files in parallel, a `HashMap` each, merged at the end.
pub fn word_count(input: &Path, output: &Path) -> Result<()> {
    let counts = paths(input)?
        .par_iter()
        .map(|file| {
            let mut counts: HashMap<String, u64> = HashMap::new();
            let text = fs::read_to_string(file)?;
            for word in text.split_ascii_whitespace() {
                match counts.get_mut(word) {
                    Some(n) => *n += 1,
                    None => {
                        counts.insert(word.to_string(), 1);
                    }
                }
            }
            Ok(counts)
        })
        .try_reduce(HashMap::new, |mut all, one| {
            for (word, n) in one {
                *all.entry(word).or_default() += n;
            }
            Ok::<_, std::io::Error>(all)
        })?;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.par_sort_unstable();
    let mut part = BufWriter::new(File::create(output.join("part-00000"))?);
    for (word, n) in counts {
        writeln!(part, "{word}\t{n}")?;
    }
    Ok(part.flush()?)
}
