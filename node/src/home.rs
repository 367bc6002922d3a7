//! The home folder: one identity, one network, and everything the node keeps.
//!
//! ```text
//! HOME/key            Ed25519 secret, 64 hexadecimal digits, readable by the owner only
//! HOME/network.json   the network that this home belongs to
//! HOME/token          lets commands on this machine act for the node
//! HOME/address        where the running node's pages are
//! HOME/lock           held by the running node
//! HOME/ledger/        blocks and state (sled)
//! HOME/consensus/     the ordering engine's write-ahead log
//! HOME/blobs/         checkpoints, bundles and manifests by hash
//! HOME/models.json    names of imported checkpoints
//! HOME/peers.json     addresses seen before
//! HOME/board-seen     height up to which the digest was read; with a name behind it, by an agent
//! HOME/agent/         what the operator decided about the agent, what it spent, where its search stands
//! HOME/witness/       key and files of a witness, see [`crate::witness`]
//! HOME/mcp-tokens.json names, permissions and hashes of the tokens for agents
//! ```

use assay_protocol::genesis::Genesis;
use assay_protocol::ids::{NetworkId, PeerId};
use assay_protocol::randomness::{vrf_keypair, vrf_public};
use ed25519_dalek::SigningKey;
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Largest network file that is read, in bytes.
const NETWORK_BYTES_MAX: u64 = 1024 * 1024;

/// What is wrong with a home folder or network file.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no key.
    #[error("{0} holds no node; make one with `assay init --home {0}`")]
    NoKey(PathBuf),
    /// A key file that is not one.
    #[error("{0} is not a key file; restore it from a backup, a new key is a new identity")]
    BadKey(PathBuf),
    /// `init` where a key is already.
    #[error(
        "{0} holds a key already; start it with `assay run --home {0}` or choose another --home"
    )]
    HasKey(PathBuf),
    /// A network file that is not one.
    #[error("{path} is not a network file: {reason}")]
    BadNetwork {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The home belongs to another network.
    #[error("{home} belongs to network {ours}, the file names {theirs}; use another --home")]
    OtherNetwork {
        /// The home folder.
        home: PathBuf,
        /// The network that the home belongs to.
        ours: NetworkId,
        /// The network that was asked for.
        theirs: NetworkId,
    },
    /// A checkpoint that a witness cosigned and cannot read any more.
    #[error(
        "{path} is damaged ({reason}); restore it from a backup that is not older, or retire this witness: \
         one that forgot what it cosigned may cosign two stories"
    )]
    BadCheckpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No network is known yet.
    #[error("{0} has not joined a network; give its file with --network FILE")]
    NoNetwork(PathBuf),
    /// Another process holds the lock.
    #[error("a node is running in {0} already; stop it first or choose another --home")]
    Running(PathBuf),
    /// No node answers where one should.
    #[error("no node is running in {0}; start it with `assay run --home {0}`")]
    NotRunning(PathBuf),
}

/// A network as it is handed to people who join: its genesis and where to find its first peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// What the network started from; its hash is the network's id.
    pub genesis: Genesis,
    /// Addresses to dial first. They are a convenience and no part of the network's identity.
    #[serde(default)]
    pub bootstrap: Vec<Multiaddr>,
}

impl NetworkFile {
    /// Reads and checks a network file, or a bare genesis as a node's page hands it out.
    ///
    /// # Errors
    ///
    /// [`HomeError`] naming the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, HomeError> {
        let bad = |reason: String| HomeError::BadNetwork { path: path.to_owned(), reason };
        let bytes_len = std::fs::metadata(path).map_err(io("read", path))?.len();
        if bytes_len > NETWORK_BYTES_MAX {
            return Err(bad(format!("it has {bytes_len} bytes")));
        }
        let text = std::fs::read(path).map_err(io("read", path))?;
        let network = serde_json::from_slice::<Self>(&text).or_else(|e| {
            let bare = |genesis| Self { genesis, bootstrap: Vec::new() };
            serde_json::from_slice::<Genesis>(&text).map(bare).map_err(|_| bad(e.to_string()))
        })?;
        network.genesis.check().map_err(|e| bad(e.to_string()))?;
        Ok(network)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), HomeError> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| HomeError::BadNetwork { path: path.to_owned(), reason: e.to_string() })?;
        write_whole(path, &text)
    }
}

/// A home folder with its identity.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    key: SigningKey,
}

/// Proof that no other process runs this home; released when dropped.
#[derive(Debug)]
pub struct HomeLock(#[allow(dead_code, reason = "held for its lock")] File);

impl Home {
    /// Makes a home with a fresh key.
    ///
    /// # Errors
    ///
    /// [`HomeError::HasKey`] where there is one; [`HomeError::Io`].
    pub fn create(path: &Path) -> Result<Self, HomeError> {
        std::fs::create_dir_all(path).map_err(io("create", path))?;
        let key_path = path.join("key");
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| HomeError::Io {
            action: "draw a key for",
            path: key_path.clone(),
            source: std::io::Error::other(e),
        })?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        owner_only(&mut options);
        let mut file = options.open(&key_path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => HomeError::HasKey(path.to_owned()),
            _ => HomeError::Io { action: "create", path: key_path.clone(), source },
        })?;
        writeln!(file, "{}", hex::encode(seed))
            .and_then(|()| file.sync_all())
            .map_err(io("write", &key_path))?;
        Ok(Self { path: path.to_owned(), key: SigningKey::from_bytes(&seed) })
    }

    /// Opens a home made before.
    ///
    /// # Errors
    ///
    /// [`HomeError`] when there is no usable key.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let key_path = path.join("key");
        let text = std::fs::read_to_string(&key_path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => HomeError::NoKey(path.to_owned()),
            ErrorKind::InvalidData => HomeError::BadKey(key_path.clone()),
            _ => HomeError::Io { action: "read", path: key_path.clone(), source },
        })?;
        let mut seed = [0; 32];
        hex::decode_to_slice(text.trim(), &mut seed)
            .map_err(|_| HomeError::BadKey(key_path.clone()))?;
        Ok(Self { path: path.to_owned(), key: SigningKey::from_bytes(&seed) })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret key.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The identity.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        PeerId(self.key.verifying_key().to_bytes())
    }

    /// The public key of the verifiable random function, as a genesis names it.
    #[must_use]
    pub fn vrf(&self) -> PeerId {
        vrf_public(&vrf_keypair(&self.key.to_bytes()))
    }

    /// Binds the home to a network, or checks that it is bound to the same one.
    ///
    /// # Errors
    ///
    /// [`HomeError::OtherNetwork`], [`HomeError::NoNetwork`], or what is wrong with a file.
    pub fn join(&self, file: Option<&Path>) -> Result<NetworkFile, HomeError> {
        let own_path = self.path.join("network.json");
        let own = own_path.exists().then(|| NetworkFile::read(&own_path)).transpose()?;
        let given = file.map(NetworkFile::read).transpose()?;
        match (own, given) {
            (None, None) => Err(HomeError::NoNetwork(self.path.clone())),
            (Some(own), None) => Ok(own),
            (None, Some(given)) => {
                given.write(&own_path)?;
                Ok(given)
            }
            (Some(own), Some(given)) => {
                let (ours, theirs) = (own.genesis.network(), given.genesis.network());
                if ours != theirs {
                    return Err(HomeError::OtherNetwork { home: self.path.clone(), ours, theirs });
                }
                given.write(&own_path)?;
                Ok(given)
            }
        }
    }

    /// Takes the home for this process.
    ///
    /// # Errors
    ///
    /// [`HomeError::Running`] while another process has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.path.join("lock");
        let file = File::create(&path).map_err(io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(HomeLock(file)),
            Err(TryLockError::WouldBlock) => Err(HomeError::Running(self.path.clone())),
            Err(TryLockError::Error(source)) => Err(HomeError::Io { action: "lock", path, source }),
        }
    }

    /// Makes a fresh token for commands on this machine and writes it for its owner.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`].
    pub fn new_token(&self) -> Result<String, HomeError> {
        let path = self.path.join("token");
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|e| HomeError::Io {
            action: "draw a token for",
            path: path.clone(),
            source: std::io::Error::other(e),
        })?;
        let token = hex::encode(bytes);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(HomeError::Io { action: "replace", path, source });
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        owner_only(&mut options);
        let mut file = options.open(&path).map_err(io("create", &path))?;
        file.write_all(token.as_bytes()).map_err(io("write", &path))?;
        Ok(token)
    }

    /// Writes where the running node's pages are.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`].
    pub fn write_address(&self, url: &str) -> Result<(), HomeError> {
        write_whole(&self.path.join("address"), url.as_bytes())
    }
}

/// Address and token of the node running in a home folder.
///
/// # Errors
///
/// [`HomeError::NotRunning`] when the files are missing or nobody holds the lock.
pub fn running(path: &Path) -> Result<(String, String), HomeError> {
    let not_running = || HomeError::NotRunning(path.to_owned());
    let lock = File::open(path.join("lock")).map_err(|_| not_running())?;
    if lock.try_lock_shared().is_ok() {
        return Err(not_running());
    }
    let read = |name: &str| std::fs::read_to_string(path.join(name)).map_err(|_| not_running());
    Ok((read("address")?.trim().to_owned(), read("token")?.trim().to_owned()))
}

/// Writes a file under another name first, so that a reader sees the old or the new one. The new one is on
/// disk when this returns. A link is followed, and what is no file, for example a pipe, is written to as it is.
///
/// # Errors
///
/// [`HomeError::Io`].
pub fn write_whole(path: &Path, data: &[u8]) -> Result<(), HomeError> {
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let written = OpenOptions::new().write(true).open(path).and_then(|mut f| f.write_all(data));
        return written.map_err(io("write", path));
    }
    let temporary = beside(path);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(data)?;
        file.sync_all()
    });
    let placed = written
        .map_err(io("write", &temporary))
        .and_then(|()| std::fs::rename(&temporary, path).map_err(io("write", path)));
    if placed.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    }
    placed?;
    sync_folder(path).map_err(io("write", path))
}

/// The name of a temporary file beside a file, of which no other process has the same.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Makes a new name in a file's folder outlast a power cut.
#[cfg(unix)]
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HomeError {
    let path = path.to_owned();
    move |source| HomeError::Io { action, path, source }
}

#[cfg(unix)]
fn owner_only(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn owner_only(_: &mut OpenOptions) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_keeps_its_identity() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Home::open(folder.path()), Err(HomeError::NoKey(_))));
        let made = Home::create(folder.path()).unwrap().peer();
        assert_eq!(Home::open(folder.path()).unwrap().peer(), made);
        assert!(matches!(Home::create(folder.path()), Err(HomeError::HasKey(_))));
        std::fs::write(folder.path().join("key"), "not a key").unwrap();
        assert!(matches!(Home::open(folder.path()), Err(HomeError::BadKey(_))));
    }

    #[test]
    #[cfg(unix)]
    fn a_file_is_written_whole_through_links_and_nothing_else_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, place] = ["file", "link", "place"].map(|name| folder.path().join(name));
        write_whole(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        std::fs::create_dir(&place).unwrap();
        assert!(matches!(write_whole(&place, b"new"), Err(HomeError::Io { .. })));
        write_whole(Path::new("/dev/null"), b"new").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is left over");
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::create(folder.path()).unwrap();
        assert!(matches!(running(folder.path()), Err(HomeError::NotRunning(_))));
        let lock = home.lock().unwrap();
        assert!(matches!(home.lock(), Err(HomeError::Running(_))));
        let token = home.new_token().unwrap();
        home.write_address("http://127.0.0.1:1").unwrap();
        assert_eq!(running(folder.path()).unwrap(), ("http://127.0.0.1:1".to_owned(), token));
        drop(lock);
        assert!(matches!(running(folder.path()), Err(HomeError::NotRunning(_))));
    }

    #[test]
    fn a_home_without_a_network_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::create(folder.path()).unwrap();
        assert!(matches!(home.join(None), Err(HomeError::NoNetwork(_))));
        let file = folder.path().join("bad.json");
        std::fs::write(&file, "{}").unwrap();
        assert!(matches!(home.join(Some(&file)), Err(HomeError::BadNetwork { .. })));
        assert!(!folder.path().join("network.json").exists());
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_for_the_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let home = Home::create(folder.path()).unwrap();
        home.new_token().unwrap();
        for name in ["key", "token"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }
}
