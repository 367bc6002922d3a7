//! The beacon: randomness that no author can steer.
//!
//! Every proposer adds the output of a verifiable random function on (network, height) under a key
//! that its membership fixed beforehand: it cannot choose the output, only withhold the block and
//! so lose its turn.

use crate::ids::{Beacon, NetworkId, PeerId, hash_parts};
use schnorrkel::context::signing_context;
use schnorrkel::vrf::{VRFPreOut, VRFProof};
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey, PublicKey};

const CONTEXT: &[u8] = b"assay vrf v1";

/// The VRF key of a peer, derived from its secret key's seed.
#[must_use]
#[allow(clippy::expect_used)]
pub fn vrf_keypair(secret_seed: &[u8; 32]) -> Keypair {
    let seed = hash_parts("assay vrf key v1", &[secret_seed]);
    MiniSecretKey::from_bytes(&seed)
        .expect("a seed is refused for its length only, and this one has 32 bytes")
        .expand_to_keypair(ExpansionMode::Uniform)
}

/// The public half as it stands in a genesis file.
#[must_use]
pub fn vrf_public(keypair: &Keypair) -> PeerId {
    PeerId(keypair.public.to_bytes())
}

/// What the function is evaluated on.
fn slot(network: NetworkId, height: u64) -> [u8; 40] {
    let mut bytes = [0; 40];
    let (left, right) = bytes.split_at_mut(32);
    left.copy_from_slice(&network.0);
    right.copy_from_slice(&height.to_le_bytes());
    bytes
}

/// Output and proof of `keypair` at a height.
#[must_use]
pub fn evaluate(keypair: &Keypair, network: NetworkId, height: u64) -> (Vec<u8>, Vec<u8>) {
    let transcript = signing_context(CONTEXT).bytes(&slot(network, height));
    let (in_out, proof, _) = keypair.vrf_sign(transcript);
    (in_out.to_preout().to_bytes().to_vec(), proof.to_bytes().to_vec())
}

/// Whether these bytes are a key that could ever verify an output.
#[must_use]
pub fn is_key(vrf: PeerId) -> bool {
    PublicKey::from_bytes(&vrf.0).is_ok()
}

/// Checks an output and proof against the peer's VRF key.
#[must_use]
pub fn verify(vrf: PeerId, network: NetworkId, height: u64, output: &[u8], proof: &[u8]) -> bool {
    let key = PublicKey::from_bytes(&vrf.0);
    let (Ok(key), Ok(output), Ok(proof)) =
        (key, VRFPreOut::from_bytes(output), VRFProof::from_bytes(proof))
    else {
        return false;
    };
    let transcript = signing_context(CONTEXT).bytes(&slot(network, height));
    key.vrf_verify(transcript, &output, &proof).is_ok()
}

/// The beacon after a block: the one before it and the proposer's output.
#[must_use]
pub fn next_beacon(previous: Beacon, output: &[u8]) -> Beacon {
    Beacon(hash_parts("assay beacon v1", &[&previous.0, output]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: NetworkId = NetworkId([3; 32]);

    #[test]
    fn an_output_verifies_for_its_key_network_and_height_only() {
        let keypair = vrf_keypair(&[1; 32]);
        let public = vrf_public(&keypair);
        let (output, proof) = evaluate(&keypair, NETWORK, 9);
        assert_eq!((output.len(), proof.len()), (32, 64));
        assert!(verify(public, NETWORK, 9, &output, &proof));
        assert!(!verify(public, NETWORK, 10, &output, &proof));
        assert!(!verify(public, NetworkId([4; 32]), 9, &output, &proof));
        assert!(!verify(vrf_public(&vrf_keypair(&[2; 32])), NETWORK, 9, &output, &proof));
        assert!(!verify(public, NETWORK, 9, &output[1..], &proof));
        assert!(!verify(public, NETWORK, 9, &output, &[0; 64]));
    }

    #[test]
    fn the_output_is_unique_though_the_proof_is_not() {
        let keypair = vrf_keypair(&[1; 32]);
        let (first, _) = evaluate(&keypair, NETWORK, 1);
        let (second, _) = evaluate(&keypair, NETWORK, 1);
        assert_eq!(first, second);
    }
}
