use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { epoch_blocks: 50, gain_per_epoch: GAIN_PER_EPOCH_LIMIT };

fn at(height: u64) -> Occasion {
    Occasion { height, claim: None, round: None }
}

/// Where seats lie, of a class of which a per cent between seats is assumed and nothing known.
fn fit(seats: &[Vec<f64>]) -> Vec<SeatFit> {
    let rules = SignificanceRules { tau_ppm: 10_000, ..crate::fixtures::genesis().significance };
    let logs = || seats.iter().map(Vec::as_slice);
    let Some(middle) = Middle::of(&Calibration::default(), &rules, logs()) else {
        return Vec::new();
    };
    logs().filter_map(|logs| middle.place(logs)).collect()
}

#[test]
fn an_outlier_among_three_is_the_one_that_is_off() {
    let seat = |centre: f64| (0..12).map(|i| centre + 0.002 * f64::from(i % 3 - 1)).collect();
    let seats = [seat(0.26), seat(0.27), seat(0.60)];
    let fits = fit(&seats);
    assert_eq!(fits.iter().map(|fit| fit.in_range).collect::<Vec<_>>(), [true, true, false]);
    assert!((fits[0].middle - 0.27).abs() < 1e-12);
    // τ = 1 % and the least σ, 0.5 %, over √12 give a reach of 5·1.0104 %.
    assert!((fits[0].reach - 0.05052).abs() < 1e-5, "{:?}", fits[0]);
    let even = fit(&seats[1..]);
    assert!((even[0].middle - 0.435).abs() < 1e-12);
    assert!(fit(&[]).is_empty());
    assert!(fit(&[Vec::new()]).is_empty());
}

#[test]
fn a_seat_cannot_widen_what_it_is_judged_by() {
    let seat = |centre: f64| (0..8).map(|i| centre + 0.02 * f64::from(i % 3 - 1)).collect();
    // Figures made up without measuring: any mean would lie within their own spread.
    let invented = (0..8).map(|i| if i % 2 == 0 { 2.0 } else { -1.6 }).collect();
    let fits = fit(&[seat(0.26), seat(0.27), invented]);
    let in_range: Vec<bool> = fits.iter().map(|fit| fit.in_range).collect();
    assert_eq!(in_range, [true, true, false]);
}

#[test]
fn gains_stop_at_the_cap_and_resume_with_the_next_epoch() {
    let mut account = Account::new(10);
    for height in 1..=9 {
        account.book(Rule::InRange, at(height), LIMITS);
    }
    assert_eq!(account.standing(), 14);
    account.book(Rule::InRange, at(50), LIMITS);
    assert_eq!(account.standing(), 15);
    assert_eq!(account.tallies()[&Rule::InRange], Tally { count: 10, points: 5 });
}

#[test]
fn a_caught_seat_is_neither_drawn_nor_credited_for_an_epoch() {
    let mut account = Account::new(30);
    account.book(Rule::NullTrap, at(60), LIMITS);
    assert_eq!(account.standing(), 20);
    assert_eq!(account.book(Rule::InRange, at(109), LIMITS), 0);
    assert!(account.is_suspended(109) && !account.is_suspended(110));
    assert_eq!(account.book(Rule::InRange, at(110), LIMITS), 1);
}

#[test]
fn the_floor_is_one_and_an_ended_key_has_nothing_for_ever() {
    let mut account = Account::new(3);
    assert_eq!(account.book(Rule::NullTrap, at(1), LIMITS), -2);
    assert_eq!(account.standing(), 1);
    account.book(Rule::Ended, at(2), LIMITS);
    account.book(Rule::InRange, at(500), LIMITS);
    assert_eq!(account.standing(), 0);
    assert!(account.is_suspended(1_000_000));
}

#[test]
fn every_misbehaviour_costs_more_than_an_epoch_brings() {
    for rule in Rule::ALL.into_iter().filter(|rule| rule.is_misbehaviour()) {
        assert!(rule.delta().is_none_or(|delta| -delta > i64::from(GAIN_PER_EPOCH_LIMIT)));
    }
}

fn steps() -> impl Strategy<Value = Vec<(usize, u64)>> {
    proptest::collection::vec((0..Rule::ALL.len(), 0_u64..30), 0..120)
}

proptest! {
    /// Whatever happens in whatever order: the sum holds, gains stay below the cap, and for a
    /// whole epoch after misbehaviour standing stays below what it was, or at the floor and
    /// then without a seat.
    #[test]
    fn no_reachable_score_offsets_a_penalty(start in 1_u64..1_000, steps in steps()) {
        let mut account = Account::new(start);
        let mut height = 0;
        let mut gained = BTreeMap::<u64, i64>::new();
        let mut caught: Vec<(u64, u64, Rule)> = Vec::new();
        for (rule, later) in steps {
            let rule = Rule::ALL[rule];
            height += later;
            let before = account.standing();
            let delta = account.book(rule, at(height), LIMITS);
            prop_assert_eq!(account.standing(), before.saturating_add_signed(delta));
            if rule.is_misbehaviour() {
                caught.push((height, before, rule));
            }
            *gained.entry(height / LIMITS.epoch_blocks).or_default() += delta.max(0);
            prop_assert!(gained.values().all(|sum| *sum <= i64::from(LIMITS.gain_per_epoch)));
            let points: i64 = account.tallies().values().map(|tally| tally.points).sum();
            prop_assert_eq!(account.standing(), start.saturating_add_signed(points));
            prop_assert!(account.standing() >= 1 || account.tallies().contains_key(&Rule::Ended));
            for (since, former, rule) in &caught {
                if height < since + LIMITS.epoch_blocks {
                    let floor = *former <= 1;
                    prop_assert!(account.standing() < *former || floor);
                    prop_assert!(*rule != Rule::NullTrap || account.is_suspended(height));
                }
            }
        }
        prop_assert!(account.recent().count() <= EVENTS_MAX);
    }
}
