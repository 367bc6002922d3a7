//! The strings that structure a model's output, and finding them in text that is still arriving.

/// Begins a channel; its name follows.
pub const CHANNEL_OPEN: &str = "<|channel>";
/// Ends a channel.
pub const CHANNEL_CLOSE: &str = "<channel|>";
/// Begins a tool call.
pub const CALL_OPEN: &str = "<|tool_call>";
/// Ends a tool call.
pub const CALL_CLOSE: &str = "<tool_call|>";
/// Begins and ends a string in a tool call.
pub const QUOTE: &str = "<|\"|>";

/// Markers behind which nothing is the model's to say, those of Gemma 3 included.
pub(super) const ENDS: [&str; 8] = [
    "<turn|>",
    "<|turn>",
    "<|tool_response>",
    "<eos>",
    "<bos>",
    "<pad>",
    "<end_of_turn>",
    "<start_of_turn>",
];

/// Markers outside of tool calls.
pub(super) const OUTSIDE: &[&str] = &[
    CHANNEL_OPEN,
    CHANNEL_CLOSE,
    CALL_OPEN,
    CALL_CLOSE,
    ENDS[0],
    ENDS[1],
    ENDS[2],
    ENDS[3],
    ENDS[4],
    ENDS[5],
    ENDS[6],
    ENDS[7],
];

/// Markers inside of a tool call.
pub(super) const IN_CALL: &[&str] = &[
    QUOTE,
    CALL_CLOSE,
    CALL_OPEN,
    CHANNEL_OPEN,
    ENDS[0],
    ENDS[1],
    ENDS[2],
    ENDS[3],
    ENDS[4],
    ENDS[5],
    ENDS[6],
    ENDS[7],
];

/// Markers inside of a string of a tool call.
pub(super) const IN_STRING: &[&str] = &[QUOTE];

/// Everything that a tokenizer of the family reads as one special token when a text spells it.
pub const SPELLED: [&str; 28] = [
    CHANNEL_OPEN,
    CHANNEL_CLOSE,
    CALL_OPEN,
    CALL_CLOSE,
    QUOTE,
    "<turn|>",
    "<|turn>",
    "<|tool_response>",
    "<tool_response|>",
    "<|tool>",
    "<tool|>",
    "<|think|>",
    "<eos>",
    "<bos>",
    "<pad>",
    "<unk>",
    "<mask>",
    "<end_of_turn>",
    "<start_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<|image>",
    "<image|>",
    "<|image|>",
    "<|audio>",
    "<audio|>",
    "<|audio|>",
    "<|video|>",
];

/// What a search for markers found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The first whole marker and where it begins.
    Whole(usize, &'static str),
    /// None; from this place on the text may be the beginning of one.
    Part(usize),
}

/// Looks for the first of `markers` in `text`.
pub(super) fn find(text: &str, markers: &[&'static str]) -> Found {
    let whole = markers.iter().filter_map(|marker| Some((text.find(marker)?, *marker))).min();
    if let Some((at, marker)) = whole {
        return Found::Whole(at, marker);
    }
    let begins = |at: &usize| markers.iter().any(|marker| marker.starts_with(&text[*at..]));
    let mut places = text.match_indices('<').map(|(at, _)| at);
    Found::Part(places.find(begins).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_found_whole_or_in_part() {
        assert_eq!(find("a<|channel>b", OUTSIDE), Found::Whole(1, CHANNEL_OPEN));
        assert_eq!(find("a<turn|><|channel>", OUTSIDE), Found::Whole(1, "<turn|>"));
        assert_eq!(find("a < b <|chan", OUTSIDE), Found::Part(6));
        assert_eq!(find("a < b", OUTSIDE), Found::Part(5));
        assert_eq!(find("<", OUTSIDE), Found::Part(0));
        assert_eq!(find("<turn|>", &[]), Found::Part(7));
        for marker in OUTSIDE.iter().chain(IN_CALL) {
            assert!(SPELLED.contains(marker), "{marker}");
        }
    }
}
