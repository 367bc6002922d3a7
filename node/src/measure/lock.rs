//! One measurement at a time on a host, however many nodes run on it.
//!
//! The lock is an advisory lock on one file. It lasts as long as the open file, so it falls when
//! its holder dies, however that happens.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Environment variable that names another lock file.
pub const LOCK_VARIABLE: &str = "ASSAY_MEASURING_LOCK";
/// Pause between two attempts to take the lock.
const RETRY: Duration = Duration::from_millis(200);

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub struct HostLock {
    _file: File,
}

/// The lock file of this host: the same for every user and node.
#[must_use]
pub fn default_path() -> PathBuf {
    let named = std::env::var_os(LOCK_VARIABLE).filter(|name| !name.is_empty());
    named.map_or_else(|| std::env::temp_dir().join("assay-measuring.lock"), PathBuf::from)
}

impl HostLock {
    /// Takes the lock if nobody holds it.
    ///
    /// # Errors
    ///
    /// When the file can neither be opened nor made, or the system has no locks there.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for the lock and takes it; `waiting` is called once if somebody else holds it.
    ///
    /// # Errors
    ///
    /// As [`HostLock::try_take`].
    pub async fn take(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        if let Some(lock) = Self::try_take(path)? {
            return Ok(lock);
        }
        waiting();
        loop {
            tokio::time::sleep(RETRY).await;
            if let Some(lock) = Self::try_take(path)? {
                return Ok(lock);
            }
        }
    }

    /// Whether somebody holds the lock; false where the file cannot be opened.
    #[must_use]
    pub fn is_held(path: &Path) -> bool {
        path.exists() && matches!(Self::try_take(path), Ok(None))
    }
}

/// Opens the lock file without writing to it, so that any user may lock a file that another user
/// made; makes it where it does not exist.
fn open(path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    match options.open(path) {
        Ok(file) => {
            share(&file)?;
            Ok(file)
        }
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::open(path),
        Err(error) => Err(error),
    }
}

/// Lets every user open the file: the default mask would keep it to its maker.
#[cfg(unix)]
fn share(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn share(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(!HostLock::is_held(&path));
        let first = HostLock::take(&path, || panic!("nobody holds it")).await.unwrap();
        assert!(HostLock::is_held(&path));
        assert!(HostLock::try_take(&path).unwrap().is_none());
        let (told, mut hears) = tokio::sync::mpsc::channel(1);
        let waiter = tokio::spawn({
            let path = path.clone();
            async move { HostLock::take(&path, || told.try_send(()).unwrap()).await }
        });
        hears.recv().await.unwrap();
        assert!(!waiter.is_finished());
        drop(first);
        let second = waiter.await.unwrap().unwrap();
        assert!(HostLock::is_held(&path));
        drop(second);
        assert!(!HostLock::is_held(&path));
    }

    #[cfg(unix)]
    #[test]
    fn other_users_may_open_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        drop(HostLock::try_take(&path).unwrap());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o666);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(HostLock::try_take(&folder.path().join("missing/lock")).is_err());
    }
}
