//! Texts with signatures, in the format `signed-note` of <https://c2sp.org>, and the timestamped ones of
//! `tlog-cosignature`.

use super::{NoteError, malformed, origin};
use crate::ids::{NetworkId, PeerId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Largest note, in bytes. Others may sign with keys whose signatures have nearly 5 kB, and up to 16
/// signatures must be read.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;
/// Most signatures of a note.
pub const SIGNATURES_MAX: usize = 64;
/// How a signature line begins: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// What a key signs, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 over the text.
    Ed25519,
    /// Ed25519 over the text and a time: `cosignature/v1`.
    Cosignature,
}

impl Algorithm {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }
}

/// A key that notes are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    algorithm: Algorithm,
    key: PeerId,
}

/// Whether a text can name a key: something without white space and plus signs.
fn is_key_name(name: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    (1..=200).contains(&name.len()) && name.chars().all(plain)
}

impl NoteKey {
    /// A key by its name.
    ///
    /// # Errors
    ///
    /// [`NoteError`] for a name that cannot be one.
    pub fn new(name: &str, algorithm: Algorithm, key: PeerId) -> Result<Self, NoteError> {
        match is_key_name(name) {
            true => Ok(Self { name: name.to_owned(), algorithm, key }),
            false => {
                Err(malformed("key name", format!("{name:?} is empty, long, or has spaces or +")))
            }
        }
    }

    /// The key that a node signs checkpoints of its network with: its own, under the network's origin.
    ///
    /// What it signs so is never anything else that it signs. The text begins with "assay/" and a hexadecimal
    /// digit and has no byte below 0x20 but line ends; records begin with "assay/record/v1" and a zero byte,
    /// votes with "assay/vote/v1" and one, the handshakes of libp2p with "noise-libp2p" or "libp2p-tls", and
    /// cosignatures with "cosignature/v1".
    #[must_use]
    pub fn of_node(network: NetworkId, node: PeerId) -> Self {
        Self { name: origin(network), algorithm: Algorithm::Ed25519, key: node }
    }

    /// The first four bytes of SHA-256 over name, line end, algorithm and key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let mut hash = Sha256::new();
        hash.update(self.name.as_bytes());
        hash.update([b'\n', self.algorithm.byte()]);
        hash.update(self.key.0);
        let digest: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, ..] = digest;
        [a, b, c, d]
    }

    /// Its name, which is the origin of its log where it is a log's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> PeerId {
        self.key
    }

    /// Signs a note's text with the secret half; `time_s` is of a cosignature, in seconds since 1970.
    #[must_use]
    pub fn sign(&self, secret: &SigningKey, text: &str, time_s: u64) -> NoteSignature {
        let (mut bytes, message) = match self.algorithm {
            Algorithm::Ed25519 => (Vec::new(), text.to_owned()),
            Algorithm::Cosignature => (time_s.to_be_bytes().to_vec(), cosigned(text, time_s)),
        };
        bytes.extend(secret.sign(message.as_bytes()).to_bytes());
        NoteSignature { name: self.name.clone(), key_id: self.id(), bytes }
    }

    /// Whether a signature of a text is this key's: `None` if it is another key's or does not verify,
    /// else the time of a cosignature, or 0.
    #[must_use]
    pub fn verify(&self, text: &str, signature: &NoteSignature) -> Option<u64> {
        if signature.name != self.name || signature.key_id != self.id() {
            return None;
        }
        let (time_s, bytes, message) = match self.algorithm {
            Algorithm::Ed25519 => (0, signature.bytes.as_slice(), text.to_owned()),
            Algorithm::Cosignature => {
                let (time, bytes) = signature.bytes.split_first_chunk::<8>()?;
                // The specification forbids later times, so that a signed number holds them.
                let time_s = u64::from_be_bytes(*time);
                i64::try_from(time_s).ok()?;
                (time_s, bytes, cosigned(text, time_s))
            }
        };
        self.key.has_signed(message.as_bytes(), bytes).then_some(time_s)
    }
}

/// What a cosignature signs.
fn cosigned(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.algorithm.byte()];
        bytes.extend(self.key.0);
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(bytes))
    }
}

impl FromStr for NoteKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let bad = || malformed("key", "expected NAME+ID+KEY as `assay witness` prints it");
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        let bytes = STANDARD.decode(key).map_err(|_| bad())?;
        let (algorithm, key) = match bytes.split_first() {
            Some((1, key)) => (Algorithm::Ed25519, key),
            Some((4, key)) => (Algorithm::Cosignature, key),
            _ => return Err(bad()),
        };
        let key = Self::new(name, algorithm, PeerId::from_slice(key).map_err(|_| bad())?)?;
        match hex::encode(key.id()) == id {
            true => Ok(key),
            false => Err(malformed("key", "its id is not the hash of its name and key")),
        }
    }
}

/// One signature line, with its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: [u8; 4],
    /// A cosignature's begin with its time.
    pub(super) bytes: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = STANDARD.encode([self.key_id.as_slice(), &self.bytes].concat());
        writeln!(f, "{DASH}{} {code}", self.name)
    }
}

/// A text with signatures, none of which is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note that nobody signed yet.
    ///
    /// # Errors
    ///
    /// [`NoteError`] for a text that no note can have.
    pub fn new(text: String) -> Result<Self, NoteError> {
        let allowed = |c: char| c == '\n' || !c.is_ascii_control();
        if !text.ends_with('\n') || !text.chars().all(allowed) {
            return Err(malformed("note", "its text has control characters or no line end"));
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when the bytes are none.
    pub fn read(bytes: &[u8]) -> Result<Self, NoteError> {
        let bad = |reason: &str| malformed("note", reason);
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        // Signature lines are not empty, so the last empty line ends the text.
        let at = whole.rfind("\n\n").ok_or_else(|| bad("no empty line before the signatures"))?;
        let (text, lines) = whole.split_at(at.saturating_add(1));
        let mut note = Self::new(text.to_owned())?;
        let lines = lines.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        for line in lines.ok_or_else(|| bad("no line end after the signatures"))?.split('\n') {
            if note.signatures.len() == SIGNATURES_MAX {
                return Err(bad("too many signatures"));
            }
            let parts = line.strip_prefix(DASH).and_then(|line| line.split_once(' '));
            let (name, code) = parts.ok_or_else(|| bad("a line that is no signature"))?;
            let bytes = STANDARD.decode(code).map_err(|_| bad("a signature that is not base64"))?;
            let (key_id, bytes) = bytes
                .split_first_chunk::<4>()
                .filter(|(_, bytes)| !bytes.is_empty() && is_key_name(name))
                .ok_or_else(|| bad("a signature without name, key id or bytes"))?;
            let (name, bytes) = (name.to_owned(), bytes.to_vec());
            note.signatures.push(NoteSignature { name, key_id: *key_id, bytes });
        }
        Ok(note)
    }

    /// What is signed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, verified or not.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature, in the place of an earlier one by the same key.
    pub fn add(&mut self, signature: NoteSignature) {
        let same =
            |old: &NoteSignature| old.name == signature.name && old.key_id == signature.key_id;
        self.signatures.retain(|old| !same(old));
        self.signatures.push(signature);
    }

    /// Leaves those signatures that `keep` approves of.
    pub fn retain(&mut self, keep: impl Fn(&NoteSignature) -> bool) {
        self.signatures.retain(keep);
    }

    /// The time of the key's signature, 0 without one; `None` if it did not sign.
    #[must_use]
    pub fn signed_by(&self, key: &NoteKey) -> Option<u64> {
        self.signatures.iter().find_map(|signature| key.verify(&self.text, signature))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| write!(f, "{signature}"))
    }
}
