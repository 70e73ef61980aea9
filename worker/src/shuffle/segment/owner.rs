//! The owner of a segment's pairs. The bytes of another owner's segment are just as sound: only
//! the header tells them apart.

use std::fmt;

use windrow_jobs::checksum::crc64;
use windrow_jobs::{JobIdentity, StageId};

use super::MAGIC;

/// Magic, identity of the job, stage, task, attempt, and the checksum of these.
pub(super) const FILE_HEADER_BYTES: usize = CHECKED_BYTES + 8;

const CHECKED_BYTES: usize = MAGIC.len() + 16 + 3 * 4;

/// The attempt that has written a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its job, unique among all jobs of all clusters.
    pub job: JobIdentity,
    /// Its stage.
    pub stage: StageId,
    /// Number of its task.
    pub task: u32,
    /// Number of the attempt; 0 for data that is prepared for any attempt.
    pub attempt: u32,
}

impl Owner {
    /// The header of its segments.
    pub(super) fn header(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut header = [0; FILE_HEADER_BYTES];
        let mut rest = &mut header[..];
        let mut put = |bytes: &[u8]| {
            let (field, behind) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            field.copy_from_slice(bytes);
            rest = behind;
        };
        put(MAGIC);
        put(&self.job.to_bytes());
        put(&self.stage.to_number().to_le_bytes());
        put(&self.task.to_le_bytes());
        put(&self.attempt.to_le_bytes());
        let crc64 = crc64(&header[..CHECKED_BYTES]);
        header[CHECKED_BYTES..].copy_from_slice(&crc64.to_le_bytes());
        header
    }

    /// An error unless a segment with this header is its own.
    pub(super) fn check(&self, header: &[u8; FILE_HEADER_BYTES]) -> Result<(), String> {
        if *header == self.header() {
            return Ok(());
        }
        let (checked, sum) = header.split_at(CHECKED_BYTES);
        if !checked.starts_with(MAGIC) {
            return Err("the file is cut short, or not a segment of this version".into());
        }
        if crc64(checked).to_le_bytes() != *sum {
            return Err("the checksum of the header does not match".into());
        }
        let found = Self::read(&checked[MAGIC.len()..]);
        let found =
            found.map_or_else(|| "the header names an unknown stage".into(), |it| it.to_string());
        Err(format!("the file has the pairs of {found}, not those of {self}"))
    }

    fn read(fields: &[u8]) -> Option<Self> {
        let (job, numbers) = fields.split_at_checked(16)?;
        let mut numbers = numbers
            .chunks_exact(4)
            .map(|bytes| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)));
        let job = JobIdentity::from_bytes(job)?;
        let stage = StageId::from_number(numbers.next()?).ok()?;
        Some(Self { job, stage, task: numbers.next()?, attempt: numbers.next()? })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, stage, task, attempt } = self;
        write!(f, "attempt {attempt} of {stage} task {task} of job {job}")
    }
}
