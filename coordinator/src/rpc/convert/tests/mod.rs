mod sizes;

use super::*;

#[test]
fn attempts_survive_the_round_trip() {
    for stage in StageId::ALL {
        let task = TaskId { job: JobId(7), stage, index: 8 };
        let attempt = AttemptId { task, number: 9 };
        assert_eq!(attempt_from(Some(attempt_to(attempt))), Ok(attempt));
    }
}

#[test]
fn attempts_of_no_stage_are_refused() {
    assert!(attempt_from(None).is_err());
    for stage in [0, 3, 77, 1 << 16, (1 << 16) + 1] {
        let attempt = v1::AttemptId { job: 1, stage, task: 1, attempt: 1 };
        assert!(attempt_from(Some(attempt)).is_err());
    }
}
