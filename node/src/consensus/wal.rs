//! The write-ahead log: every input that could lead this validator to sign something, kept until
//! the height is decided, so that a restarted validator repeats its votes and never contradicts
//! them. Block bodies are in the same file, before the entries that name them.

use super::codec::{self, CodecError, Message};
use super::context::{BlockValue, Height, LedgerContext};
use super::keys::Domain;
use arc_malachitebft_core_consensus::{Input, ProposedValue};
use arc_malachitebft_core_types::{Round, Timeout, TimeoutKind, Validity, ValueOrigin};
use arc_malachitebft_wal::Log;
use arc_malachitebft_wal::log::constants::HEADER_SIZE;
use assay_proto::decode_canonical;
use assay_proto::limits::BLOCK_BYTES_MAX;
use assay_proto::v1::{self, wal_entry::Entry};
use assay_protocol::ids::BlockHash;
use prost::Message as _;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Most bytes of one entry: a body and its framing.
const ENTRY_BYTES_MAX: usize = BLOCK_BYTES_MAX + 256;

/// Why the log cannot be relied on.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The disk, or another process that holds the file.
    #[error("write-ahead log: {0}; check the disk, and that no other node uses this home")]
    Io(#[from] io::Error),
    /// The log was written on another network.
    #[error("the write-ahead log belongs to network {0}; use another --home for this network")]
    OtherNetwork(String),
    /// The ledger has fallen behind what this validator signed.
    #[error(
        "the write-ahead log is of era {found} but the ledger is in era {era}; restore the ledger"
    )]
    LaterEra {
        /// Era of the log.
        found: u64,
        /// Era of the ledger.
        era: u64,
    },
    /// An input that no log entry exists for.
    #[error("the engine asked to log an input that is never logged: {0}")]
    NotLoggable(String),
}

/// What a log held for the height that goes on.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) bodies: Vec<(BlockHash, Vec<u8>)>,
    pub(crate) inputs: Vec<Input<LedgerContext>>,
}

/// The open log. Its sequence number is the lowest height at which this validator may sign.
pub(crate) struct Wal {
    log: Log,
    /// Hashes of the entries of this height: replay and re-sent messages add nothing twice.
    logged: HashSet<[u8; 32]>,
    unflushed: bool,
}

impl Wal {
    /// Opens or creates the log at `path` and locks it against other processes.
    pub(crate) fn open(path: &Path) -> Result<Self, WalError> {
        // A file shorter than its header is one whose creation was cut short: nothing was signed.
        if fs::metadata(path).is_ok_and(|meta| meta.len() < HEADER_SIZE) {
            fs::remove_file(path)?;
        }
        let created = !path.exists();
        let log = Log::open(path)?;
        if created && let Some(folder) = path.parent() {
            sync_folder(folder)?;
        }
        Ok(Self { log, logged: HashSet::new(), unflushed: false })
    }

    /// The lowest height at which this validator may sign.
    pub(crate) fn signs_from(&self) -> u64 {
        self.log.sequence()
    }

    /// Whether there is something to recover at this height.
    pub(crate) fn has_inputs_of(&self, height: u64) -> bool {
        self.log.sequence() == height && self.log.len() > 1
    }

    /// Forgets earlier heights and begins to log this one.
    pub(crate) fn begin(&mut self, domain: Domain, height: u64) -> Result<(), WalError> {
        self.log.reset(height)?;
        self.logged.clear();
        let network = domain.network.to_vec();
        self.write(Entry::Start(v1::WalStart { network, era: domain.era, height }))
    }

    /// Gives up signing at `height`, of which the log does not tell reliably what was signed.
    pub(crate) fn abandon(&mut self, height: u64) -> Result<(), WalError> {
        self.log.reset(height.saturating_add(1))?;
        self.logged.clear();
        Ok(())
    }

    /// Appends a block body, which must come before any input that names it.
    pub(crate) fn append_body(&mut self, hash: BlockHash, block: &[u8]) -> Result<(), WalError> {
        self.write(Entry::Body(v1::WalBody { hash: hash.to_vec(), block: block.to_vec() }))
    }

    /// Appends an input of the engine.
    pub(crate) fn append(&mut self, input: Input<LedgerContext>) -> Result<(), WalError> {
        self.write(to_entry(input)?)
    }

    /// Makes everything appended durable.
    pub(crate) fn flush(&mut self) -> Result<(), WalError> {
        if self.unflushed {
            self.log.flush()?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn write(&mut self, entry: Entry) -> Result<(), WalError> {
        let bytes = v1::WalEntry { entry: Some(entry) }.encode_to_vec();
        if self.logged.insert(*blake3::hash(&bytes).as_bytes()) {
            self.log.append(&bytes)?;
            self.unflushed = true;
        }
        Ok(())
    }

    /// Reads what was logged of `height`. Empty if the log is of an earlier height or era. A log
    /// that is damaged before its last entry is abandoned: this validator then only watches the
    /// height, since it cannot know what it signed.
    pub(crate) fn recover(&mut self, domain: Domain, height: u64) -> Result<Recovered, WalError> {
        if self.log.sequence() != height || self.log.is_empty() {
            return Ok(Recovered::default());
        }
        let Some(raw) = self.read_all()? else {
            tracing::error!(height, "write-ahead log is damaged; not voting at this height");
            self.abandon(height)?;
            return Ok(Recovered::default());
        };
        let mut entries = raw.iter().map(|bytes| read_entry(bytes));
        match entries.next() {
            Some(Ok(Entry::Start(start))) => {
                if start.network != domain.network.0 {
                    return Err(WalError::OtherNetwork(hex::encode(start.network)));
                }
                if start.era > domain.era {
                    return Err(WalError::LaterEra { found: start.era, era: domain.era });
                }
                // Signatures of another era say nothing about this one. A start of another height
                // is what a crash in the middle of `begin` leaves.
                if start.era < domain.era || start.height != height {
                    return Ok(Recovered::default());
                }
            }
            None => return Ok(Recovered::default()),
            Some(Ok(_) | Err(_)) => {
                self.abandon(height)?;
                return Ok(Recovered::default());
            }
        }
        match collect(entries) {
            Ok(recovered) => {
                self.logged = raw.iter().map(|bytes| *blake3::hash(bytes).as_bytes()).collect();
                Ok(recovered)
            }
            Err(error) => {
                tracing::error!(height, %error, "write-ahead log is unreadable; not voting");
                self.abandon(height)?;
                Ok(Recovered::default())
            }
        }
    }

    /// All entries, or `None` when one before the last is damaged. A damaged last entry is a write
    /// that a power cut tore: it was never flushed, so nothing signed rests on it.
    fn read_all(&mut self) -> Result<Option<Vec<Vec<u8>>>, WalError> {
        let count = self.log.len();
        let mut entries = Vec::new();
        for entry in self.log.iter()? {
            match entry {
                Ok(bytes) => entries.push(bytes),
                Err(_) if entries.len() + 1 == count => {
                    self.log.truncate(entries.len() as u64)?;
                    break;
                }
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(entries))
    }
}

/// Makes a file's name durable, where the system can.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn read_entry(bytes: &[u8]) -> Result<Entry, CodecError> {
    let entry: v1::WalEntry = decode_canonical(bytes, ENTRY_BYTES_MAX)?;
    entry.entry.ok_or(CodecError::Field("entry"))
}

fn collect(
    entries: impl Iterator<Item = Result<Entry, CodecError>>,
) -> Result<Recovered, CodecError> {
    let mut recovered = Recovered::default();
    for entry in entries {
        match entry? {
            Entry::Start(_) => return Err(CodecError::Field("start")),
            Entry::Body(body) => recovered.bodies.push((codec::block(&body.hash)?, body.block)),
            entry => recovered.inputs.push(from_entry(entry)?),
        }
    }
    Ok(recovered)
}

fn to_entry(input: Input<LedgerContext>) -> Result<Entry, WalError> {
    let message = match input {
        Input::Vote(vote) => Message::Vote(vote),
        Input::Proposal(proposal) => Message::Proposal(proposal),
        Input::PolkaCertificate(certificate) => Message::Polka(certificate),
        Input::ProposedValue(value, _) => return Ok(Entry::Value(value_to_wire(&value))),
        Input::TimeoutElapsed(timeout) => {
            return timeout_to_wire(timeout)
                .map(Entry::Timeout)
                .ok_or_else(|| WalError::NotLoggable(timeout.to_string()));
        }
        other => return Err(WalError::NotLoggable(format!("{other:?}"))),
    };
    Ok(Entry::Message(message.to_wire()))
}

fn from_entry(entry: Entry) -> Result<Input<LedgerContext>, CodecError> {
    Ok(match entry {
        Entry::Value(value) => {
            Input::ProposedValue(value_from_wire(&value)?, ValueOrigin::Consensus)
        }
        Entry::Timeout(timeout) => Input::TimeoutElapsed(timeout_from_wire(timeout)?),
        Entry::Message(message) => match Message::from_wire(message)? {
            Message::Vote(vote) => Input::Vote(vote),
            Message::Proposal(proposal) => Input::Proposal(proposal),
            Message::Polka(certificate) => Input::PolkaCertificate(certificate),
            Message::Round(_) | Message::Commit(_) => return Err(CodecError::Field("message")),
        },
        Entry::Start(_) | Entry::Body(_) => return Err(CodecError::Field("entry")),
    })
}

fn value_to_wire(value: &ProposedValue<LedgerContext>) -> v1::WalProposedValue {
    v1::WalProposedValue {
        height: value.height.0,
        round: value.round.as_u32().unwrap_or(0),
        valid_round: value.valid_round.as_u32(),
        proposer: value.proposer.0.to_vec(),
        block: value.value.0.to_vec(),
        valid: value.validity.is_valid(),
    }
}

fn value_from_wire(
    wire: &v1::WalProposedValue,
) -> Result<ProposedValue<LedgerContext>, CodecError> {
    Ok(ProposedValue {
        height: Height(wire.height),
        round: Round::new(wire.round),
        valid_round: codec::valid_round(wire.valid_round),
        proposer: codec::peer(&wire.proposer)?,
        value: BlockValue(codec::block(&wire.block)?),
        validity: Validity::from_bool(wire.valid),
    })
}

/// `None` for the timeouts that only repeat messages, which leave no trace in the state.
fn timeout_to_wire(timeout: Timeout) -> Option<v1::WalTimeout> {
    let kind = match timeout.kind {
        TimeoutKind::Propose => v1::TimeoutKind::Propose,
        TimeoutKind::Prevote => v1::TimeoutKind::Prevote,
        TimeoutKind::Precommit => v1::TimeoutKind::Precommit,
        TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
    };
    Some(v1::WalTimeout { kind: kind.into(), round: timeout.round.as_u32()? })
}

fn timeout_from_wire(wire: v1::WalTimeout) -> Result<Timeout, CodecError> {
    let kind = match v1::TimeoutKind::try_from(wire.kind) {
        Ok(v1::TimeoutKind::Propose) => TimeoutKind::Propose,
        Ok(v1::TimeoutKind::Prevote) => TimeoutKind::Prevote,
        Ok(v1::TimeoutKind::Precommit) => TimeoutKind::Precommit,
        Ok(v1::TimeoutKind::Unspecified) | Err(_) => return Err(CodecError::Field("kind")),
    };
    Ok(Timeout::new(Round::new(wire.round), kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_protocol::ids::NetworkId;
    use std::fs::OpenOptions;
    use std::io::{Seek, SeekFrom, Write};

    const HASH: BlockHash = BlockHash([5; 32]);

    fn domain(network: u8, era: u64) -> Domain {
        Domain { network: NetworkId([network; 32]), era }
    }

    fn timeout(round: u32) -> Input<LedgerContext> {
        Input::TimeoutElapsed(Timeout::propose(Round::new(round)))
    }

    /// A log of height 7 with a body and two inputs, one of them appended twice.
    fn written(path: &Path) {
        let mut wal = Wal::open(path).expect("open");
        wal.begin(domain(1, 2), 7).expect("begin");
        wal.append_body(HASH, b"block").expect("body");
        wal.append(timeout(0)).expect("append");
        wal.append(timeout(0)).expect("append");
        wal.append(timeout(1)).expect("append");
        wal.flush().expect("flush");
    }

    fn damage(path: &Path, at: SeekFrom) {
        let mut file = OpenOptions::new().read(true).write(true).open(path).expect("open");
        file.seek(at).expect("seek");
        file.write_all(&[0xff]).expect("write");
    }

    #[test]
    fn an_interrupted_height_is_recovered() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("wal");
        written(&path);
        let mut wal = Wal::open(&path).expect("open");
        assert!(wal.has_inputs_of(7) && !wal.has_inputs_of(8));
        let recovered = wal.recover(domain(1, 2), 7).expect("recover");
        assert_eq!(recovered.inputs, [timeout(0), timeout(1)]);
        assert_eq!(recovered.bodies, [(HASH, b"block".to_vec())]);
        // Replay appends the same again, which changes nothing.
        let before = fs::metadata(&path).expect("metadata").len();
        wal.append(timeout(1)).expect("append");
        assert_eq!(fs::metadata(&path).expect("metadata").len(), before);
        assert!(wal.append(Input::TimeoutElapsed(Timeout::rebroadcast(Round::ZERO))).is_err());
    }

    #[test]
    fn only_the_right_height_era_and_network_are_recovered() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("wal");
        written(&path);
        let mut wal = Wal::open(&path).expect("open");
        assert!(wal.recover(domain(1, 2), 8).expect("later height").inputs.is_empty());
        assert!(wal.recover(domain(1, 3), 7).expect("later era").inputs.is_empty());
        assert!(matches!(wal.recover(domain(1, 1), 7), Err(WalError::LaterEra { .. })));
        assert!(matches!(wal.recover(domain(9, 2), 7), Err(WalError::OtherNetwork(_))));
        assert!(Wal::open(&path).is_err(), "two hosts must not share a log");
    }

    #[test]
    fn a_torn_last_entry_is_dropped_and_other_damage_ends_signing_at_the_height() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("wal");
        written(&path);
        damage(&path, SeekFrom::End(-1));
        let mut wal = Wal::open(&path).expect("open");
        assert_eq!(wal.recover(domain(1, 2), 7).expect("recover").inputs, [timeout(0)]);
        assert_eq!(wal.signs_from(), 7);
        drop(wal);

        written(&path);
        damage(&path, SeekFrom::Start(HEADER_SIZE + 20));
        let mut wal = Wal::open(&path).expect("open");
        assert!(wal.recover(domain(1, 2), 7).expect("recover").inputs.is_empty());
        assert_eq!(wal.signs_from(), 8);
        drop(wal);
        assert_eq!(Wal::open(&path).expect("open").signs_from(), 8);

        fs::write(&path, [0; 5]).expect("cut short");
        assert_eq!(Wal::open(&path).expect("open").signs_from(), 0);
    }
}
