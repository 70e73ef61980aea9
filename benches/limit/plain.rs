//! What one would write in ten minutes with rayon and the standard library.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use rayon::prelude::*;

use super::{Result, paths};
use crate::harness::own_job::Traffic;

/// A `HashMap` for each file, in parallel, merged at the end.
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

/// The files of each word: a set of words for each file, in parallel.
pub fn index(input: &Path, output: &Path) -> Result<()> {
    let files = paths(input)?
        .par_iter()
        .map(|file| {
            let text = fs::read_to_string(file)?;
            let words: BTreeSet<_> = text.split_ascii_whitespace().collect();
            let name = BTreeSet::from([file.display().to_string()]);
            let pairs = words.into_iter().map(|word| (word.to_string(), name.clone()));
            Ok(pairs.collect::<HashMap<_, _>>())
        })
        .try_reduce(HashMap::new, |mut all, one| {
            for (word, files) in one {
                all.entry(word).or_default().extend(files);
            }
            Ok::<_, std::io::Error>(all)
        })?;
    let mut files: Vec<_> = files.into_iter().collect();
    files.par_sort_unstable();
    let mut part = BufWriter::new(File::create(output.join("part-00000"))?);
    for (word, files) in files {
        writeln!(part, "{word}\t{}", files.into_iter().collect::<Vec<_>>().join(","))?;
    }
    Ok(part.flush()?)
}

/// The traffic of each path of an access log.
pub fn traffic(input: &Path, output: &Path) -> Result<()> {
    let totals = paths(input)?
        .par_iter()
        .map(|file| {
            let mut totals: HashMap<String, Traffic> = HashMap::new();
            for row in fs::read_to_string(file)?.lines() {
                if let Some((path, traffic)) = Traffic::of(row) {
                    totals.entry(path).or_default().add(&traffic);
                }
            }
            Ok(totals)
        })
        .try_reduce(HashMap::new, |mut all: HashMap<String, Traffic>, one| {
            for (path, traffic) in one {
                all.entry(path).or_default().add(&traffic);
            }
            Ok::<_, std::io::Error>(all)
        })?;
    let mut totals: Vec<_> = totals.into_iter().collect();
    totals.par_sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut part = BufWriter::new(File::create(output.join("part-00000"))?);
    for (path, traffic) in totals {
        writeln!(part, "{path}\t{}", serde_json::to_string(&traffic)?)?;
    }
    Ok(part.flush()?)
}
