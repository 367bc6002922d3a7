//! The peer cache: addresses of peers from earlier runs, one multiaddress a line.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;

/// Addresses kept; the least recently confirmed go first.
const ADDRESSES_MAX: usize = 256;
/// Bytes read of the file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Addresses of peers that were once connected.
#[derive(Debug)]
pub(super) struct PeerCache {
    path: PathBuf,
    /// The most recently confirmed ones last.
    addresses: VecDeque<Multiaddr>,
    changed: bool,
}

impl PeerCache {
    /// Reads the file. What is missing or cannot be read is an empty cache: the node can do without.
    pub(super) fn load(path: PathBuf) -> Self {
        let mut text = String::new();
        let read =
            File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        if let Err(e) = read
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("peer cache {} is not read: {e}", path.display());
        }
        let addresses =
            text.lines().filter_map(|line| line.parse().ok()).take(ADDRESSES_MAX).collect();
        Self { path, addresses, changed: false }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &Multiaddr> {
        self.addresses.iter()
    }

    /// Notes that a peer was met at this address, which must end with its peer id.
    pub(super) fn confirm(&mut self, address: Multiaddr) {
        self.addresses.retain(|known| *known != address);
        self.addresses.push_back(address);
        if self.addresses.len() > ADDRESSES_MAX {
            self.addresses.pop_front();
        }
        self.changed = true;
    }

    /// The work of writing the file, if there is anything to write.
    pub(super) fn save(&mut self) -> Option<impl FnOnce() + Send + 'static> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let text: String = self.addresses.iter().map(|address| format!("{address}\n")).collect();
        let path = self.path.clone();
        Some(move || {
            if let Err(e) = replace(&path, text.as_bytes()) {
                tracing::warn!("peer cache {} is not written: {e}", path.display());
            }
        })
    }
}

/// Replaces a file, so that a crash leaves the old content or the new.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn survives_a_restart_bounded_and_in_order() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("peers");
        let mut cache = PeerCache::load(path.clone());
        assert!(cache.save().is_none());
        for port in 1..=300 {
            cache.confirm(address(port));
        }
        cache.confirm(address(100));
        cache.save().unwrap()();
        assert!(cache.save().is_none());

        let cache = PeerCache::load(path);
        assert_eq!(cache.addresses().count(), ADDRESSES_MAX);
        assert_eq!(cache.addresses().last(), Some(&address(100)));
    }

    #[test]
    fn a_damaged_file_is_no_obstacle() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("peers");
        fs::write(&path, format!("garbage\n{}\n/ip4/300.1.1.1", address(7))).unwrap();
        assert_eq!(PeerCache::load(path.clone()).addresses().count(), 1);
        fs::write(&path, [0xff; 100]).unwrap();
        assert_eq!(PeerCache::load(path.clone()).addresses().count(), 0);
        assert_eq!(PeerCache::load(path.join("missing")).addresses().count(), 0);
    }
}
