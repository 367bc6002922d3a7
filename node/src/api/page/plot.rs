//! Plots of speed ratios: one horizontal axis, one strip of SVG a row.
//!
//! Positions are percentages and sizes are pixels, so that strips fill any width without their
//! marks or text being scaled.

use assay_protocol::verdict::{Estimate, Outcome};
use maud::{Markup, html};

/// Ratios beyond this, or below its inverse, are drawn at the edge; the number beside the strip
/// says what they are.
const RATIO_MAX: f64 = 64.0;
/// Most ticks on an axis.
const TICKS_MAX: f64 = 6.0;
/// Height of a strip.
const STRIP_PX: u32 = 24;

/// What a claim's marks look like: colour and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Accepted,
    Refuted,
    Inconclusive,
    Open,
    /// Accepted, and refuted since.
    Debunked,
}

impl Mark {
    pub(super) fn of(outcome: Option<Outcome>) -> Self {
        match outcome {
            Some(Outcome::Accepted) => Self::Accepted,
            Some(Outcome::Refuted) => Self::Refuted,
            Some(Outcome::Inconclusive | Outcome::Pending | Outcome::Contested) => {
                Self::Inconclusive
            }
            None => Self::Open,
        }
    }

    /// The name of its colour in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refuted => "refuted",
            Self::Inconclusive => "inconclusive",
            Self::Open => "open",
            Self::Debunked => "debunked",
        }
    }

    /// The shape, around the origin: disc, cross, diamond, ring, ring with a stroke through it.
    pub(super) fn shape(self) -> Markup {
        let (class, path) = match self {
            Self::Accepted => ("fill", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z"),
            Self::Refuted => ("line", "M-3.5-3.5L3.5 3.5M3.5-3.5L-3.5 3.5"),
            Self::Inconclusive => ("line", "M0-4.6L4.6 0L0 4.6L-4.6 0z"),
            Self::Open => ("line", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z"),
            Self::Debunked => ("line", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0zM-5 5L5-5"),
        };
        html! { path class=(class) d=(path) {} }
    }

    /// The shape as a sign in running text. The words beside it say the same.
    pub(super) fn icon(self) -> Markup {
        html! {
            svg class={ "icon " (self.class()) } viewBox="-6 -6 12 12" width="12" height="12"
                aria-hidden="true" { (self.shape()) }
        }
    }
}

/// A logarithmic axis of ratios that always shows 1, where nothing is gained.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
}

/// A ratio given in millionths.
pub(super) fn from_ppm(ppm: u64) -> f64 {
    ppm as f64 / 1e6
}

impl Scale {
    /// An axis that shows all `ratios`, with some room at both ends.
    pub(super) fn over(ratios: impl IntoIterator<Item = f64>) -> Self {
        let (mut low, mut high) = (0.99, 1.02);
        for ratio in ratios.into_iter().filter(|ratio| !ratio.is_nan()) {
            let ratio = ratio.clamp(1.0 / RATIO_MAX, RATIO_MAX);
            low = ratio.min(low);
            high = ratio.max(high);
        }
        let room = (high / low).powf(0.05);
        Self { low: low / room, high: high * room }
    }

    /// Where a ratio lies, from 0 at the low end to 1 at the high one.
    pub(super) fn share(self, ratio: f64) -> f64 {
        (ratio.clamp(self.low, self.high) / self.low).ln() / (self.high / self.low).ln()
    }

    /// Where a ratio lies, in percent of the width.
    fn at(self, ratio: f64) -> String {
        format!("{:.2}%", self.share(ratio) * 100.0)
    }

    /// Round ratios to label: even steps on a short axis, powers of two on a long one.
    pub(super) fn ticks(self) -> Vec<f64> {
        if self.high / self.low > 4.0 {
            let powers = (-6..=6).step_by(if self.high / self.low > 64.0 { 2 } else { 1 });
            let shown = powers.map(|power| 2_f64.powi(power));
            return shown.filter(|tick| (self.low..=self.high).contains(tick)).collect();
        }
        let steps = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
        let fits = |step: &&f64| (self.high - self.low) / **step <= TICKS_MAX;
        let step = *steps.iter().find(fits).unwrap_or(&1.0);
        let first = (self.low / step).ceil();
        (0..16)
            .map(|index| (first + f64::from(index)) * step)
            .take_while(|tick| *tick <= self.high)
            .collect()
    }

    /// The axis: a line with labelled ticks.
    pub(super) fn axis(self) -> Markup {
        html! {
            svg.strip.axis width="100%" height=(STRIP_PX) aria-hidden="true" {
                line x1="0" x2="100%" y1="0.5" y2="0.5" {}
                @for tick in self.ticks() {
                    line x1=(self.at(tick)) x2=(self.at(tick)) y1="0" y2="5" {}
                    text x=(self.at(tick)) y="17" text-anchor="middle" { (label(tick)) }
                }
            }
        }
    }

    /// A row of the plot: the line of no gain, the gain needed, and `marks`. The label is for those
    /// who cannot see it.
    pub(super) fn strip(self, needed: f64, label: &str, marks: &Markup) -> Markup {
        html! {
            svg.strip width="100%" height=(STRIP_PX) role="img" aria-label=(label) {
                line.no-gain x1=(self.at(1.0)) x2=(self.at(1.0)) y1="0" y2="100%" {}
                line.needed x1=(self.at(needed)) x2=(self.at(needed)) y1="0" y2="100%" {}
                (marks)
            }
        }
    }

    /// An estimate: its interval as a bar with ends, its shape at the middle.
    pub(super) fn estimate(self, mark: Mark, estimate: &Estimate) -> Markup {
        let low = self.at(from_ppm(estimate.low_ppm));
        let high = self.at(from_ppm(estimate.high_ppm));
        let middle = self.at(from_ppm(estimate.ppm));
        html! {
            g class={ "estimate " (mark.class()) } {
                line.line x1=(low) x2=(high) y1="50%" y2="50%" {}
                @for end in [&low, &high] {
                    line.line x1=(end) x2=(end) y1="20%" y2="80%" {}
                }
                svg x=(middle) y="50%" overflow="visible" { (mark.shape()) }
            }
        }
    }

    /// Single samples as dots, shifted up and down in turn so that they do not hide each other,
    /// with a stroke at their mean.
    pub(super) fn dots(self, ratios: impl IntoIterator<Item = f64>, mean: f64) -> Markup {
        let rows = ["50%", "32%", "68%"];
        html! {
            line.mean x1=(self.at(mean)) x2=(self.at(mean)) y1="12%" y2="88%" {}
            @for (ratio, y) in ratios.into_iter().zip(rows.iter().cycle()) {
                circle.dot cx=(self.at(ratio)) cy=(y) r="2.6" {}
            }
        }
    }

    /// The pooled interval as a band behind the dots of every seat.
    pub(super) fn band(self, estimate: &Estimate) -> Markup {
        let position = |ppm| self.at(from_ppm(ppm));
        html! {
            svg x=(position(estimate.low_ppm)) width="100%" height="100%" overflow="hidden" {
                rect.band x="0" y="0" width=(self.width(estimate)) height="100%" {}
            }
        }
    }

    /// Width of an interval in percent of the axis.
    fn width(self, estimate: &Estimate) -> String {
        let at = |ppm| from_ppm(ppm).clamp(self.low, self.high).ln();
        let share = (at(estimate.high_ppm) - at(estimate.low_ppm)) / (self.high / self.low).ln();
        format!("{:.2}%", share.max(0.0) * 100.0)
    }
}

/// A tick's label.
pub(super) fn label(tick: f64) -> String {
    let text = format!("{tick:.3}");
    let text = text.trim_end_matches('0');
    match text.strip_suffix('.') {
        Some(whole) => format!("{whole}×"),
        None => format!("{text}×"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_ratio_lies_on_the_axis() {
        for ratio in [0.0, 1e-30, 0.5, 1.0, 1.3, 1e30, f64::INFINITY, f64::NAN] {
            let scale = Scale::over([ratio, 1.3]);
            for shown in [ratio, 1.0, 1.3] {
                let text = scale.at(shown);
                let percent: f64 = text.trim_end_matches('%').parse().unwrap();
                assert!(shown.is_nan() || (0.0..=100.0).contains(&percent), "{ratio} {text}");
            }
            assert!((1..=16).contains(&scale.ticks().len()), "{ratio}: {:?}", scale.ticks());
        }
    }

    #[test]
    fn ticks_are_round_and_include_no_gain() {
        let ticks = Scale::over([0.98, 1.4]).ticks();
        let labels: Vec<String> = ticks.into_iter().map(label).collect();
        assert_eq!(labels, ["1×", "1.1×", "1.2×", "1.3×", "1.4×"]);
        assert!(Scale::over([8.0]).ticks().contains(&1.0));
    }
}
