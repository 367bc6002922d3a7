//! Checking many signatures at once, with the answer that checking each would give.
//!
//! A signature (R, s) by the key A is right where sB − kA − R = 0, with k the hash of R, A and the message
//! (RFC 8032 §5.1.7). Here one random linear combination of all these is computed instead (Bernstein et al.,
//! High-speed high-security signatures, 2012, §5), which costs a quarter.
//!
//! By itself that would accept more: points may have a part of small order, and such parts cancel out in
//! some sums. The owner of a key could so sign what one auditor accepts and another refuses. Keys are
//! therefore looked at one by one, as few sign most, and the points R by random partial sums: wherever one
//! of them has such a part, at least half of all partial sums have one, too.
//!
//! What is drawn at random is drawn from a hash of everything checked. The answer is thus the same
//! for the same signatures, and whoever tries to be believed wrongly succeeds with a probability of 2⁻¹²⁷ a try.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest, Sha512};
use std::collections::BTreeMap;
use std::iter;

/// Signatures from which on checking them at once is the faster way: the partial sums have to be paid for.
pub(super) const WORTHWHILE: usize = 256;
/// Partial sums; a bad point goes unseen in each with a probability of a half at most.
const SUMS: usize = 128;
/// Points whose partial sums are computed in advance, which takes 2⁷ additions for each seven.
const TABLED: usize = 7;

/// Signatures to be checked at once.
pub(super) struct Batch {
    /// Keys that signed any of them, with their places in `points`.
    keys: BTreeMap<[u8; 32], usize>,
    points: Vec<EdwardsPoint>,
    signatures: Vec<Signature>,
    /// Hash of everything that is checked.
    coins: blake3::Hasher,
}

struct Signature {
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
    /// The key's place.
    key: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            points: Vec::new(),
            signatures: Vec::new(),
            coins: blake3::Hasher::new_derive_key("assay signatures checked at once v1"),
        }
    }
}

impl Batch {
    /// Adds a signature of a message, which is given in parts. `None` if it cannot be right, or its key is
    /// not of prime order, which only a check of this signature alone can judge.
    pub(super) fn add(&mut self, key: &[u8], signature: &[u8], message: &[&[u8]]) -> Option<()> {
        let key = <[u8; 32]>::try_from(key).ok()?;
        let (r, s) = signature.split_first_chunk::<32>()?;
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s.try_into().ok()?))?;
        let point = point(r)?;
        let mut hash = Sha512::new().chain_update(r).chain_update(key);
        message.iter().for_each(|part| hash.update(part));
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        for part in [r, &s.to_bytes(), &k.to_bytes()] {
            self.coins.update(part);
        }
        let key = self.place(key)?;
        self.signatures.push(Signature { r: point, s, k, key });
        Some(())
    }

    /// The place of a key of prime order.
    fn place(&mut self, key: [u8; 32]) -> Option<usize> {
        if let Some(place) = self.keys.get(&key) {
            return Some(*place);
        }
        let found = CompressedEdwardsY(key).decompress()?;
        if found.is_identity() || !found.is_torsion_free() {
            return None;
        }
        self.points.push(found);
        self.keys.insert(key, self.points.len() - 1);
        Some(self.points.len() - 1)
    }

    /// Whether every signature is right.
    pub(super) fn holds(mut self) -> bool {
        for key in self.keys.keys() {
            self.coins.update(key);
        }
        let mut coins = self.coins.finalize_xof();
        let mut of_base = Scalar::ZERO;
        let mut of_keys = vec![Scalar::ZERO; self.points.len()];
        let mut weights = Vec::with_capacity(self.signatures.len());
        for Signature { s, k, key, .. } in &self.signatures {
            let mut weight = [0; 32];
            let (low, _) = weight.split_at_mut(16);
            coins.fill(low);
            let weight = Scalar::from_bytes_mod_order(weight);
            of_base -= weight * s;
            if let Some(of_key) = of_keys.get_mut(*key) {
                *of_key += weight * k;
            }
            weights.push(weight);
        }
        let r = || self.signatures.iter().map(|signature| &signature.r);
        let sum = EdwardsPoint::vartime_multiscalar_mul(
            weights.iter().chain(&of_keys).chain(iter::once(&of_base)),
            r().chain(&self.points).chain(iter::once(&ED25519_BASEPOINT_POINT)),
        );
        let r: Vec<EdwardsPoint> = r().copied().collect();
        sum.is_identity() && of_prime_order(&r, &mut coins)
    }
}

/// Reads the point R of a signature, which a strict check compares byte by byte with what it should be.
/// `None` for other bytes than the point's own, and for the identity; the point of order two, which has two
/// spellings here, is left to [`of_prime_order`].
fn point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    let point = CompressedEdwardsY(*bytes).decompress()?;
    // The y coordinate, below the sign, has to be less than 2²⁵⁵ − 19. The sign has one spelling but where
    // x is zero: at the identity, and at the point of order two.
    let (lowest, others) = bytes.split_first()?;
    let (highest, middle) = others.split_last()?;
    let beyond = *lowest >= 0xed && middle.iter().all(|b| *b == 0xff) && highest & 0x7f == 0x7f;
    (!beyond && !point.is_identity()).then_some(point)
}

/// Whether no point has a part of small order.
fn of_prime_order(points: &[EdwardsPoint], coins: &mut blake3::OutputReader) -> bool {
    let mut sums = [EdwardsPoint::identity(); SUMS];
    for some in points.chunks(TABLED) {
        // Bit i of a place says whether point i is in the sum there.
        let mut table = vec![EdwardsPoint::identity()];
        for point in some {
            let with: Vec<EdwardsPoint> = table.iter().map(|sum| sum + point).collect();
            table.extend(with);
        }
        let mut places = [0; SUMS];
        coins.fill(&mut places);
        for (sum, place) in sums.iter_mut().zip(places) {
            if let Some(chosen) = table.get(usize::from(place) % table.len()) {
                *sum += chosen;
            }
        }
    }
    sums.iter().all(EdwardsPoint::is_torsion_free)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
    use proptest::prelude::*;

    const MESSAGES: usize = 20;

    pub(in super::super) fn message(index: usize) -> Vec<u8> {
        format!("message {index}").into_bytes()
    }

    /// Keys and signatures, signed properly by three keys in turn.
    pub(in super::super) fn signed() -> Vec<([u8; 32], [u8; 64])> {
        let keys = [1, 2, 3].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let by = |index: usize| &keys[index % keys.len()];
        let sign = |index| {
            (by(index).verifying_key().to_bytes(), by(index).sign(&message(index)).to_bytes())
        };
        (0..MESSAGES).map(sign).collect()
    }

    fn together(signed: &[([u8; 32], [u8; 64])]) -> bool {
        let mut batch = Batch::default();
        let mut signed = signed.iter().enumerate();
        let added = signed.all(|(index, (key, signature))| {
            let message = message(index);
            let (first, rest) = message.split_at(3);
            batch.add(key, signature, &[first, rest]).is_some()
        });
        added && batch.holds()
    }

    fn one_by_one(signed: &[([u8; 32], [u8; 64])]) -> bool {
        signed.iter().enumerate().all(|(index, (key, signature))| {
            VerifyingKey::from_bytes(key)
                .is_ok_and(|key| key.verify_strict(&message(index), &(*signature).into()).is_ok())
        })
    }

    /// A signature with the scalar `a`, where a part of small order is added to the key or to R.
    pub(in super::super) fn crooked(
        a: u64,
        index: usize,
        on_key: usize,
        on_r: usize,
    ) -> ([u8; 32], [u8; 64]) {
        let (a, r) = (Scalar::from(a), Scalar::from(77_u64));
        let key = (EdwardsPoint::mul_base(&a) + EIGHT_TORSION[on_key]).compress().to_bytes();
        let point = (EdwardsPoint::mul_base(&r) + EIGHT_TORSION[on_r]).compress().to_bytes();
        let hash = Sha512::new().chain_update(point).chain_update(key).chain_update(message(index));
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let signature = [point, (r + k * a).to_bytes()].concat();
        (key, signature.try_into().unwrap())
    }

    #[test]
    fn good_signatures_hold_and_none_do() {
        assert!(together(&signed()) && one_by_one(&signed()));
        assert!(together(&[]));
    }

    #[test]
    fn parts_of_small_order_are_seen() {
        for on_r in 0..8 {
            for at in [0, 6, 7, MESSAGES - 1] {
                let mut some = signed();
                some[at] = crooked(5, at, 0, on_r);
                assert_eq!(together(&some), on_r == 0, "{on_r} at {at}");
                assert_eq!(one_by_one(&some), on_r == 0, "{on_r} at {at}");
            }
        }
        // Parts that cancel out in the sum of both.
        let mut two = signed();
        (two[2], two[9]) = (crooked(5, 2, 0, 4), crooked(5, 9, 0, 4));
        assert!(!together(&two));
    }

    #[test]
    fn keys_that_are_not_of_prime_order_are_left_to_the_check_of_one() {
        let mut some = signed();
        for on_key in 1..8 {
            some[3] = crooked(5, 3, on_key, 0);
            assert!(!together(&some), "{on_key}");
        }
        for point in EIGHT_TORSION {
            some[3] = (point.compress().to_bytes(), some[3].1);
            assert!(!together(&some) && !one_by_one(&some));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        // The identity as 1, as 1 with the sign of nothing, and as 2²⁵⁵ − 18; each with s = k·a, so that the
        // equation holds.
        let sign = |mut bytes: [u8; 32]| {
            bytes[31] |= 0x80;
            bytes
        };
        let one: [u8; 32] = std::array::from_fn(|i| u8::from(i == 0));
        let mut beyond = [0xff; 32];
        (beyond[0], beyond[31]) = (0xee, 0x7f);
        for r in [one, sign(one), beyond, sign(beyond)] {
            let key = EdwardsPoint::mul_base(&Scalar::from(5_u64)).compress().to_bytes();
            let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(message(0));
            let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
            let signature = [r, (k * Scalar::from(5_u64)).to_bytes()].concat();
            let mut some = signed();
            some[0] = (key, signature.try_into().unwrap());
            assert!(!together(&some) && !one_by_one(&some), "{r:?}");
        }
        // The scalar and the order of the group more.
        let mut some = signed();
        let order: [u8; 32] = std::array::from_fn(|i| {
            hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap()
                [i]
        });
        let mut carry = 0;
        for (byte, more) in some[0].1[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        assert!(!together(&some) && !one_by_one(&some));
        assert!(Batch::default().add(&[0; 31], &[0; 64], &[]).is_none());
        assert!(Batch::default().add(&one, &[0; 63], &[]).is_none());
    }

    proptest! {
        #[test]
        fn a_damaged_bit_is_found(at in 0..MESSAGES, byte in 0_usize..96, bit in 0_u8..8) {
            let mut some = signed();
            match byte.checked_sub(32) {
                Some(byte) => some[at].1[byte] ^= 1_u8 << bit,
                None => some[at].0[byte] ^= 1_u8 << bit,
            }
            prop_assert!(!together(&some) && !one_by_one(&some));
        }
    }
}
