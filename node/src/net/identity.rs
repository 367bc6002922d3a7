//! Peer ids and Ed25519 keys: the same identity in two spellings.
//!
//! A libp2p peer id of an Ed25519 key is the identity multihash of the encoded public key, so each
//! can be computed from the other.

use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey, ed25519};

use super::error::NetError;

/// Multihash code of the identity function.
const IDENTITY_CODE: u64 = 0;

/// The peer id of an Ed25519 public key.
///
/// # Errors
///
/// [`NetError::Key`] when the bytes are not a point of the curve.
pub fn peer_of_key(public_key: &[u8; 32]) -> Result<PeerId, NetError> {
    let key =
        ed25519::PublicKey::try_from_bytes(public_key).map_err(|e| NetError::Key(e.to_string()))?;
    Ok(PublicKey::from(key).to_peer_id())
}

/// The Ed25519 public key of a peer, or `None` for a peer id of another kind of key.
pub fn key_of_peer(peer: &PeerId) -> Option<[u8; 32]> {
    if peer.as_ref().code() != IDENTITY_CODE {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    Some(key.try_into_ed25519().ok()?.to_bytes())
}

pub(super) fn keypair(secret: &[u8; 32]) -> Result<Keypair, NetError> {
    let mut secret = *secret;
    Keypair::ed25519_from_bytes(&mut secret).map_err(|e| NetError::Key(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_peer_ids_round_trip() {
        for seed in 0..20u8 {
            let pair = keypair(&[seed; 32]).unwrap();
            let peer = pair.public().to_peer_id();
            let key = key_of_peer(&peer).unwrap();
            assert_eq!(
                key,
                ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()
            );
            assert_eq!(peer_of_key(&key).unwrap(), peer);
        }
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        // y = 2 is the coordinate of no point on the curve.
        let mut off_curve = [0u8; 32];
        off_curve[0] = 2;
        assert!(matches!(peer_of_key(&off_curve), Err(NetError::Key(_))));
        assert_eq!(key_of_peer(&PeerId::random()), None);
    }
}
