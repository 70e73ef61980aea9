//! Escapes foreign text in messages and tables.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` as part of one line: characters that end lines, move the cursor, change the direction of
/// writing, or are invisible are escaped, as `\n` or `\u{202e}`. For names, paths and messages that
/// others have chosen, so that they cannot forge a line.
///
/// ```
/// assert_eq!(windrow_model::one_line("a\nb"), r"a\nb");
/// assert_eq!(windrow_model::one_line("it's"), "it's");
/// ```
pub fn one_line(text: &str) -> String {
    escape(
        text,
        |_| false,
        |line, c| {
            // Writing to a string cannot fail.
            let _ = write!(line, "{}", c.escape_default());
        },
    )
    .into_owned()
}

/// `text` with each character that [`one_line`] would escape, unless it is `kept`, passed to
/// `write` instead: for texts of several lines, or with other escapes.
pub fn escape(
    text: &str,
    kept: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    let mut before = None;
    let mut chars = text.chars().peekable();
    let mut escaped: Option<String> = None;
    let mut at = 0;
    while let Some(c) = chars.next() {
        if is_harmful(before, c, chars.peek().copied()) && !kept(c) {
            let line = escaped.get_or_insert_with(|| text[..at].to_string());
            write(line, c);
        } else if let Some(line) = &mut escaped {
            line.push(c);
        }
        at += c.len_utf8();
        before = Some(c);
    }
    escaped.map_or(Cow::Borrowed(text), Cow::Owned)
}

fn is_harmful(before: Option<char>, c: char, after: Option<char>) -> bool {
    // Unicode's Default_Ignorable_Code_Point (except the joiners below) and formatting characters.
    let is_unseen = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    );
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}');
    let ends_lines = matches!(c, '\u{2028}' | '\u{2029}');
    // Some languages need joiners between their letters; anywhere else a joiner is an invisible
    // character.
    let is_foreign = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !is_joiner(c));
    let hides = is_joiner(c) && !(is_foreign(before) && is_foreign(after));
    c.is_control() || is_unseen || turns || ends_lines || hides
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
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
    fn nothing_hides_in_a_name() {
        assert_eq!(one_line("ad\u{200d}min\u{200c}"), r"ad\u{200d}min\u{200c}");
        assert_eq!(one_line("म\u{200d}\u{200d}र"), r"म\u{200d}\u{200d}र");
        for unseen in [
            '\u{e0041}',
            '\u{206a}',
            '\u{3164}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{e0100}',
            '\u{e01ef}',
            '\u{180b}',
            '\u{17b4}',
            '\u{1d173}',
            '\u{13430}',
            '\u{1bca0}',
            '\u{fff0}',
            '\u{e0fff}',
        ] {
            let shown = format!("a{}é", unseen.escape_default());
            assert_eq!(one_line(&format!("a{unseen}é")), shown);
        }
    }

    #[test]
    fn quotes_languages_and_paths_stay_as_they_are() {
        for text in ["it's \"so\"", r"C:\x", "naïve", "मराठी", "می\u{200c}خواهم", "👩\u{200d}🚀"]
        {
            assert_eq!(one_line(text), text);
        }
    }
}
