//! Numbers, times and strangers' text as people read them.

use crate::text::line;
use assay_protocol::verdict::Estimate;
use maud::{Markup, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A speed ratio given in millionths, as `1.304×`.
pub(super) fn ratio(ppm: u64) -> String {
    format!("{}×", bare_ratio(ppm))
}

fn bare_ratio(ppm: u64) -> String {
    match ppm {
        0..1_000_000_000 => format!("{:.3}", ppm as f64 / 1e6),
        _ => significant(ppm as f64 / 1e6),
    }
}

/// An interval of ratios, as `1.291 – 1.318`.
pub(super) fn interval(estimate: &Estimate) -> String {
    format!("{} – {}", bare_ratio(estimate.low_ppm), bare_ratio(estimate.high_ppm))
}

/// Millionths as a number with four significant digits.
pub(super) fn millionths(ppm: u64) -> String {
    significant(ppm as f64 / 1e6)
}

/// Four significant digits; the exponent form where plain digits would be long.
pub(super) fn significant(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 || (size > 0.0 && size < 1e-3) {
        format!("{value:.3e}")
    } else if size >= 1e3 {
        format!("{value:.0}")
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else if size >= 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// Millionths as a percentage.
pub(super) fn percent(ppm: u64) -> String {
    format!("{} %", ppm as f64 / 1e4)
}

/// A length of time in one unit.
pub(super) fn duration(ms: u64) -> String {
    match ms / 1_000 {
        0 => format!("{ms} ms"),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// A moment relative to `now_ms`, with the absolute time in its title.
pub(super) fn moment(now_ms: u64, then_ms: u64) -> Markup {
    let relative = match (now_ms.checked_sub(then_ms), then_ms.saturating_sub(now_ms)) {
        (Some(0..1_000), _) => "this second".to_owned(),
        (Some(past), _) => format!("{} ago", duration(past)),
        (None, ahead) => format!("in {}", duration(ahead)),
    };
    timed(then_ms, &relative)
}

/// How long something has lasted, with its beginning in the title.
pub(super) fn lasting(now_ms: u64, since_ms: u64) -> Markup {
    timed(since_ms, &duration(now_ms.saturating_sub(since_ms)))
}

fn timed(then_ms: u64, words: &str) -> Markup {
    match utc(then_ms) {
        Some(utc) => html! { time datetime=(utc) title=(utc) { (words) } },
        None => html! { (words) },
    }
}

/// A Unix time as RFC 3339 to the second; none beyond the year 9999.
fn utc(unix_ms: u64) -> Option<String> {
    let seconds = i64::try_from(unix_ms / 1_000).ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

/// Text that others wrote, set apart so that its writing direction ends with it, and without
/// characters that command, see [`crate::text`].
pub(super) fn quoted(text: &str) -> Markup {
    html! { bdi { (line(text)) } }
}

/// A claim's summary, or what stands in its place.
pub(super) fn summary(text: &str) -> Markup {
    match text.trim() {
        "" => html! { span.muted { "(no summary)" } },
        text => quoted(text),
    }
}

/// `count` things.
pub(super) fn count(count: usize, one: &str, many: &str) -> String {
    let word = if count == 1 { one } else { many };
    format!("{count} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_and_figures_stay_short() {
        assert_eq!(ratio(1_304_499), "1.304×");
        assert_eq!(ratio(0), "0.000×");
        assert_eq!(ratio(u64::MAX), "1.845e13×");
        assert_eq!(millionths(33_115_000), "33.12");
        assert_eq!(significant(0.000_012), "1.200e-5");
        assert_eq!(percent(1_000), "0.1 %");
    }

    #[test]
    fn times_are_relative_with_the_absolute_in_the_title() {
        let text = moment(10_000_000, 9_940_000).into_string();
        assert!(text.contains("60 s ago") && text.contains("1970-01-01T02:45:40Z"), "{text}");
        assert!(moment(0, 90_000).into_string().contains("in 90 s"));
        assert!(moment(0, u64::MAX).into_string().contains(" d"));
    }

    #[test]
    fn text_cannot_leave_its_place() {
        let text = quoted("<b>\u{202e}x").into_string();
        assert_eq!(text, "<bdi>&lt;b&gt;\u{fffd}x</bdi>");
    }
}
