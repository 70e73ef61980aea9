//! Sets of attempts as runs of consecutive tasks: what a worker has, in a few bytes for each run.

use crate::v1::{AttemptId, Attempts};

/// Most attempts that are unpacked from one message, since a few bytes may stand for very many. It
/// is more than any worker holds.
pub const ATTEMPTS_MAX: usize = 1 << 22;

/// Packs attempts, in any order.
pub fn packed(attempts: impl IntoIterator<Item = AttemptId>) -> Vec<Attempts> {
    let key = |id: &AttemptId| (id.job, id.stage, id.attempt, id.task);
    let mut all: Vec<_> = attempts.into_iter().collect();
    all.sort_unstable_by_key(key);
    all.dedup_by_key(|id| key(id));
    let alike =
        |a: &AttemptId, b: &AttemptId| (a.job, a.stage, a.attempt) == (b.job, b.stage, b.attempt);
    let pack = |alike: &[AttemptId]| Attempts {
        job: alike[0].job,
        stage: alike[0].stage,
        attempt: alike[0].attempt,
        runs: runs(alike.iter().map(|id| id.task)),
    };
    all.chunk_by(alike).map(pack).collect()
}

fn runs(tasks: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut runs: Vec<u32> = Vec::new();
    // The task after the last run.
    let mut next = 0;
    for task in tasks {
        match runs.last_mut() {
            Some(length) if task == next => *length += 1,
            _ => runs.extend([task - next, 1]),
        }
        next = task.saturating_add(1);
    }
    runs
}

/// All attempts of a packed set, in order; `None` if it is malformed, or has more than
/// [`ATTEMPTS_MAX`].
pub fn unpacked(packed: &[Attempts]) -> Option<Vec<AttemptId>> {
    let mut all = Vec::new();
    for &Attempts { job, stage, attempt, ref runs } in packed {
        let mut next = 0_u32;
        let (pairs, rest) = runs.as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        for [left_out, length] in pairs {
            let first = next.checked_add(*left_out)?;
            next = first.checked_add(*length)?;
            if all.len() + *length as usize > ATTEMPTS_MAX {
                return None;
            }
            all.extend((first..next).map(|task| AttemptId { job, stage, task, attempt }));
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn attempt(job: u64, task: u32, attempt: u32) -> AttemptId {
        AttemptId { job, stage: 1, task, attempt }
    }

    #[test]
    fn attempts_survive_the_round_trip() {
        let all = [attempt(1, 0, 1), attempt(1, 1, 1), attempt(1, 7, 1), attempt(1, 1, 2)];
        let others = [attempt(2, u32::MAX - 1, 1), attempt(3, 5, 9)];
        let mut sent = [&all[..], &others].concat();
        let packed = packed(sent.iter().rev().chain(&all).copied());
        assert_eq!(packed.len(), 4);
        assert_eq!(packed[0].runs, [0, 2, 5, 1]);
        sent.sort_by_key(|id| (id.job, id.attempt, id.task));
        assert_eq!(unpacked(&packed), Some(sent));
        assert_eq!(unpacked(&[]), Some(Vec::new()));
    }

    #[test]
    fn malformed_and_oversized_runs_are_refused() {
        let runs =
            |runs: &[u32]| unpacked(&[Attempts { runs: runs.to_vec(), ..Attempts::default() }]);
        assert_eq!(runs(&[1]), None);
        assert_eq!(runs(&[u32::MAX, 2]), None);
        assert_eq!(runs(&[0, ATTEMPTS_MAX as u32 + 1]), None);
        assert!(runs(&[0, ATTEMPTS_MAX as u32]).is_some());
    }

    /// With a million map outputs on three workers, each can list its own in one message.
    #[test]
    fn a_third_of_a_million_scattered_outputs_fit_into_a_message() {
        let scattered =
            (0..1_000_000).filter(|task: &u32| task.wrapping_mul(0x9e37_79b9).is_multiple_of(3));
        let packed = packed(scattered.map(|task| attempt(1, task, 1)));
        let bytes: usize = packed.iter().map(Message::encoded_len).sum();
        assert!(bytes < 1 << 20, "{bytes}");
        let whole = super::packed((0..1_000_000).map(|task| attempt(1, task, 1)));
        assert!(whole[0].encoded_len() < 20);
    }
}
