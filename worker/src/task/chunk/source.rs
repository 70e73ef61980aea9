//! The input that a chunk is read from.

use windrow_jobs::input::{Framing, Unit};
use windrow_jobs::{FailureCause, InputRange, RecordPlace};

use super::window::Window;
use crate::input::{self, Input, units};
use crate::task::plan::InputPlan;

/// What to do about a long record whose end was not merely overlooked.
const LARGER_LIMIT: &str =
    "; give a larger one, such as --max-record-size 1GiB, which the workers need as memory";

/// An open input, and what is known of it as a whole.
pub(super) struct Source {
    input: Box<dyn Input>,
    pub(super) name: String,
    pub(super) bytes: u64,
    /// The first record, if the format needs it.
    pub(super) header: Vec<u8>,
}

impl Source {
    pub(super) fn open(range: &InputRange, plan: &InputPlan) -> Result<Self, FailureCause> {
        let InputRange { location, version, .. } = range;
        let mut this = Self {
            input: input::open(location, version)?,
            name: location.to_string(),
            bytes: version.bytes(),
            header: Vec::new(),
        };
        if plan.format.has_header && plan.format.framing != Framing::Units {
            let mut window = Window::default();
            let first = window.find(&this, plan, 0..1, &mut |_| Ok(()))?;
            this.header = window.bytes(first).to_vec();
        }
        Ok(this)
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), FailureCause> {
        self.input.read_at(buffer, offset)
    }

    pub(super) fn read_unit(&self, unit: &Unit, buffer: &mut [u8]) -> Result<(), FailureCause> {
        units::read(unit, &*self.input, buffer)
    }

    /// Checks that the version read is the planned one.
    pub(super) fn check(&self) -> Result<(), FailureCause> {
        self.input.check()
    }

    #[cold]
    pub(super) fn unit_too_large(&self, unit: &Unit, most: u64) -> FailureCause {
        let place = RecordPlace::in_file(&self.name).at(unit.range().start);
        let message = format!(
            "the unit has {} bytes, more than --max-record-size allows, which is {most}: give a larger one, which its workers need as memory",
            unit.read_bytes()
        );
        FailureCause::RecordTooLong { place, message }
    }

    #[cold]
    pub(super) fn too_long(&self, offset: u64, most: u64, hint: &str) -> FailureCause {
        let place = RecordPlace::in_file(self.name.clone()).at(offset);
        let hint = if hint.is_empty() { LARGER_LIMIT } else { hint };
        let message = format!(
            "the record is longer than {most} bytes, the largest that --max-record-size allows{hint}"
        );
        FailureCause::RecordTooLong { place, message }
    }
}
