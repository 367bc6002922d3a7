//! Strangers' text, made safe to show.
//!
//! Terminals obey control characters, and both terminals and browsers let some characters reorder
//! or hide what stands around them. Nothing that a peer wrote reaches a person except through here
//! or through a page's escaping, which uses this too.

/// Whether a character commands instead of showing: control characters, those that reorder text
/// (Unicode's bidirectional embeddings, overrides, isolates and marks), and those that take no
/// room, behind which words hide.
#[must_use]
pub fn commands(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line to show: whatever commands becomes the replacement character.
#[must_use]
pub fn line(text: &str) -> String {
    text.chars().map(|c| if commands(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Paragraphs to show: line ends stay, tabs become spaces, and whatever else commands becomes the
/// replacement character.
#[must_use]
pub fn paragraphs(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => '\n',
        '\t' => ' ',
        c if commands(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

/// The beginning of a line, of at most `chars_max` characters, with a sign where it was cut.
#[must_use]
pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => {
            let kept = text.char_indices().nth(chars_max.saturating_sub(1)).map_or(0, |(at, _)| at);
            format!("{}…", text.get(..kept).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_commands_is_left() {
        let hostile = "a\u{1b}[2J\u{202e}b\u{2066}c\u{200b}d\u{9b}31m\r\ne\u{7}\u{e0041}";
        let shown = line(hostile);
        assert!(!shown.chars().any(commands), "{shown:?}");
        assert!(shown.starts_with("a\u{fffd}[2J\u{fffd}b"));
        let shown = paragraphs("one\n\ttwo\u{1b}");
        assert_eq!(shown, "one\n two\u{fffd}");
        assert_eq!(line("Grüße, мир, 世界 🙂"), "Grüße, мир, 世界 🙂");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("x", 0), "…");
    }
}
