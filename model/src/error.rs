//! The error that user code returns.

use std::fmt;

/// The error of a mapper, a reducer or a codec. The engine adds the place (file and byte offset, or
/// key), so the message need only say what is wrong.
///
/// Any standard error converts with `?`; [`Error::new`] takes a message.
pub struct Error {
    message: String,
}

/// `Result` with Windrow's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with this `message`, which is lowercase and names the thing.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }
}

// Like `anyhow::Error`, this type does not implement `std::error::Error`: only so is the blanket
// conversion possible.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
