//! Conversion of the shape of a job's code. Its limits are checked here; the code behind relies on
//! them.

use std::ops::Range;

use windrow_jobs::partitioning::{Partitioning, SplitPoints};
use windrow_jobs::program::{EXTENSIONS, JobShape, is_extension};
use windrow_jobs::{InputRange, SamplePiece, Version};
use windrow_proto::v1;

use super::Malformed;
use super::spec::{NAME_BYTES_MAX, REDUCERS_MAX, check};
use crate::plan::Ranges;

/// Most named inputs.
const INPUTS_MAX: usize = 1_000;

pub(in crate::rpc) fn shape_from(shape: Option<v1::JobShape>) -> Result<JobShape, Malformed> {
    let shape = shape.ok_or_else(|| Malformed::missing("shape"))?;
    let names = shape.input_names;
    check(names.len() <= INPUTS_MAX, "the job has too many inputs (at most 1000)")?;
    let sound = |name: &String| !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    check(names.iter().all(sound), "the name of an input is empty or too long")?;
    let uncut = shape.uncut_inputs;
    let inputs = names.len().max(1) as u32;
    let ascend = uncut.is_sorted_by(|a, b| a < b) && uncut.last().is_none_or(|last| *last < inputs);
    check(ascend, "the inputs that are not cut are not inputs of the job, or not in order")?;
    check(is_extension(&shape.extension), EXTENSIONS)?;
    Ok(JobShape {
        input_names: names,
        uncut_inputs: uncut,
        extension: shape.extension,
        map_only: shape.map_only,
        partitioning: match shape.ranges {
            Some(v1::job_shape::Ranges { within_keys }) => Partitioning::Ranges { within_keys },
            None => Partitioning::ByKey,
        },
    })
}

pub(in crate::rpc) fn ranges_from(ranges: v1::JobRanges) -> Result<Ranges, Malformed> {
    let v1::JobRanges { partitions, points } = ranges;
    check((1..=REDUCERS_MAX).contains(&partitions), "ranges for no partitions, or for too many")?;
    check(points.len() < partitions as usize, "more ranges than partitions")?;
    let long = |side: &[u8]| side.len() > SplitPoints::SIDE_BYTES_MAX;
    let too_long = points.iter().any(|point| long(&point.key) || long(&point.value));
    check(!too_long, "the first pair of a range is too long")?;
    let points = points.into_iter().map(|point| (point.key.to_vec(), point.value.to_vec()));
    Ok(Ranges { partitions, points: SplitPoints::new(points) })
}

/// A piece of the inputs to sample for ranges.
pub(in crate::rpc) fn piece_to(piece: SamplePiece) -> v1::SamplePiece {
    let SamplePiece { stratum, input, range } = piece;
    let InputRange { location, file_number, range: Range { start, end }, version } = range;
    v1::SamplePiece {
        stratum,
        input,
        file_number,
        location: location.to_string(),
        file_bytes: version.bytes(),
        start,
        end,
        version: Some(match version {
            Version::Local { modified_unix_ns, .. } => {
                v1::sample_piece::Version::ModifiedUnixNs(modified_unix_ns)
            }
            Version::Object { etag, .. } => v1::sample_piece::Version::Etag(etag.into()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(key: &[u8]) -> v1::SplitPoint {
        v1::SplitPoint { key: key.to_vec().into(), value: b"v".to_vec().into() }
    }

    #[test]
    fn valid_ranges_are_accepted() {
        let points = vec![point(b"hay"), point(b"rye")];
        let ranges = ranges_from(v1::JobRanges { partitions: 3, points }).unwrap();
        assert_eq!(ranges.partitions, 3);
        let points: Vec<_> = ranges.points.iter().collect();
        assert_eq!(points, [(&b"hay"[..], &b"v"[..]), (b"rye", b"v")]);
    }

    #[test]
    fn invalid_ranges_are_refused() {
        for (partitions, points) in [
            (0, vec![]),
            (REDUCERS_MAX + 1, vec![]),
            (1, vec![point(b"hay")]),
            (2, vec![point(&[b'x'; SplitPoints::SIDE_BYTES_MAX + 1])]),
        ] {
            assert!(ranges_from(v1::JobRanges { partitions, points }).is_err(), "{partitions}");
        }
    }

    #[test]
    fn invalid_shapes_are_refused() {
        assert!(shape_from(None).is_err());
        for names in [vec![String::new()], vec!["x".repeat(NAME_BYTES_MAX + 1)]] {
            let shape = v1::JobShape { input_names: names, ..Default::default() };
            assert!(shape_from(Some(shape)).is_err());
        }
        for extension in
            ["csv", ".", ".2", ".a/b", "..", ".a..b", ".a.", "/", ".\n", &".a".repeat(20)]
        {
            let shape = v1::JobShape { extension: extension.into(), ..Default::default() };
            assert!(shape_from(Some(shape)).is_err(), "{extension}");
        }
        let shape = v1::JobShape { extension: ".tar.gz".into(), ..Default::default() };
        assert_eq!(shape_from(Some(shape)).unwrap().extension, ".tar.gz");
        for uncut_inputs in [vec![2], vec![1, 1], vec![1, 0]] {
            let input_names = vec!["a".to_string(), "b".to_string()];
            let shape = v1::JobShape { input_names, uncut_inputs, ..Default::default() };
            assert!(shape_from(Some(shape)).is_err());
        }
    }
}
