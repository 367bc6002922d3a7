//! Charts of points over two axes.
//!
//! Positions across are percentages and everything else is pixels, so that a chart fills any width without
//! its marks or text being scaled.

use super::plot::{Mark, Scale, label};
use maud::{Markup, html};

/// Height of a chart.
const HEIGHT_PX: f64 = 300.0;
/// Room above the highest and below the lowest value; the axis is below.
const ABOVE_PX: f64 = 10.0;
const BELOW_PX: f64 = 34.0;
/// Share of the width left of the first value and right of the last one, in percent. What is left of it
/// holds the labels of the scale.
const LEFT: f64 = 8.0;
const RIGHT: f64 = 3.0;
/// Labels on the axis across.
const LABELS: u32 = 4;

/// A chart of ratios, up on a logarithmic scale, over something that grows to the right.
pub(super) struct Chart {
    pub(super) up: Scale,
    /// The smallest and the largest value across.
    pub(super) across: (f64, f64),
}

impl Chart {
    /// Where a value lies across, in percent of the width.
    fn x(&self, value: f64) -> f64 {
        let (low, high) = self.across;
        let share = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
        LEFT + share * (100.0 - LEFT - RIGHT)
    }

    /// Where a ratio lies, in pixels from above.
    fn y(&self, ratio: f64) -> f64 {
        ABOVE_PX + (1.0 - self.up.share(ratio)) * (HEIGHT_PX - ABOVE_PX - BELOW_PX)
    }

    /// The chart around its marks. `spoken` is for those who cannot see it, `name` is what lies across.
    pub(super) fn frame(
        &self,
        spoken: &str,
        name: &str,
        words: impl Fn(f64) -> String,
        marks: &Markup,
    ) -> Markup {
        let (low, high) = self.across;
        let floor = HEIGHT_PX - BELOW_PX;
        let steps =
            (0..=LABELS).map(|step| low + (high - low) * f64::from(step) / f64::from(LABELS));
        html! {
            svg.chart width="100%" height=(HEIGHT_PX) role="group" aria-label=(spoken) {
                @for tick in self.up.ticks() {
                    @let y = format!("{:.1}", self.y(tick));
                    line.grid x1={ (LEFT) "%" } x2={ (100.0 - RIGHT) "%" } y1=(y) y2=(y) {}
                    text x={ (LEFT - 1.0) "%" } y=(y) dy="0.32em" text-anchor="end" { (label(tick)) }
                }
                line.frame x1={ (LEFT) "%" } x2={ (100.0 - RIGHT) "%" } y1=(floor) y2=(floor) {}
                @for value in steps {
                    text x={ (format!("{:.2}", self.x(value))) "%" } y=(floor + 15.0) text-anchor="middle" { (words(value)) }
                }
                text x={ (format!("{:.2}", LEFT + (100.0 - LEFT - RIGHT) / 2.0)) "%" } y=(floor + 30.0) text-anchor="middle" { (name) }
                (marks)
            }
        }
    }

    /// A line that holds each value until the next, to the right end.
    pub(super) fn steps(&self, class: &str, values: &[(f64, f64)]) -> Markup {
        let ends = values.iter().skip(1).map(|(x, _)| *x).chain([self.across.1]);
        let nexts = values.iter().skip(1).map(|(_, y)| Some(*y)).chain([None]);
        html! {
            @for (((x, ratio), end), next) in values.iter().zip(ends).zip(nexts) {
                @let (x1, x2, y) = (self.x(*x), self.x(end), self.y(*ratio));
                line class=(class) x1={ (format!("{x1:.2}")) "%" } x2={ (format!("{x2:.2}")) "%" } y1=(format!("{y:.1}")) y2=(format!("{y:.1}")) {}
                @if let Some(next) = next {
                    line class=(class) x1={ (format!("{x2:.2}")) "%" } x2={ (format!("{x2:.2}")) "%" } y1=(format!("{y:.1}")) y2=(format!("{:.1}", self.y(next))) {}
                }
            }
        }
    }

    /// A band around such a line: from each value divided by `factor` to it times `factor`.
    pub(super) fn band(&self, values: &[(f64, f64)], factor: f64) -> Markup {
        let ends = values.iter().skip(1).map(|(x, _)| *x).chain([self.across.1]);
        html! {
            @for ((x, ratio), end) in values.iter().zip(ends) {
                @let (left, right) = (self.x(*x), self.x(end));
                @let (top, bottom) = (self.y(ratio * factor), self.y(ratio / factor));
                rect.band x={ (format!("{left:.2}")) "%" } width={ (format!("{:.2}", right - left)) "%" }
                    y=(format!("{top:.1}")) height=(format!("{:.1}", bottom - top)) {}
            }
        }
    }

    /// A point with its interval, linked to its page.
    pub(super) fn point(&self, point: &Dot) -> Markup {
        let (x, y) =
            (format!("{:.2}%", self.x(point.across)), format!("{:.1}", self.y(point.ratio)));
        html! {
            a.dot-link href=(point.page) aria-label=(point.words) {
                title { (point.words) }
                g class={ "estimate " (point.mark.class()) } {
                    @if let Some((low, high)) = point.bounds {
                        line.line x1=(x) x2=(x) y1=(format!("{:.1}", self.y(low))) y2=(format!("{:.1}", self.y(high))) {}
                    }
                    svg x=(x) y=(y) overflow="visible" {
                        @if point.leads { circle.ring r="8" {} }
                        (point.mark.shape())
                    }
                }
            }
        }
    }
}

/// A point of a chart.
pub(super) struct Dot {
    pub(super) across: f64,
    pub(super) ratio: f64,
    /// Its interval.
    pub(super) bounds: Option<(f64, f64)>,
    pub(super) mark: Mark,
    /// Whether it leads, which a ring around it shows.
    pub(super) leads: bool,
    pub(super) page: String,
    /// What it is, in words.
    pub(super) words: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lies_inside() {
        for across in [(0.0, 10.0), (5.0, 5.0), (0.0, 0.0)] {
            let chart = Chart { up: Scale::over([0.5, 3.0]), across };
            for value in [-1.0, 0.0, 5.0, 1e30, f64::NAN] {
                let x = chart.x(value);
                assert!(x.is_nan() || (LEFT..=100.0 - RIGHT).contains(&x), "{value} {x}");
            }
            for ratio in [0.0, 1.0, 1e30, f64::INFINITY] {
                let y = chart.y(ratio);
                assert!((ABOVE_PX..=HEIGHT_PX - BELOW_PX).contains(&y), "{ratio} {y}");
            }
        }
    }

    #[test]
    fn steps_hold_until_the_next() {
        let chart = Chart { up: Scale::over([1.0, 2.0]), across: (0.0, 10.0) };
        let drawn = chart.steps("best", &[(0.0, 1.0), (4.0, 2.0)]).into_string();
        assert_eq!(drawn.matches("<line").count(), 3, "{drawn}");
        assert_eq!(
            chart.band(&[(0.0, 1.0), (4.0, 2.0)], 1.01).into_string().matches("<rect").count(),
            2
        );
    }
}
