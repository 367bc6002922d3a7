mod judge;
mod note;
mod tree;

use super::{Algorithm, NoteKey};
use crate::ids::PeerId;
use ed25519_dalek::SigningKey;

fn secret(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[index; 32])
}

fn key(name: &str, algorithm: Algorithm, secret: &SigningKey) -> NoteKey {
    NoteKey::new(name, algorithm, PeerId(secret.verifying_key().to_bytes())).unwrap()
}
