//! The sections of encoded output, with the type of their summaries erased.

use std::any::Any;
use std::fmt;

use crate::output::Section;

/// The sections of encoded output. Only their job knows the type of their summaries.
pub struct Sections(Box<dyn Any + Send>);

impl Sections {
    /// Their offsets count from the start of the encoded output.
    pub(crate) fn new<S: Send + 'static>(sections: Vec<Section<S>>) -> Self {
        Self(Box::new(sections))
    }

    /// No sections.
    pub fn none() -> Self {
        Self(Box::new(()))
    }

    /// The sections, if their summaries are of type `S`.
    pub(crate) fn of<S: Send + 'static>(self) -> Option<Vec<Section<S>>> {
        self.0.downcast().ok().map(|sections| *sections)
    }
}

impl fmt::Debug for Sections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sections")
    }
}
