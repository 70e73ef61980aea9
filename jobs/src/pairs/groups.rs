//! Iterates over sorted batches group by group.

use super::record::{RecordBatches, RecordRef};
use super::record_batch::RecordBatch;
use super::values::Values;
use crate::audit::Audit;
use crate::error::Result;
use crate::failure::{FailureCause, RecordPlace};
use crate::key::Key;
use crate::text;
use crate::user_code::{hidden, panic};
use crate::value::Value;

/// The groups of a sorted source: runs of pairs with equal keys, or with keys of equal prefixes.
pub(crate) struct Groups<'s> {
    source: &'s mut dyn RecordBatches,
    window: Window,
    group: Group,
    count: u64,
}

/// What identifies the current group.
#[derive(Default)]
pub(super) struct Group {
    /// The key or its prefix. Copied, since the group may outlast its first batch.
    key: Vec<u8>,
    is_prefix: bool,
}

impl Group {
    /// Whether a pair with this key belongs to the group.
    #[inline]
    pub(super) fn has(&self, key: &[u8]) -> bool {
        if self.is_prefix { key.starts_with(&self.key) } else { key == self.key }
    }
}

/// The current batch, and the position in it.
#[derive(Default)]
pub(super) struct Window {
    batch: RecordBatch,
    next: usize,
    at_end: bool,
    records: u64,
    failure: Option<FailureCause>,
}

impl<'s> Groups<'s> {
    /// The groups of `source`. With `by_prefix`, a group may have several keys.
    pub(crate) fn new(source: &'s mut dyn RecordBatches, by_prefix: bool) -> Self {
        let group = Group { is_prefix: by_prefix, ..Group::default() };
        Self { source, window: Window::default(), group, count: 0 }
    }

    /// Advances to the next group, skipping the unread values of the current one; `false` at the
    /// end. `prefix_bytes` gives the length of a key's prefix that identifies its group.
    pub(crate) fn next_group(
        &mut self,
        prefix_bytes: impl Fn(&[u8]) -> Result<usize>,
    ) -> Result<bool> {
        let Self { source, window, group, .. } = self;
        while self.count > 0 && window.peek(*source)?.is_some_and(|r| group.has(r.key)) {
            window.advance();
        }
        let Some(first) = window.peek(*source)? else { return Ok(false) };
        group.key.clear();
        group.key.extend_from_slice(&first.key[..prefix_bytes(first.key)?]);
        self.count += 1;
        Ok(true)
    }

    /// Key and values of the current group.
    #[inline]
    pub(crate) fn current<V: Value + ?Sized>(&mut self) -> (&[u8], Values<'_, V>) {
        (&self.group.key, Values::new(self.source, &mut self.window, &self.group))
    }

    /// Groups seen so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Pairs read so far.
    pub(crate) fn records(&self) -> u64 {
        self.window.records
    }

    /// The failure of the source, which takes precedence over any error that user code returned
    /// because of it.
    pub(crate) fn take_failure(&mut self) -> Option<FailureCause> {
        self.window.failure.take()
    }

    /// The current group's place, for failures.
    pub(crate) fn place<K: Key + ?Sized>(
        &self,
        decode: impl Fn(&[u8]) -> Result<K::Decoded<'_>>,
    ) -> RecordPlace {
        match self.count {
            0 => RecordPlace::default(),
            _ => RecordPlace::of_key(text::shown(&self.key_text::<K>(decode))),
        }
    }

    /// The current group's place, unique among groups: a long key, truncated for display, gets a
    /// digest.
    pub(crate) fn exact_place<K: Key + ?Sized>(
        &self,
        decode: impl Fn(&[u8]) -> Result<K::Decoded<'_>>,
    ) -> RecordPlace {
        let text = self.key_text::<K>(decode);
        let mut key = text::shown(&text);
        if text.len() > text::SHOWN_CHARS_MAX {
            let mut audit = Audit::default();
            audit.add(&self.group.key, &[]);
            key += &format!(" ({} bytes, digest {:016x})", text.len(), audit.digest);
        }
        RecordPlace::of_key(key)
    }

    fn key_text<K: Key + ?Sized>(
        &self,
        decode: impl Fn(&[u8]) -> Result<K::Decoded<'_>>,
    ) -> Vec<u8> {
        // It may be the key's own code that has failed: then the encoded key must do.
        let written = panic::guard(|| {
            let mut text = Vec::new();
            decode(&self.group.key).map(|key| {
                K::write_text(K::view(&key), &mut text);
                text
            })
        });
        written.ok().and_then(Result::ok).unwrap_or_else(|| self.group.key.clone())
    }
}

impl Window {
    /// The next pair, without consuming it; `None` at the end.
    #[inline]
    pub(super) fn peek(&mut self, source: &mut dyn RecordBatches) -> Result<Option<RecordRef<'_>>> {
        if self.next == self.batch.len() && !self.refill(source)? {
            return Ok(None);
        }
        Ok(Some(self.batch.get(self.next)))
    }

    /// Consumes the pair that [`peek`](Self::peek) returned.
    #[inline]
    pub(super) fn advance(&mut self) -> RecordRef<'_> {
        self.next += 1;
        self.records += 1;
        self.batch.get(self.next - 1)
    }

    fn refill(&mut self, source: &mut dyn RecordBatches) -> Result<bool> {
        // A source that has ended or failed is not called again, even if user code ignores the
        // error.
        if self.at_end {
            return self.failure.as_ref().map_or(Ok(false), |cause| Err(hidden(cause)));
        }
        self.next = 0;
        self.batch.clear();
        match source.next_batch() {
            Ok(Some(records)) => {
                records.iter().for_each(|record| self.batch.push(*record));
                if self.batch.is_large() {
                    source.batch_copied();
                }
                Ok(true)
            }
            Ok(None) => {
                self.at_end = true;
                Ok(false)
            }
            Err(cause) => {
                self.at_end = true;
                Err(hidden(self.failure.insert(cause)))
            }
        }
    }
}
