//! The best of a track: a ladder for recipes that keep every token, a Pareto front for the rest.
//!
//! Both are one rule. An entry *advances* a front when no member is as good in quality and less
//! than η slower than the entry is fast: "faster by less than η" is a tie, and a tie changes
//! nothing, so that nobody climbs by luck (the Ladder of Blum and Hardt, arXiv 1502.04585, with η
//! as its step). Among lossless entries quality is equal by definition, and the front has one
//! member: the published best.

use serde::{Deserialize, Serialize};

/// Millionths in one.
const ONE_PPM: u64 = 1_000_000;

/// What may be compared within a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    /// Emits what the base recipe emits, from the base checkpoint.
    Lossless,
    /// Everything else that passes the quality gate.
    Lossy,
}

/// Where an entry stands in its track, everything relative to the base recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Speed over the base recipe's, in millionths.
    pub ratio_ppm: u64,
    /// Perplexity over the base checkpoint's, in millionths.
    pub perplexity_ppm: u64,
    /// KL(base || recipe) per token, in millionths of a nat.
    pub kl_micronats: u64,
}

impl Point {
    /// The base recipe itself.
    pub const BASE: Self = Self { ratio_ppm: ONE_PPM, perplexity_ppm: ONE_PPM, kl_micronats: 0 };

    /// A recipe that emits what the base recipe emits.
    #[must_use]
    pub fn lossless(ratio_ppm: u64) -> Self {
        Self { ratio_ppm, ..Self::BASE }
    }

    fn quality_not_worse_than(&self, other: &Self) -> bool {
        self.perplexity_ppm <= other.perplexity_ppm && self.kl_micronats <= other.kl_micronats
    }

    /// Whether nothing speaks for `other`: this is not worse in anything and better in something.
    #[must_use]
    pub fn dominates(&self, other: &Self) -> bool {
        self != other && self.ratio_ppm >= other.ratio_ppm && self.quality_not_worse_than(other)
    }

    /// Whether `other` is of no better quality and not faster by more than η.
    #[must_use]
    pub fn holds_off(&self, other: &Self, eta_ppm: u64) -> bool {
        // In 128 bits no product of two 64-bit numbers overflows.
        let reach = u128::from(self.ratio_ppm) * u128::from(ONE_PPM.saturating_add(eta_ppm));
        reach >= u128::from(other.ratio_ppm) * u128::from(ONE_PPM)
            && self.quality_not_worse_than(other)
    }
}

/// Whether `point` advances the front, on which the base recipe always has a place.
#[must_use]
pub fn advances<'a>(
    front: impl IntoIterator<Item = &'a Point>,
    point: &Point,
    eta_ppm: u64,
) -> bool {
    !Point::BASE.holds_off(point, eta_ppm)
        && !front.into_iter().any(|member| member.holds_off(point, eta_ppm))
}

/// The front that entries form in the order in which they were settled: each joins if it advances
/// the front of those before it, and pushes out what it dominates.
#[must_use]
pub fn front<K: Copy>(
    entries: impl IntoIterator<Item = (K, Point)>,
    eta_ppm: u64,
) -> Vec<(K, Point)> {
    let mut front: Vec<(K, Point)> = Vec::new();
    for (key, point) in entries {
        if advances(front.iter().map(|(_, member)| member), &point, eta_ppm) {
            front.retain(|(_, member)| !point.dominates(member));
            front.push((key, point));
        }
    }
    front
}

/// `ratio_ppm` of `parent_ppm`, both in millionths and rounded down; `None` beyond 64 bits.
#[must_use]
pub fn product_ppm(parent_ppm: u64, ratio_ppm: u64) -> Option<u64> {
    let product = u128::from(parent_ppm) * u128::from(ratio_ppm) / u128::from(ONE_PPM);
    u64::try_from(product).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ETA: u64 = 10_000;

    fn lossless(ratios: &[u64]) -> Vec<(usize, Point)> {
        ratios.iter().map(|ratio| Point::lossless(*ratio)).enumerate().collect()
    }

    #[test]
    fn the_published_best_moves_by_more_than_eta_only() {
        let best = |ratios: &[u64]| {
            let front = front(lossless(ratios), ETA);
            front.iter().map(|(key, _)| *key).collect::<Vec<_>>()
        };
        assert!(best(&[1_005_000]).is_empty(), "within η of the base is a tie with it");
        assert_eq!(best(&[1_200_000, 1_211_000]), [0], "0.9 % faster is a tie");
        assert_eq!(best(&[1_200_000, 1_212_001]), [1]);
        // A hundred steps of a tie each never add up to a new record by themselves.
        let creeping: Vec<u64> = (0..100).map(|i| 1_200_000 + i * 100).collect();
        assert_eq!(best(&creeping), [0]);
    }

    #[test]
    fn speed_and_quality_are_traded_on_the_front() {
        let point = |ratio_ppm, perplexity_ppm, kl_micronats| Point {
            ratio_ppm,
            perplexity_ppm,
            kl_micronats,
        };
        let entries = [
            ("int4", point(1_600_000, 1_020_000, 9_000)),
            ("finer scales", point(1_500_000, 1_010_000, 5_000)),
            ("worse in all", point(1_400_000, 1_030_000, 9_500)),
            ("faster int4", point(1_700_000, 1_020_000, 9_000)),
            ("a hair faster", point(1_505_000, 1_010_000, 5_000)),
        ];
        let names: Vec<&str> = front(entries, ETA).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["finer scales", "faster int4"]);
    }

    #[test]
    fn products_are_checked() {
        assert_eq!(product_ppm(1_300_000, 1_200_000), Some(1_560_000));
        assert_eq!(product_ppm(u64::MAX, 2_000_000), None);
        assert!(Point::lossless(u64::MAX).holds_off(&Point::lossless(u64::MAX), u64::MAX));
    }

    fn points() -> impl Strategy<Value = Vec<(usize, Point)>> {
        let point = (900_000_u64..2_000_000, 990_000_u64..1_050_000, 0_u64..50_000).prop_map(
            |(ratio_ppm, perplexity_ppm, kl_micronats)| Point {
                ratio_ppm,
                perplexity_ppm,
                kl_micronats,
            },
        );
        prop::collection::vec(point, 0..40).prop_map(|all| all.into_iter().enumerate().collect())
    }

    proptest! {
        #[test]
        fn no_member_dominates_another_and_everyone_else_is_held_off(entries in points()) {
            let front = front(entries.clone(), ETA);
            for (key, point) in &front {
                prop_assert!(!front.iter().any(|(_, other)| other.dominates(point)));
                prop_assert!(entries.contains(&(*key, *point)));
            }
            for (key, point) in &entries {
                let member = front.iter().any(|(other, _)| other == key);
                let held = !advances(front.iter().map(|(_, m)| m), point, ETA);
                prop_assert!(member || held);
            }
        }

        #[test]
        fn the_front_of_a_front_is_itself(entries in points()) {
            let once = front(entries, ETA);
            prop_assert_eq!(front(once.clone(), ETA), once);
        }

        #[test]
        fn the_lossless_front_is_one_best_that_never_falls(
            ratios in prop::collection::vec(900_000_u64..3_000_000, 1..40),
        ) {
            let mut last = 0;
            for count in 1..=ratios.len() {
                let front = front(lossless(&ratios[..count]), ETA);
                prop_assert!(front.len() <= 1);
                let best = front.first().map_or(0, |(_, point)| point.ratio_ppm);
                prop_assert!(best >= last);
                last = best;
                // Whatever is not published is at most η faster than what is.
                let fastest = ratios[..count].iter().copied().max().unwrap();
                prop_assert!(fastest * 1_000 <= best.max(1_000_000) * 1_010);
            }
        }
    }
}
