//! When to ask for blocks that others have decided already.

use std::time::Duration;
use tokio::time::Instant;

/// A decision usually follows on its own within this time of a message of the next height.
const GRACE: Duration = Duration::from_millis(300);
/// Wait for the first answer; later ones are waited for longer.
const INTERVAL: Duration = Duration::from_millis(500);
/// Questions without progress before a target counts as somebody's invention.
const TRIES_MAX: u32 = 8;

/// The height said to be decided, and the questions asked about it.
#[derive(Debug, Default)]
pub(crate) struct Catchup {
    target: u64,
    tries: u32,
    ask_at: Option<Instant>,
}

impl Catchup {
    /// Somebody showed or said that `target` is decided. `likely` tells that the block may already
    /// be on its way, so that asking can wait a moment.
    pub(crate) fn behind(&mut self, target: u64, likely: bool, now: Instant) {
        if target > self.target {
            self.target = target;
            self.tries = 0;
        }
        if self.ask_at.is_none() {
            self.ask_at = Some(if likely { now + GRACE } else { now });
        }
    }

    /// An answer brought blocks: ask for the next ones at once.
    pub(crate) fn progressed(&mut self, now: Instant) {
        self.tries = 0;
        self.ask_at = Some(now);
    }

    /// When [`Catchup::take_due`] may have something to say.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// Whether to ask now for blocks from `next` on.
    pub(crate) fn take_due(&mut self, next: u64, now: Instant) -> bool {
        if self.ask_at.is_none_or(|at| at > now) {
            return false;
        }
        if self.target < next || self.tries >= TRIES_MAX {
            *self = Self::default();
            return false;
        }
        self.tries += 1;
        self.ask_at = Some(now + INTERVAL * self.tries);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_until_reached_and_forgets_inventions() {
        let mut now = Instant::now();
        let mut catchup = Catchup::default();
        assert!(!catchup.take_due(5, now));
        catchup.behind(9, true, now);
        assert!(!catchup.take_due(5, now));
        now += GRACE;
        assert!(catchup.take_due(5, now) && !catchup.take_due(5, now));
        catchup.progressed(now);
        assert!(catchup.take_due(8, now));
        catchup.progressed(now);
        assert!(!catchup.take_due(10, now));
        assert_eq!(catchup.next_at(), None);

        catchup.behind(u64::MAX, false, now);
        let mut asked = 0;
        while let Some(at) = catchup.next_at() {
            asked += u32::from(catchup.take_due(10, at));
        }
        assert_eq!(asked, TRIES_MAX);
    }
}
