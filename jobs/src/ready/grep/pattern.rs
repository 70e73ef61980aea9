//! A regular expression that is searched in many lines at once.
//!
//! The pattern is rewritten so that no match can cross a line end: line feeds are removed from its
//! classes and literals, and text anchors become line anchors. Then the buffer matches exactly
//! where a line matches, except for the CR of a CRLF, which is in the buffer but not in the line.

use std::ops::Range;

use memchr::{memchr, memrchr};
use regex_automata::Input;
use regex_automata::meta::{Config, Regex};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Literal,
    Look, Repetition,
};

use crate::error::{Error, Result};

/// Limit for the compiled expression, as in the regex crate.
const COMPILED_BYTES_MAX: usize = 10 << 20;

#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// Whether the pattern depends on line ends, so that a CR makes a difference.
    has_line_end: bool,
}

impl Pattern {
    pub(super) fn new(pattern: &str, ignore_case: bool) -> Result<Self> {
        let hir = ParserBuilder::new()
            .utf8(false)
            .case_insensitive(ignore_case)
            .build()
            .parse(pattern)
            .map_err(|error| Error::new(format!("bad pattern: {error}")))?;
        let hir = within_lines(hir);
        let looks = hir.properties().look_set();
        let line_ends = [Look::EndLF, Look::EndCRLF, Look::StartCRLF];
        let config = Config::new().utf8_empty(false).nfa_size_limit(Some(COMPILED_BYTES_MAX));
        let regex = Regex::builder().configure(config).build_from_hir(&hir)?;
        Ok(Self { regex, has_line_end: line_ends.iter().any(|look| looks.contains(*look)) })
    }

    /// Whether one line, without its end, matches.
    pub(super) fn is_match(&self, line: &[u8]) -> bool {
        self.regex.is_match(line)
    }
}

/// The expression rewritten for a text of many lines.
fn within_lines(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(Literal(bytes)) if bytes.contains(&b'\n') => Hir::fail(),
        HirKind::Literal(Literal(bytes)) => Hir::literal(bytes),
        HirKind::Class(Class::Unicode(mut class)) => {
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(mut class)) => {
            class.difference(&ClassBytes::new([ClassBytesRange::new(b'\n', b'\n')]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Look(Look::Start) => Hir::look(Look::StartLF),
        HirKind::Look(Look::End) => Hir::look(Look::EndLF),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(repetition) => {
            let sub = Box::new(within_lines(*repetition.sub));
            Hir::repetition(Repetition { sub, ..repetition })
        }
        HirKind::Capture(capture) => within_lines(*capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(within_lines).collect()),
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.into_iter().map(within_lines).collect())
        }
    }
}

/// The lines of a buffer that match, with their ends.
pub(super) struct Searcher<'a> {
    pattern: &'a Pattern,
    bytes: &'a [u8],
    /// Start of the first line that has not been searched.
    at: usize,
    has_cr: bool,
}

impl<'a> Searcher<'a> {
    pub(super) fn new(pattern: &'a Pattern, bytes: &'a [u8]) -> Self {
        Self { pattern, bytes, at: 0, has_cr: memchr(b'\r', bytes).is_some() }
    }

    /// The next line in which the buffer has a match.
    fn next_found(&mut self) -> Option<Range<usize>> {
        let end = if self.has_cr && self.pattern.has_line_end {
            // A line may match where the buffer does not, so each line is tried.
            self.at
        } else {
            let input = Input::new(self.bytes).range(self.at..);
            self.pattern.regex.search_half(&input)?.offset()
        };
        // A match contains no line feed, so it ends in the line in which it starts.
        let start =
            memrchr(b'\n', &self.bytes[self.at..end]).map_or(self.at, |lf| self.at + lf + 1);
        if start == self.bytes.len() {
            return None;
        }
        self.at = memchr(b'\n', &self.bytes[end..]).map_or(self.bytes.len(), |lf| end + lf + 1);
        Some(start..self.at)
    }
}

impl Iterator for Searcher<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let found = self.next_found()?;
            let line = without_end(self.bytes, found.clone());
            // The match may have included the CR, which is not part of the line.
            if !self.has_cr || self.pattern.is_match(&self.bytes[line]) {
                return Some(found);
            }
        }
    }
}

/// A line without its LF or CRLF.
pub(super) fn without_end(bytes: &[u8], line: Range<usize>) -> Range<usize> {
    let text = &bytes[line.clone()];
    let Some(text) = text.strip_suffix(b"\n") else { return line };
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    line.start..line.start + text.len()
}
