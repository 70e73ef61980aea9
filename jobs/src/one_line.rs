//! Foreign text in messages and tables.

use std::fmt::Write as _;

/// `text` as a part of one line, whatever is in it: what ends lines, moves the cursor, turns the
/// direction of writing, or is not seen, is shown as `\n` or `\u{202e}`. For names, paths and
/// messages that others have chosen, so that none of them can forge a line.
///
/// ```
/// assert_eq!(windrow_jobs::one_line("a\nb"), r"a\nb");
/// assert_eq!(windrow_jobs::one_line("it's"), "it's");
/// ```
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

fn is_harmful(c: char) -> bool {
    // Joiners (U+200C, U+200D) are needed to write some languages.
    let is_unseen = matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}');
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let ends_lines = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || is_unseen || turns || ends_lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_line() {
        let text = "a\nb\tc\x1b[2J\u{202e}d\u{2028}e\u{200b}f\u{9b}";
        assert_eq!(one_line(text), r"a\nb\tc\u{1b}[2J\u{202e}d\u{2028}e\u{200b}f\u{9b}");
    }

    #[test]
    fn quotes_languages_and_paths_stay_as_they_are() {
        for text in ["it's \"so\"", r"C:\x", "naïve", "मराठी", "می\u{200c}خواهم", "👩\u{200d}🚀"]
        {
            assert_eq!(one_line(text), text);
        }
    }
}
