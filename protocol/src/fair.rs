//! Whose claim is measured next: fair shares of the committees' time.
//!
//! Measuring is what a network has least of. Start-time fair queueing (Goyal, Vin and Cheng, 1996)
//! over operators gives each that keeps claims waiting the same share of seat time, whatever its
//! claims cost and however many it has, in the same bounds as deficit round robin and without a
//! quantum to tune. Time not asked for is not saved up: an operator that returns starts level with
//! those being served. A second look that the network takes by itself is paid for by nobody; it
//! goes ahead only when no claim waits or after [`PAID_BEFORE_UNPAID`] others, so that neither
//! starves the other.

use serde::Serialize;
use std::collections::BTreeMap;

/// Paid rounds that go before one that nobody pays for, while both wait.
pub const PAID_BEFORE_UNPAID: u32 = 8;

/// A round that waits for a measuring place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// The operator whose share pays; none for a round held by lot.
    pub payer: Option<&'a str>,
    /// Rounds of the same payer that are being measured.
    pub in_flight: usize,
}

/// How much of the committees' time each operator had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Shares {
    /// Seat milliseconds by operator.
    spent_ms: BTreeMap<String, u64>,
    /// Start of the round served last: where a returning operator begins.
    clock_ms: u64,
    /// Paid rounds since one that nobody paid for.
    paid_in_a_row: u32,
}

impl Shares {
    /// Seat milliseconds by operator.
    #[must_use]
    pub fn spent_ms(&self) -> &BTreeMap<String, u64> {
        &self.spent_ms
    }

    /// Where an operator stands in the queue: lower goes first.
    fn start_of(&self, operator: &str) -> u64 {
        self.spent_ms.get(operator).copied().unwrap_or(0).max(self.clock_ms)
    }

    /// The index of the round to measure next; rounds of one payer keep their order.
    #[must_use]
    pub fn next(&self, waiting: &[Waiting<'_>]) -> Option<usize> {
        let paid = waiting.iter().enumerate().filter_map(|(index, round)| {
            let payer = round.payer?;
            Some((round.in_flight, self.start_of(payer), index))
        });
        let paid = paid.min().map(|(_, _, index)| index);
        let unpaid = waiting.iter().position(|round| round.payer.is_none());
        match (paid, unpaid) {
            (Some(_), Some(unpaid)) if self.paid_in_a_row >= PAID_BEFORE_UNPAID => Some(unpaid),
            (paid, unpaid) => paid.or(unpaid),
        }
    }

    /// A round begins to be measured.
    pub fn started(&mut self, payer: Option<&str>) {
        let Some(payer) = payer else {
            self.paid_in_a_row = 0;
            return;
        };
        self.paid_in_a_row = self.paid_in_a_row.saturating_add(1);
        let start = self.start_of(payer);
        self.clock_ms = start;
        self.spent_ms.insert(payer.to_owned(), start);
    }

    /// A round is over; it took `seat_ms` of the seats' time.
    pub fn ended(&mut self, payer: Option<&str>, seat_ms: u64) {
        let Some(payer) = payer else { return };
        let spent = self.spent_ms.entry(payer.to_owned()).or_insert(0);
        // Even a round that ended at once took a place.
        *spent = spent.saturating_add(seat_ms.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting<'a>(payers: &[Option<&'a str>]) -> Vec<Waiting<'a>> {
        payers.iter().map(|payer| Waiting { payer: *payer, in_flight: 0 }).collect()
    }

    #[test]
    fn the_one_who_had_least_goes_first_and_the_oldest_of_its_rounds() {
        let mut shares = Shares::default();
        shares.started(Some("a"));
        shares.ended(Some("a"), 1_000);
        assert_eq!(shares.next(&waiting(&[Some("a"), Some("b"), Some("b")])), Some(1));
        assert_eq!(shares.next(&[]), None);
        let busy = [
            Waiting { payer: Some("b"), in_flight: 1 },
            Waiting { payer: Some("a"), in_flight: 0 },
        ];
        assert_eq!(shares.next(&busy), Some(1), "a second place goes to someone else");
    }

    #[test]
    fn time_not_asked_for_is_not_saved_up() {
        let mut shares = Shares::default();
        for _ in 0..100 {
            shares.started(Some("busy"));
            shares.ended(Some("busy"), 1_000);
        }
        let both = waiting(&[Some("late"), Some("busy")]);
        let mut late = 0;
        for _ in 0..10 {
            let next = shares.next(&both).and_then(|index| both[index].payer);
            late += usize::from(next == Some("late"));
            shares.started(next);
            shares.ended(next, 1_000);
        }
        assert!((5..=6).contains(&late), "{late} of 10");
    }

    #[test]
    fn a_round_held_by_lot_neither_starves_nor_pushes_in() {
        let mut shares = Shares::default();
        let all = waiting(&[None, Some("a")]);
        let mut order = Vec::new();
        for _ in 0..18 {
            let index = shares.next(&all).unwrap();
            order.push(index);
            shares.started(all[index].payer);
            shares.ended(all[index].payer, 5);
        }
        let lots: Vec<usize> = (0..18).filter(|i| order[*i] == 0).collect();
        assert_eq!(lots, [8, 17]);
        assert_eq!(shares.next(&waiting(&[None])), Some(0));
    }

    proptest! {
        /// Operators that always have something waiting get the same time, whatever each of their
        /// rounds costs: any two differ by no more than what one round of either costs.
        #[test]
        fn backlogged_operators_share_alike(
            costs in prop::collection::vec(1_u64..10_000, 2..6), rounds in 50_usize..300,
        ) {
            let names: Vec<String> = (0..costs.len()).map(|i| format!("operator {i}")).collect();
            let payers: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
            let all = waiting(&payers);
            let mut shares = Shares::default();
            let mut served = vec![0_u64; costs.len()];
            for _ in 0..rounds {
                let index = shares.next(&all).unwrap();
                shares.started(all[index].payer);
                shares.ended(all[index].payer, costs[index]);
                served[index] += costs[index];
            }
            for (a, x) in served.iter().enumerate() {
                for (b, y) in served.iter().enumerate() {
                    prop_assert!(x.abs_diff(*y) <= costs[a] + costs[b], "{served:?} {costs:?}");
                }
            }
        }
    }
}
