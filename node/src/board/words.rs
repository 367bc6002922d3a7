//! Words and names in a text.

use std::collections::BTreeSet;

/// Most different words of one post that are found again.
const WORDS_MAX: usize = 512;
/// Shortest and longest word that is kept, in characters.
const WORD_CHARS: std::ops::RangeInclusive<usize> = 2..=32;
/// Most peers that one post calls.
pub(super) const MENTIONS_MAX: usize = 10;
/// Digits by which a peer is called.
const KEY_DIGITS: usize = 8;

/// The words of a text in lower case, each once, at most [`WORDS_MAX`].
pub(super) fn words(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        if found.len() >= WORDS_MAX {
            break;
        }
        if WORD_CHARS.contains(&word.chars().count()) {
            found.insert(word.to_lowercase());
        }
    }
    found
}

/// Whom a text calls, by `@name` or `@` and the first digits of a key: the handles, normalised.
pub(super) fn mentions(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        // An address of mail is no mention.
        if c == '@' && !before.is_alphanumeric() && found.len() < MENTIONS_MAX {
            let rest = text.get(at + 1..).unwrap_or_default();
            let handle: String = rest.chars().take_while(|c| in_handle(*c)).take(64).collect();
            let handle = handle.trim_end_matches(['.', '-']);
            if !handle.is_empty() {
                found.insert(normal(handle));
            }
        }
        before = c;
    }
    found
}

fn in_handle(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The handles that call a peer: its name, with dashes for what cannot stand in a handle, and the
/// beginning of its key.
pub(super) fn handles(name: &str, key: &str) -> BTreeSet<String> {
    let name: String = name.chars().map(|c| if in_handle(c) { c } else { '-' }).collect();
    BTreeSet::from([normal(&name), normal(key)])
}

fn normal(handle: &str) -> String {
    let lower = handle.to_lowercase();
    let digits = lower.len() >= KEY_DIGITS && lower.bytes().all(|byte| byte.is_ascii_hexdigit());
    match lower.get(..KEY_DIGITS) {
        Some(short) if digits => short.to_owned(),
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole_lower_case_and_bounded() {
        let found = words("The int4-g32 head: FASTER, faster; a é世界");
        assert!(
            ["the", "int4", "g32", "head", "faster", "é世界"].iter().all(|w| found.contains(*w))
        );
        assert!(!found.contains("a") && found.len() == 6, "{found:?}");
        let many: String = (0..2_000).map(|i| format!("w{i} ")).collect();
        assert_eq!(words(&many).len(), WORDS_MAX);
        assert!(words(&"x".repeat(10_000)).is_empty());
    }

    #[test]
    fn a_peer_is_called_by_its_name_or_its_key() {
        let called = mentions("@Node-1, see @DEADBEEF01, mail me@example.org and @. (@ada)");
        assert_eq!(called, ["node-1", "deadbeef", "ada"].map(str::to_owned).into());
        assert!(handles("Node 1", "deadbeef99").contains("node-1"));
        assert!(handles("x", &"deadbeef".repeat(8)).contains("deadbeef"));
        let flood: String = (0..100).map(|i| format!("@peer{i} ")).collect();
        assert_eq!(mentions(&flood).len(), MENTIONS_MAX);
    }
}
