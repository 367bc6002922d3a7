//! Blobs as files named by their BLAKE3 hash, and checkpoints put together from them.

use assay_proto::limits;
use assay_protocol::error::ManifestError;
use assay_protocol::ids::BlobHash;
use assay_protocol::manifest::{File as ManifestFile, Kind, Manifest, blob_hash};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Why blobs cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A file or folder failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A blob is not here.
    #[error("blob {0} is not on this machine")]
    Missing(BlobHash),
    /// A blob is not what its name says.
    #[error("blob {0} is damaged; delete it to fetch it again")]
    Damaged(BlobHash),
    /// Longer than a blob may be.
    #[error("a blob of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A manifest is not usable.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Files that make no manifest.
    #[error("{path} has no files that can be published")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The files would fill the disk beyond the quota.
    #[error("{bytes} bytes exceed the disk quota of {quota_bytes} bytes for blobs")]
    Quota {
        /// Bytes asked for.
        bytes: u64,
        /// The quota.
        quota_bytes: u64,
    },
}

/// A folder of blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: PathBuf,
    quota_bytes: u64,
}

impl Blobs {
    /// Opens or makes the folder.
    ///
    /// # Errors
    ///
    /// [`BlobError::Io`].
    pub fn open(folder: &Path, quota_bytes: u64) -> Result<Self, BlobError> {
        for part in ["", "files"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).map_err(io("create", &path))?;
        }
        Ok(Self { folder: folder.to_owned(), quota_bytes })
    }

    fn path(&self, hash: BlobHash) -> PathBuf {
        self.folder.join(hash.to_string())
    }

    /// Whether a blob is here.
    #[must_use]
    pub fn contains(&self, hash: BlobHash) -> bool {
        self.path(hash).is_file()
    }

    /// A blob, checked against its name.
    ///
    /// # Errors
    ///
    /// [`BlobError::Missing`], [`BlobError::Damaged`] or [`BlobError::Io`].
    pub fn get(&self, hash: BlobHash) -> Result<Vec<u8>, BlobError> {
        let path = self.path(hash);
        let data = std::fs::read(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => BlobError::Missing(hash),
            _ => BlobError::Io { action: "read", path, source },
        })?;
        if blob_hash(&data) == hash { Ok(data) } else { Err(BlobError::Damaged(hash)) }
    }

    /// The file that holds a blob.
    ///
    /// # Errors
    ///
    /// [`BlobError::Missing`].
    pub fn path_of(&self, hash: BlobHash) -> Result<PathBuf, BlobError> {
        if self.contains(hash) { Ok(self.path(hash)) } else { Err(BlobError::Missing(hash)) }
    }

    /// Stores a blob under its name.
    ///
    /// # Errors
    ///
    /// [`BlobError::TooLong`] or [`BlobError::Io`].
    pub fn put(&self, data: &[u8]) -> Result<BlobHash, BlobError> {
        let (bytes, bytes_max) = (data.len(), limits::BLOB_BYTES_MAX);
        if bytes > bytes_max {
            return Err(BlobError::TooLong { bytes, bytes_max });
        }
        let hash = blob_hash(data);
        if !self.contains(hash) {
            write_new(&self.path(hash), |file| file.write_all(data))?;
        }
        Ok(hash)
    }

    /// Stores files as a manifest and its chunks, and returns the manifest's hash.
    ///
    /// # Errors
    ///
    /// [`BlobError`].
    pub fn import<'a>(
        &self,
        kind: Kind,
        files: impl IntoIterator<Item = (&'a str, &'a [u8])> + Clone,
    ) -> Result<BlobHash, BlobError> {
        let manifest = Manifest::describe(kind, files.clone());
        self.check_quota(manifest.bytes())?;
        // Reading it back refuses names and sizes that other peers would refuse.
        Manifest::read(manifest.hash(), &manifest.to_bytes())?;
        for (_, data) in files {
            for chunk in data.chunks(limits::BLOB_BYTES_MAX) {
                self.put(chunk)?;
            }
        }
        self.put(&manifest.to_bytes())
    }

    /// Stores the plain files of a folder as a manifest; subfolders, hidden files and the backups that
    /// `assay model check --fix` leaves are left out.
    ///
    /// # Errors
    ///
    /// [`BlobError`] naming the folder or file.
    pub fn import_folder(&self, kind: Kind, folder: &Path) -> Result<BlobHash, BlobError> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(io("read", folder))? {
            let entry = entry.map_err(io("read", folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_file() && !name.starts_with('.') && !name.ends_with(".bak") {
                files.insert(name, entry.path());
            }
        }
        if files.is_empty() {
            return Err(BlobError::Empty { path: folder.to_owned() });
        }
        self.import_files(kind, &files, &mut |_| {})
    }

    /// Stores files by name as a manifest, chunk by chunk, and tells `progress` the bytes stored so far.
    ///
    /// # Errors
    ///
    /// [`BlobError`] naming the file, before anything is stored where names or sizes make no manifest.
    pub fn import_files(
        &self,
        kind: Kind,
        files: &BTreeMap<String, PathBuf>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<BlobHash, BlobError> {
        let mut manifest = Manifest { kind, files: Vec::new() };
        for (name, path) in files {
            let bytes = std::fs::metadata(path).map_err(io("read", path))?.len();
            let count = bytes.div_ceil(limits::BLOB_BYTES_MAX as u64);
            if count > limits::MANIFEST_BYTES_MAX as u64 / 32 {
                // Each chunk takes its hash and two bytes of framing in the manifest.
                let bytes = usize::try_from(count.saturating_mul(34)).unwrap_or(usize::MAX);
                let bytes_max = limits::MANIFEST_BYTES_MAX;
                return Err(BlobError::TooLong { bytes, bytes_max });
            }
            let chunks = vec![BlobHash::default(); usize::try_from(count).unwrap_or(usize::MAX)];
            manifest.files.push(ManifestFile { name: name.clone(), bytes, chunks });
        }
        self.check_quota(manifest.bytes())?;
        // A manifest of the same lengths refuses names and sizes that other peers would refuse.
        let draft = manifest.to_bytes();
        Manifest::read(blob_hash(&draft), &draft)?;
        let mut done = 0;
        for (file, path) in manifest.files.iter_mut().zip(files.values()) {
            let mut source = File::open(path).map_err(io("read", path))?;
            for chunk in &mut file.chunks {
                let mut data = Vec::new();
                let limit = limits::BLOB_BYTES_MAX as u64;
                Read::by_ref(&mut source)
                    .take(limit)
                    .read_to_end(&mut data)
                    .map_err(io("read", path))?;
                done += data.len() as u64;
                *chunk = self.put(&data)?;
                progress(done);
            }
        }
        self.put(&manifest.to_bytes())
    }

    /// Deletes what a manifest names but none of `others` does, and returns the bytes freed.
    ///
    /// # Errors
    ///
    /// [`BlobError`]; a blob that is gone already is no error.
    pub fn forget(&self, hash: BlobHash, others: &[BlobHash]) -> Result<u64, BlobError> {
        let mut kept: BTreeSet<BlobHash> = BTreeSet::new();
        for other in others {
            let manifest = self.manifest(*other)?;
            kept.extend(manifest.files.into_iter().flat_map(|file| file.chunks));
        }
        let folder = self.folder.join("files").join(hash.to_string());
        let mut freed = 0;
        if folder.is_dir() {
            let entries = std::fs::read_dir(&folder).map_err(io("read", &folder))?.flatten();
            freed += entries.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum::<u64>();
            std::fs::remove_dir_all(&folder).map_err(io("delete", &folder))?;
        }
        let manifest = match self.manifest(hash) {
            Err(BlobError::Missing(_)) => return Ok(freed),
            other => other?,
        };
        let chunks = manifest.files.into_iter().flat_map(|file| file.chunks);
        for blob in chunks.chain([hash]).filter(|blob| !kept.contains(blob)) {
            let path = self.path(blob);
            let bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
            match std::fs::remove_file(&path) {
                Ok(()) => freed += bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(io("delete", &path)(source)),
            }
        }
        Ok(freed)
    }

    /// A manifest that is here.
    ///
    /// # Errors
    ///
    /// [`BlobError`].
    pub fn manifest(&self, hash: BlobHash) -> Result<Manifest, BlobError> {
        Ok(Manifest::read(hash, &self.get(hash)?)?)
    }

    /// The blobs of a manifest that are not here yet.
    #[must_use]
    pub fn missing(&self, manifest: &Manifest) -> Vec<BlobHash> {
        let chunks = manifest.files.iter().flat_map(|file| file.chunks.iter().copied());
        chunks.filter(|chunk| !self.contains(*chunk)).collect()
    }

    /// Refuses what would go beyond the quota.
    ///
    /// # Errors
    ///
    /// [`BlobError::Quota`].
    pub fn check_quota(&self, bytes: u64) -> Result<(), BlobError> {
        let bytes = bytes.saturating_add(self.used_bytes());
        if bytes > self.quota_bytes {
            return Err(BlobError::Quota { bytes, quota_bytes: self.quota_bytes });
        }
        Ok(())
    }

    /// Bytes that the blobs take.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.metadata().ok())
            .filter(|m| m.is_file())
            .map(|m| m.len())
            .sum()
    }

    /// Puts the files of a manifest together in a folder of their own, every chunk checked, and
    /// returns the folder. A folder that is there already was checked when it was made.
    ///
    /// # Errors
    ///
    /// [`BlobError`] when a chunk is missing or damaged; nothing half-written stays.
    pub fn materialise(&self, hash: BlobHash) -> Result<PathBuf, BlobError> {
        let target = self.folder.join("files").join(hash.to_string());
        if target.is_dir() {
            return Ok(target);
        }
        let manifest = self.manifest(hash)?;
        let temporary = target.with_extension(format!("{}.tmp", std::process::id()));
        let made = self.write_files(&manifest, &temporary);
        let moved =
            made.and_then(|()| std::fs::rename(&temporary, &target).map_err(io("write", &target)));
        if let Err(error) = moved {
            // The first error is the one to report.
            let _ = std::fs::remove_dir_all(&temporary);
            return Err(error);
        }
        Ok(target)
    }

    fn write_files(&self, manifest: &Manifest, folder: &Path) -> Result<(), BlobError> {
        std::fs::create_dir_all(folder).map_err(io("create", folder))?;
        for file in &manifest.files {
            let path = folder.join(&file.name);
            let mut out = File::create(&path).map_err(io("write", &path))?;
            let mut written = 0;
            for chunk in &file.chunks {
                let data = self.get(*chunk)?;
                written += data.len() as u64;
                out.write_all(&data).map_err(io("write", &path))?;
            }
            if written != file.bytes {
                let reason = format!("has {written} bytes instead of {}", file.bytes);
                return Err(ManifestError::File { name: file.name.clone(), reason }.into());
            }
        }
        Ok(())
    }
}

fn write_new(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), BlobError> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&temporary).and_then(|mut file| write(&mut file));
    written.map_err(io("write", &temporary))?;
    std::fs::rename(&temporary, path).map_err(io("write", path))
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BlobError {
    let path = path.to_owned();
    move |source| BlobError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_travels_as_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        let big: Vec<u8> = (0..limits::BLOB_BYTES_MAX + 100).map(|i| (i % 251) as u8).collect();
        std::fs::write(source.join("model.bin"), &big).unwrap();
        std::fs::write(source.join("config.json"), b"{}").unwrap();
        std::fs::create_dir(source.join("ignored")).unwrap();

        let here = Blobs::open(&folder.path().join("here"), 1 << 30).unwrap();
        let there = Blobs::open(&folder.path().join("there"), 1 << 30).unwrap();
        let hash = here.import_folder(Kind::Checkpoint, &source).unwrap();
        assert!(matches!(there.materialise(hash), Err(BlobError::Missing(_))));
        there.put(&here.get(hash).unwrap()).unwrap();
        let manifest = there.manifest(hash).unwrap();
        assert_eq!(there.missing(&manifest).len(), 3);
        for chunk in there.missing(&manifest) {
            there.put(&here.get(chunk).unwrap()).unwrap();
        }
        let files = there.materialise(hash).unwrap();
        assert_eq!(std::fs::read(files.join("model.bin")).unwrap(), big);
        assert_eq!(std::fs::read_dir(&files).unwrap().count(), 2);
    }

    #[test]
    fn damage_and_quota_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), 1_000).unwrap();
        let hash = blobs.put(b"something").unwrap();
        std::fs::write(blobs.path(hash), b"else").unwrap();
        assert!(matches!(blobs.get(hash), Err(BlobError::Damaged(_))));
        let big = vec![0_u8; 2_000];
        let import = blobs.import(Kind::Bundle, [("a", big.as_slice())]);
        assert!(matches!(import, Err(BlobError::Quota { .. })));
        let too_long = vec![0_u8; limits::BLOB_BYTES_MAX + 1];
        assert!(matches!(blobs.put(&too_long), Err(BlobError::TooLong { .. })));
    }
}
