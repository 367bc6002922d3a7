//! Which known addresses to dial, and when again.
//!
//! Bootstrap addresses are tried for ever, with growing pauses: a node that was started without a
//! network finds it when it comes back. Addresses from the peer cache are tried a few times.

use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

/// Failures after which an address from the peer cache is given up.
const CACHED_FAILURES_MAX: u32 = 3;
/// A connection that lasted this long counts as a success.
const SUCCESS_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Target {
    address: Multiaddr,
    for_ever: bool,
    /// Who answered there last.
    peer: Option<PeerId>,
    dialling: Option<ConnectionId>,
    failures: u32,
    connected_at: Option<Instant>,
    due: Instant,
}

/// The addresses to keep dialling.
#[derive(Debug)]
pub(super) struct Dialer {
    targets: Vec<Target>,
    pause_min: Duration,
    pause_max: Duration,
    /// Differs from node to node, so that nodes which lost the same peer do not return in step.
    jitter: u32,
}

impl Dialer {
    pub(super) fn new(local: &PeerId, pause_min: Duration, pause_max: Duration) -> Self {
        let hash = blake3::hash(&local.to_bytes());
        let jitter = u32::from(hash.as_bytes()[0]);
        Self { targets: Vec::new(), pause_min, pause_max, jitter }
    }

    pub(super) fn add(&mut self, address: Multiaddr, for_ever: bool) {
        if self.targets.iter().any(|target| target.address == address) {
            return;
        }
        self.targets.push(Target {
            address,
            for_ever,
            peer: None,
            dialling: None,
            failures: 0,
            connected_at: None,
            due: Instant::now(),
        });
    }

    /// The addresses to dial now. Every one must be answered by [`Self::dialling`].
    pub(super) fn due(
        &self,
        now: Instant,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<Multiaddr> {
        self.targets
            .iter()
            .filter(|target| target.dialling.is_none() && target.due <= now)
            .filter(|target| !target.peer.as_ref().is_some_and(&is_connected))
            .map(|target| target.address.clone())
            .collect()
    }

    pub(super) fn dialling(&mut self, address: &Multiaddr, connection: ConnectionId) {
        if let Some(target) = self.targets.iter_mut().find(|target| target.address == *address) {
            target.dialling = Some(connection);
        }
    }

    pub(super) fn connected(&mut self, connection: ConnectionId, peer: PeerId, now: Instant) {
        if let Some(target) =
            self.targets.iter_mut().find(|target| target.dialling == Some(connection))
        {
            target.dialling = None;
            target.peer = Some(peer);
            target.connected_at = Some(now);
        }
    }

    /// Plans to dial a lost peer again. A peer that hangs up at once is treated like a failure.
    pub(super) fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        for index in 0..self.targets.len() {
            let target = &mut self.targets[index];
            if target.peer != Some(*peer) {
                continue;
            }
            let lasted = target.connected_at.take().map(|at| now.duration_since(at));
            if lasted.is_some_and(|lasted| lasted >= SUCCESS_AFTER) {
                target.failures = 0;
            }
            self.put_off(index, now);
        }
    }

    /// Notes a failed attempt. Returns the address when this is its first failure in a row.
    pub(super) fn failed(&mut self, connection: ConnectionId, now: Instant) -> Option<Multiaddr> {
        let index = self.targets.iter().position(|target| target.dialling == Some(connection))?;
        self.put_off(index, now);
        let target = &mut self.targets[index];
        target.dialling = None;
        let first = (target.failures == 1).then(|| target.address.clone());
        if !target.for_ever && target.failures >= CACHED_FAILURES_MAX {
            self.targets.swap_remove(index);
        }
        first
    }

    /// Stops dialling an address at which the node found itself.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.targets.retain(|target| target.dialling != Some(connection));
    }

    fn put_off(&mut self, index: usize, now: Instant) {
        let target = &mut self.targets[index];
        let doublings = target.failures.min(16);
        let pause = self.pause_min.saturating_mul(1 << doublings).min(self.pause_max);
        // Up to a quarter more, by node and attempt.
        let spread = self.jitter.wrapping_mul(target.failures + 1) % 256;
        target.due = now + pause + pause.mul_f64(f64::from(spread) / 1024.0);
        target.failures = target.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer() -> (Dialer, Instant, Multiaddr) {
        let pause = (Duration::from_secs(1), Duration::from_secs(60));
        let dialer = Dialer::new(&PeerId::random(), pause.0, pause.1);
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        (dialer, Instant::now() + Duration::from_millis(1), address)
    }

    fn attempt(dialer: &mut Dialer, address: &Multiaddr, id: usize) -> ConnectionId {
        let connection = ConnectionId::new_unchecked(id);
        dialer.dialling(address, connection);
        connection
    }

    #[test]
    fn bootstrap_is_retried_for_ever_with_bounded_pauses() {
        let (mut dialer, mut now, address) = dialer();
        dialer.add(address.clone(), true);
        dialer.add(address.clone(), false);
        for id in 0..50 {
            assert_eq!(dialer.due(now, |_| false), vec![address.clone()]);
            let connection = attempt(&mut dialer, &address, id);
            assert!(dialer.due(now, |_| false).is_empty());
            assert_eq!(dialer.failed(connection, now).is_some(), id == 0);
            assert!(dialer.due(now, |_| false).is_empty());
            now += Duration::from_secs(75);
        }
    }

    #[test]
    fn cached_addresses_are_given_up_and_the_own_one_forgotten() {
        let (mut dialer, now, address) = dialer();
        dialer.add(address.clone(), false);
        for id in 0..3 {
            let connection = attempt(&mut dialer, &address, id);
            dialer.failed(connection, now);
        }
        assert!(dialer.targets.is_empty());
        dialer.add(address.clone(), true);
        let connection = attempt(&mut dialer, &address, 9);
        dialer.forget(connection);
        assert!(dialer.targets.is_empty());
    }

    #[test]
    fn connected_peers_are_left_alone_and_lost_ones_dialled_again() {
        let (mut dialer, now, address) = dialer();
        dialer.add(address.clone(), true);
        let connection = attempt(&mut dialer, &address, 1);
        let peer = PeerId::random();
        dialer.connected(connection, peer, now);
        assert!(dialer.due(now, |p| *p == peer).is_empty());
        let later = now + SUCCESS_AFTER;
        dialer.disconnected(&peer, later);
        assert!(dialer.due(later, |_| false).is_empty());
        assert_eq!(dialer.due(later + Duration::from_secs(2), |_| false), vec![address]);
    }
}
