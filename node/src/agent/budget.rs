//! What the operator lets an agent spend in a day, and what it spent.
//!
//! Energy is estimated, not measured: seconds of measuring times the watts that the operator says the
//! machine draws while it measures; a planner's thinking counts as measuring. Waiting for other
//! measurements costs nothing. Whatever is about to be
//! spent is written down first, and what was not needed is given back afterwards; so a node that is killed
//! may have spent less than it believes, never more. A day is one of UTC; disk is what candidates take in
//! all, on whichever day they were made.

use super::view::BudgetLeft;
use crate::home::{HomeError, write_whole};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

const DAY_MS: u64 = 86_400_000;
const SECONDS_PER_HOUR: u64 = 3_600;

/// What an agent may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Seconds of measuring a day.
    pub measuring_s: u64,
    /// What the machine draws while it measures, in watts, for the estimate of energy.
    pub watts: u64,
    /// Energy a day, in watt-hours.
    pub watt_hours: u64,
    /// Bytes that candidates may take on disk.
    pub disk_bytes: u64,
    /// Posts and claims a day.
    pub messages: u64,
}

impl Default for Limits {
    /// An hour a day on a machine that draws 65 W; half a gibibyte; 24 messages.
    fn default() -> Self {
        Self {
            measuring_s: SECONDS_PER_HOUR,
            watts: 65,
            watt_hours: 65,
            disk_bytes: 512 << 20,
            messages: 24,
        }
    }
}

/// What an agent spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spent {
    /// The day that it is about, counted from 1970.
    pub day: u64,
    /// Milliseconds of measuring on that day.
    pub measuring_ms: u64,
    /// Posts and claims on that day.
    pub messages: u64,
    /// Bytes that candidates take on disk.
    pub disk_bytes: u64,
}

impl Spent {
    /// Energy of the day's measuring, estimated, in milliwatt-hours.
    #[must_use]
    pub fn milliwatt_hours(&self, limits: &Limits) -> u64 {
        self.measuring_ms.saturating_mul(limits.watts) / SECONDS_PER_HOUR
    }
}

/// Why something is not paid for.
#[derive(Debug, thiserror::Error)]
pub enum Unpaid {
    /// There is not enough left.
    #[error("the budget for {0} is spent")]
    Exhausted(&'static str),
    /// It could not be written down, so that it must not be spent.
    #[error("the budget cannot be kept: {0}")]
    Home(#[from] HomeError),
}

/// An agent's budget, kept over restarts.
#[derive(Debug)]
pub struct Purse {
    limits: Limits,
    spent: Spent,
    path: PathBuf,
}

impl Purse {
    /// The budget that is kept in the file `path`. One that cannot be read counts as nothing spent today
    /// only if it does not exist.
    ///
    /// # Errors
    ///
    /// When the file is there and is not a budget.
    pub fn open(path: PathBuf, limits: Limits) -> std::io::Result<Self> {
        let spent = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Spent::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { limits, spent, path })
    }

    /// What may be spent.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What was spent on the day of `now_ms`.
    pub fn spent(&mut self, now_ms: u64) -> Spent {
        let day = now_ms / DAY_MS;
        // A clock that was set back does not give a day twice.
        if day > self.spent.day {
            self.spent = Spent { day, disk_bytes: self.spent.disk_bytes, ..Spent::default() };
        }
        self.spent
    }

    /// What is left on the day of `now_ms`.
    pub fn left(&mut self, now_ms: u64) -> BudgetLeft {
        let (limits, spent) = (self.limits, self.spent(now_ms));
        let by_energy = limits.watt_hours.saturating_mul(SECONDS_PER_HOUR);
        let by_energy = by_energy.checked_div(limits.watts).unwrap_or(u64::MAX);
        let seconds = limits.measuring_s.min(by_energy);
        BudgetLeft {
            measuring_s: seconds.saturating_sub(spent.measuring_ms.div_ceil(1_000)),
            disk_bytes: limits.disk_bytes.saturating_sub(spent.disk_bytes),
            messages: limits.messages.saturating_sub(spent.messages),
        }
    }

    /// Pays for a post or claim.
    ///
    /// # Errors
    ///
    /// [`Unpaid`]; nothing must be said then.
    pub fn pay_message(&mut self, now_ms: u64) -> Result<(), Unpaid> {
        if self.left(now_ms).messages == 0 {
            return Err(Unpaid::Exhausted("messages"));
        }
        self.spent.messages += 1;
        Ok(self.keep()?)
    }

    /// Gives back what was paid for a message that was not sent.
    ///
    /// # Errors
    ///
    /// [`Unpaid::Home`]; it counts as spent then.
    pub fn settle_message(&mut self) -> Result<(), Unpaid> {
        self.spent.messages = self.spent.messages.saturating_sub(1);
        Ok(self.keep()?)
    }

    /// Pays for as many seconds of measuring as are left, at most `most`, and says how many.
    ///
    /// # Errors
    ///
    /// [`Unpaid`] where fewer than `least` are left; nothing must be measured then.
    pub fn pay_measuring(&mut self, now_ms: u64, least: u64, most: u64) -> Result<u64, Unpaid> {
        let seconds = self.left(now_ms).measuring_s.min(most);
        if seconds < least {
            return Err(Unpaid::Exhausted("measuring"));
        }
        self.spent.measuring_ms = self.spent.measuring_ms.saturating_add(seconds * 1_000);
        self.keep()?;
        Ok(seconds)
    }

    /// Gives back what a measurement did not need of the `paid` seconds.
    ///
    /// # Errors
    ///
    /// [`Unpaid::Home`]; it counts as spent then.
    pub fn settle_measuring(&mut self, paid: u64, worked: Duration) -> Result<(), Unpaid> {
        let worked = u64::try_from(worked.as_millis()).unwrap_or(u64::MAX);
        let back = (paid * 1_000).saturating_sub(worked);
        self.spent.measuring_ms = self.spent.measuring_ms.saturating_sub(back);
        Ok(self.keep()?)
    }

    /// Counts time for which the machine worked without being asked for it first: a model's thinking.
    ///
    /// # Errors
    ///
    /// [`HomeError`]; it counts as spent all the same.
    pub fn add_measuring(&mut self, now_ms: u64, worked: Duration) -> Result<(), HomeError> {
        let worked = u64::try_from(worked.as_millis()).unwrap_or(u64::MAX);
        let spent = self.spent(now_ms).measuring_ms.saturating_add(worked);
        self.spent.measuring_ms = spent;
        self.keep()
    }

    /// Pays for bytes on disk.
    ///
    /// # Errors
    ///
    /// [`Unpaid`]; nothing must be written then.
    pub fn pay_disk(&mut self, now_ms: u64, bytes: u64) -> Result<(), Unpaid> {
        if self.left(now_ms).disk_bytes < bytes {
            return Err(Unpaid::Exhausted("disk"));
        }
        self.spent.disk_bytes = self.spent.disk_bytes.saturating_add(bytes);
        Ok(self.keep()?)
    }

    /// Gives back what was not written of the bytes paid for, or was deleted since.
    ///
    /// # Errors
    ///
    /// [`HomeError`]; it counts as spent then.
    pub fn settle_disk(&mut self, back: u64) -> Result<(), HomeError> {
        self.spent.disk_bytes = self.spent.disk_bytes.saturating_sub(back);
        self.keep()
    }

    fn keep(&self) -> Result<(), HomeError> {
        // Numbers have no way to fail to become JSON.
        let text = serde_json::to_vec(&self.spent).unwrap_or_default();
        write_whole(&self.path, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn limits() -> Limits {
        Limits { measuring_s: 100, watts: 72, watt_hours: 1, disk_bytes: 1_000, messages: 2 }
    }

    #[test]
    fn what_is_spent_is_kept_and_a_day_ends() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Purse::open(folder.path().join("spent.json"), limits()).unwrap();
        let mut purse = open();
        // 1 Wh at 72 W is 50 s, less than the time allows.
        assert_eq!(purse.left(NOON).measuring_s, 50);
        assert_eq!(purse.pay_measuring(NOON, 20, 40).unwrap(), 40);
        // Killed before it settles: all of it is spent.
        let mut purse = open();
        assert_eq!(purse.left(NOON).measuring_s, 10);
        assert!(matches!(purse.pay_measuring(NOON, 20, 40), Err(Unpaid::Exhausted("measuring"))));
        purse.settle_measuring(40, Duration::from_millis(25_500)).unwrap();
        assert_eq!(purse.left(NOON).measuring_s, 24);
        assert_eq!(purse.spent(NOON).milliwatt_hours(&limits()), 510);

        purse.pay_message(NOON).unwrap();
        purse.pay_message(NOON).unwrap();
        assert!(matches!(open().pay_message(NOON), Err(Unpaid::Exhausted("messages"))));
        purse.pay_disk(NOON, 900).unwrap();
        let mut purse = open();
        assert!(matches!(purse.pay_disk(NOON, 101), Err(Unpaid::Exhausted("disk"))));
        let tomorrow = purse.left(NOON + DAY_MS);
        assert_eq!(tomorrow, BudgetLeft { measuring_s: 50, disk_bytes: 100, messages: 2 });
        // A clock that goes back finds the later day's account.
        purse.pay_message(NOON + DAY_MS).unwrap();
        assert_eq!(purse.left(NOON).messages, 1);
        purse.settle_disk(900).unwrap();
        assert_eq!(purse.left(NOON).disk_bytes, 1_000);
    }

    #[test]
    fn a_spoilt_account_is_an_error_and_not_a_fresh_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spent.json");
        std::fs::write(&path, "{\"messages\": ").unwrap();
        assert!(Purse::open(path, limits()).is_err());
    }

    #[test]
    fn nothing_is_paid_for_that_cannot_be_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let mut purse = Purse::open(folder.path().join("gone/spent.json"), limits()).unwrap();
        assert!(matches!(purse.pay_message(NOON), Err(Unpaid::Home(_))));
    }
}
