//! Gossip peer scores.
//!
//! The library's defaults let a peer earn 1800 points in four seconds and pay one for an invalid
//! message, so every value is set here. They are those of `background/peer-systems-and-threats.md`
//! §3.1 (Protocol Labs' gossipsub hardening report and Lighthouse), scaled to Assay's message rate.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use libp2p::gossipsub::{PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams};

/// Weight of each topic in the score.
const TOPIC_WEIGHT: f64 = 0.25;
/// P1: points per second in the mesh, for at most [`MESH_TIME_CAP_S`].
const MESH_TIME_WEIGHT: f64 = 0.0027;
const MESH_TIME_CAP_S: f64 = 3600.0;
/// P2: points per message delivered first, decaying every second, for at most this many.
const FIRST_DELIVERY_WEIGHT: f64 = 0.664;
const FIRST_DELIVERY_DECAY: f64 = 0.9916;
const FIRST_DELIVERY_CAP: f64 = 50.0;
/// P4: points per squared count of invalid messages, with a half-life of 19 minutes.
const INVALID_WEIGHT: f64 = -99.0;
const INVALID_DECAY: f64 = 0.9994;

/// Points that one offence outside gossip costs, by way of the application score (P5).
pub(super) const OFFENCE_POINTS: f64 = 100.0;
/// Below this score nothing of the peer is processed, so that its connection is only a cost.
pub(super) const GRAYLIST: f64 = -16_000.0;

/// The scores below which gossip with a peer is restricted.
pub(super) fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -4000.0,
        publish_threshold: -8000.0,
        graylist_threshold: GRAYLIST,
        accept_px_threshold: 100.0,
        opportunistic_graft_threshold: 5.0,
    }
}

/// The most that all topics together can add to a score: what two of them could add without the
/// cap, so that no good conduct pays for one invalid message.
fn topic_cap() -> f64 {
    let per_topic = MESH_TIME_WEIGHT * MESH_TIME_CAP_S + FIRST_DELIVERY_WEIGHT * FIRST_DELIVERY_CAP;
    2.0 * per_topic * TOPIC_WEIGHT
}

/// The score parameters for these topics.
pub(super) fn params(topics: impl IntoIterator<Item = TopicHash>) -> PeerScoreParams {
    let topics: std::collections::HashMap<_, _> =
        topics.into_iter().map(|topic| (topic, topic_params())).collect();
    let topic_score_cap = topic_cap();
    PeerScoreParams {
        topics,
        topic_score_cap,
        app_specific_weight: 1.0,
        ip_colocation_factor_weight: -topic_score_cap,
        ip_colocation_factor_threshold: 8.0,
        // A whole test network shares the loopback address.
        ip_colocation_factor_whitelist: [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            .into(),
        // Lighthouse: six broken promises are free, then the square counts; gone after an hour.
        behaviour_penalty_weight: -15.92,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.9988,
        decay_interval: Duration::from_secs(1),
        decay_to_zero: 0.01,
        // 100 Ethereum epochs.
        retain_score: Duration::from_secs(38_400),
        slow_peer_weight: -0.2,
        slow_peer_threshold: 10.0,
        slow_peer_decay: 0.2,
    }
}

fn topic_params() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: TOPIC_WEIGHT,
        time_in_mesh_weight: MESH_TIME_WEIGHT,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: MESH_TIME_CAP_S,
        first_message_deliveries_weight: FIRST_DELIVERY_WEIGHT,
        first_message_deliveries_decay: FIRST_DELIVERY_DECAY,
        first_message_deliveries_cap: FIRST_DELIVERY_CAP,
        // P3 and P3b punish silence, and Assay's topics are silent for minutes at a time.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: INVALID_WEIGHT,
        invalid_message_deliveries_decay: INVALID_DECAY,
        ..TopicScoreParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes() -> Vec<TopicHash> {
        (0..5).map(|i| TopicHash::from_raw(format!("t{i}"))).collect()
    }

    #[test]
    fn parameters_are_valid() {
        params(hashes()).validate().unwrap();
        thresholds().validate().unwrap();
    }

    #[test]
    fn no_good_conduct_pays_for_one_offence() {
        let params = params(hashes());
        let one_invalid_message = -INVALID_WEIGHT * TOPIC_WEIGHT;
        assert!(params.topic_score_cap < one_invalid_message);
        assert!(params.topic_score_cap < OFFENCE_POINTS);
    }

    #[test]
    fn invalid_messages_reach_every_threshold() {
        let score = |count: f64| INVALID_WEIGHT * TOPIC_WEIGHT * count * count;
        assert!(score(13.0) < thresholds().gossip_threshold);
        assert!(score(26.0) < GRAYLIST);
    }
}
