//! Header and footer of a map-only part, whose sections are encoded chunk by chunk.

use super::part_sink::PartSink;
use crate::collect::Sections;
use crate::error::Result;
use crate::failure::{FailureCause, RecordPlace};
use crate::key::Key;
use crate::output::{Output, PartEncoder, PartInfo, Section, SummaryOf};
use crate::user_code::panic;
use crate::value::Value;

/// An unfinished part whose sections are encoded elsewhere.
pub trait PartFrame: Send {
    /// Notes sections, which follow all sections so far.
    fn append(&mut self, sections: Sections) -> Result<(), FailureCause>;

    /// Writes the footer.
    fn finish(self: Box<Self>, sink: &mut dyn PartSink) -> Result<(), FailureCause>;
}

/// No header and no footer.
#[derive(Clone, Copy, Debug)]
pub struct NoFrame;

impl PartFrame for NoFrame {
    fn append(&mut self, _sections: Sections) -> Result<(), FailureCause> {
        Ok(())
    }

    fn finish(self: Box<Self>, _sink: &mut dyn PartSink) -> Result<(), FailureCause> {
        Ok(())
    }
}

/// The frame of an [`Output`].
struct Frame<P, S> {
    part: P,
    /// The offset of the next section.
    offset: u64,
    sections: std::marker::PhantomData<fn(S)>,
}

/// Begins a part, and writes its header.
pub(super) fn begin<K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>>(
    output: &O,
    info: PartInfo,
    sink: &mut dyn PartSink,
) -> Result<Box<dyn PartFrame>, FailureCause> {
    let mut header = Vec::new();
    let begun = panic::guard(|| output.begin(info, &mut header));
    let part = panic::settle(begun, RecordPlace::default)?;
    if !header.is_empty() {
        sink.write(&header)?;
    }
    let (offset, sections) = (header.len() as u64, std::marker::PhantomData);
    Ok(Box::new(Frame::<O::Part, SummaryOf<O::Section, K, V>> { part, offset, sections }))
}

impl<S: Send + 'static, P: PartEncoder<S>> PartFrame for Frame<P, S> {
    fn append(&mut self, sections: Sections) -> Result<(), FailureCause> {
        let Some(sections) = sections.of::<S>() else {
            let message = "these are the sections of another job".to_string();
            return Err(FailureCause::Unsupported { message });
        };
        let start = self.offset;
        let appended = panic::guard(|| {
            sections.into_iter().try_for_each(|section| {
                let offset = start + section.offset;
                self.offset = offset + section.bytes;
                self.part.append(Section { offset, ..section })
            })
        });
        panic::settle(appended, RecordPlace::default)
    }

    fn finish(self: Box<Self>, sink: &mut dyn PartSink) -> Result<(), FailureCause> {
        let mut footer = Vec::new();
        let finished = panic::guard(|| self.part.finish(&mut footer));
        panic::settle(finished, RecordPlace::default)?;
        if footer.is_empty() { Ok(()) } else { sink.write(&footer) }
    }
}
