//! The running timeouts of a round.

use arc_malachitebft_core_types::Timeout;
use tokio::time::Instant;

/// At most one deadline per timeout; a round has a handful.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    running: Vec<(Timeout, Instant)>,
}

impl Timers {
    /// Starts a timeout, or starts it again.
    pub(crate) fn schedule(&mut self, timeout: Timeout, at: Instant) {
        self.cancel(timeout);
        self.running.push((timeout, at));
    }

    pub(crate) fn cancel(&mut self, timeout: Timeout) {
        self.running.retain(|(running, _)| *running != timeout);
    }

    pub(crate) fn cancel_all(&mut self) {
        self.running.clear();
    }

    /// The earliest deadline.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.running.iter().map(|(_, at)| *at).min()
    }

    /// Takes one timeout that has elapsed, the earliest first.
    pub(crate) fn take_elapsed(&mut self, now: Instant) -> Option<Timeout> {
        let (index, _) = self
            .running
            .iter()
            .enumerate()
            .filter(|(_, (_, at))| *at <= now)
            .min_by_key(|(_, (_, at))| *at)?;
        Some(self.running.swap_remove(index).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_malachitebft_core_types::Round;
    use std::time::Duration;

    #[test]
    fn elapsed_timeouts_come_in_order_and_once() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut timers = Timers::default();
        let (propose, prevote) = (Timeout::propose(Round::ZERO), Timeout::prevote(Round::ZERO));
        timers.schedule(prevote, after(20));
        timers.schedule(propose, after(10));
        assert_eq!(timers.next_at(), Some(after(10)));
        assert_eq!(timers.take_elapsed(after(5)), None);
        assert_eq!(timers.take_elapsed(after(30)), Some(propose));
        assert_eq!(timers.take_elapsed(after(30)), Some(prevote));
        timers.schedule(propose, after(10));
        timers.schedule(propose, after(40));
        assert_eq!(timers.take_elapsed(after(30)), None);
        timers.cancel(propose);
        assert_eq!(timers.next_at(), None);
    }
}
