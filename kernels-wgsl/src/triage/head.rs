//! The output head: tied to the embedding table or not, in words and in bytes.

use super::config::Config;
use super::folder::{CONFIG, Named};
use super::report::Findings;
use super::{Code, ConfigEdit};

const KEY: &str = "tie_word_embeddings";

pub(super) fn check(config: &Config, named: &Named<'_>, findings: &mut Findings) {
    let top = config.top(KEY).and_then(|v| v.as_bool());
    let text = config.get(KEY).and_then(|v| v.as_bool());
    // Without the key loaders take the head for tied.
    let claims = if config.is_nested() { vec![top, text] } else { vec![top] };
    let said: Vec<bool> = claims.iter().copied().flatten().collect();
    let contradicts_itself = said.windows(2).any(|pair| pair[0] != pair[1]);
    let half_said = config.is_nested() && said == [false];
    let tied = said.iter().all(|tied| *tied);

    let quantised = named.head.contains_key("weight_packed");
    let own = quantised || named.head.contains_key("weight");
    let same = !quantised && own && is_embedding(named);
    let right = !own || (same && tied);
    let place = match config.is_nested() {
        true => format!("{CONFIG}: {KEY} and text_config.{KEY}"),
        false => format!("{CONFIG}: {KEY}"),
    };
    let mend = match (right, config.is_nested()) {
        (true, true) => "write true in both places: the embedding table is the head",
        (true, false) => "write true: the embedding table is the head",
        (false, true) => "write false in both places: the files hold a head of their own",
        (false, false) => "write false: the files hold a head of their own",
    };
    let what = match (own, quantised, same) {
        (false, ..) => "no lm_head",
        (_, true, _) => "a quantised lm_head",
        (_, _, true) => "an lm_head that repeats embed_tokens",
        _ => "an lm_head that differs from embed_tokens",
    };
    let message = if contradicts_itself {
        format!("the two places contradict each other; the files hold {what}")
    } else if tied && own && !same {
        let how = if said.is_empty() { "absent, which means true" } else { "true" };
        format!("is {how}, and the files hold {what}, which a loader then ignores")
    } else if !tied && !own {
        "is false, and no file holds an lm_head".to_string()
    } else if half_said && own {
        format!(
            "is false in one place and absent, which means true, in the other; the files hold {what}"
        )
    } else {
        if same && tied {
            let message =
                "repeats embed_tokens, to which it is tied; it costs space and is not read";
            findings.note(Code::TiedHead, "lm_head.weight", message, "delete it to save space");
        }
        return;
    };
    let mut fix =
        vec![ConfigEdit { file: CONFIG, path: vec![KEY.into()], value: Some(right.into()) }];
    if config.is_nested() {
        fix.push(config.edit(KEY, right));
    }
    findings.error(Code::TiedHead, place, message, mend).extend(fix);
}

/// Whether `lm_head.weight` holds the bytes of the embedding table.
fn is_embedding(named: &Named<'_>) -> bool {
    let (Some(head), Some(table)) =
        (named.head.get("weight"), named.text.get("embed_tokens.weight"))
    else {
        return false;
    };
    head.dtype == table.dtype && head.shape == table.shape && head.data() == table.data()
}
