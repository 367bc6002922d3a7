//! What peers have done wrong, and who is blocked for it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// One offence is forgiven per this time.
const FORGIVE_AFTER: Duration = Duration::from_secs(60);
/// Peers remembered, and peers blocked, at most. Every one of them had a connection.
const PEERS_MAX: usize = 4096;

/// Something that an honest peer does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offence {
    /// A gossip message that the node rejected.
    RejectedMessage,
    /// A gossip message longer than its topic allows.
    OversizeMessage,
    /// A request that is too long or cannot be decoded.
    MalformedRequest,
    /// An answer that is too long, cannot be decoded, or is not what was asked for.
    BadAnswer,
}

/// Offences per peer and the peers blocked for them.
#[derive(Debug)]
pub(super) struct Penalties {
    offences_max: u32,
    block_for: Duration,
    /// Offences not yet forgiven, and when that number was right.
    offences: HashMap<PeerId, (f64, Instant)>,
    blocked_until: HashMap<PeerId, Instant>,
}

impl Penalties {
    pub(super) fn new(offences_max: u32, block_for: Duration) -> Self {
        Self {
            offences_max: offences_max.max(1),
            block_for,
            offences: HashMap::new(),
            blocked_until: HashMap::new(),
        }
    }

    /// Counts an offence and returns how many the peer has; see [`Self::deserves_block`].
    pub(super) fn count(&mut self, peer: PeerId, now: Instant) -> f64 {
        if self.offences.len() >= PEERS_MAX && !self.offences.contains_key(&peer) {
            evict_min(&mut self.offences, |(count, _)| *count);
        }
        let (count, at) = self.offences.entry(peer).or_insert((0.0, now));
        *count = after_forgiving(*count, *at, now) + 1.0;
        *at = now;
        *count
    }

    pub(super) fn deserves_block(&self, offences: f64) -> bool {
        // Forgiveness is continuous, so the last of N quick offences finds slightly less than N.
        offences > f64::from(self.offences_max) - 0.5
    }

    /// Blocks a peer and forgets its offences. Returns a peer that must be unblocked to make room.
    pub(super) fn block(&mut self, peer: PeerId, now: Instant) -> Option<PeerId> {
        self.offences.remove(&peer);
        let full = self.blocked_until.len() >= PEERS_MAX && !self.blocked_until.contains_key(&peer);
        let evicted = if full { evict_min(&mut self.blocked_until, |until| *until) } else { None };
        self.blocked_until.insert(peer, now + self.block_for);
        evicted
    }

    /// Forgets what is over, and returns the peers to unblock.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<PeerId> {
        self.offences.retain(|_, (count, at)| after_forgiving(*count, *at, now) > 0.0);
        let over: Vec<PeerId> = self
            .blocked_until
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in &over {
            self.blocked_until.remove(peer);
        }
        over
    }
}

fn after_forgiving(count: f64, at: Instant, now: Instant) -> f64 {
    let elapsed = now.saturating_duration_since(at).as_secs_f64();
    (count - elapsed / FORGIVE_AFTER.as_secs_f64()).max(0.0)
}

/// Removes the entry with the least key, which loses the least knowledge.
fn evict_min<V, K: PartialOrd>(
    map: &mut HashMap<PeerId, V>,
    key: impl Fn(&V) -> K,
) -> Option<PeerId> {
    let mut least: Option<(PeerId, K)> = None;
    for (peer, value) in map.iter() {
        let value = key(value);
        if least.as_ref().is_none_or(|(_, known)| value < *known) {
            least = Some((*peer, value));
        }
    }
    let (peer, _) = least?;
    map.remove(&peer);
    Some(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_offences_block_and_slow_ones_are_forgiven() {
        let start = Instant::now();
        let mut penalties = Penalties::new(3, Duration::from_secs(10));
        let peer = PeerId::random();
        let counts: Vec<f64> =
            (0..3).map(|i| penalties.count(peer, start + Duration::from_millis(i))).collect();
        assert!(!penalties.deserves_block(counts[1]));
        assert!(penalties.deserves_block(counts[2]));

        let slow = PeerId::random();
        for minute in 0..20 {
            let count = penalties.count(slow, start + FORGIVE_AFTER * minute);
            assert!(!penalties.deserves_block(count));
        }
    }

    #[test]
    fn blocks_end() {
        let start = Instant::now();
        let mut penalties = Penalties::new(3, Duration::from_secs(10));
        let peer = PeerId::random();
        assert_eq!(penalties.block(peer, start), None);
        assert!(penalties.expire(start + Duration::from_secs(9)).is_empty());
        assert_eq!(penalties.expire(start + Duration::from_secs(10)), vec![peer]);
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut penalties = Penalties::new(3, Duration::from_secs(10));
        for i in 0..PEERS_MAX + 10 {
            penalties.count(PeerId::random(), start);
            let evicted = penalties.block(PeerId::random(), start);
            assert_eq!(evicted.is_some(), i >= PEERS_MAX);
        }
        assert_eq!(penalties.offences.len(), PEERS_MAX);
        assert_eq!(penalties.blocked_until.len(), PEERS_MAX);
    }
}
