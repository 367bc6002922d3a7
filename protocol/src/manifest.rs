//! Checkpoints, bundles and drafters as files cut into blobs.

use crate::error::ManifestError;
use crate::ids::BlobHash;
use assay_proto::{decode_canonical, limits, v1};
use prost::Message;

/// Longest file name in a manifest, in bytes.
pub const FILE_NAME_BYTES_MAX: usize = 120;

/// What a manifest's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Weights, configuration, tokenizer.
    Checkpoint,
    /// WGSL files and `bundle.toml`.
    Bundle,
    /// Weights and configuration of a drafter.
    Drafter,
}

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// A plain name, no folders.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its chunks of 1 MiB, the last one shorter.
    pub chunks: Vec<BlobHash>,
}

/// A list of files; its hash names a checkpoint, bundle or drafter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What the files are.
    pub kind: Kind,
    /// The files, by rising name.
    pub files: Vec<File>,
}

/// The name of a blob.
#[must_use]
pub fn blob_hash(data: &[u8]) -> BlobHash {
    BlobHash(*blake3::hash(data).as_bytes())
}

impl Kind {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Checkpoint, "checkpoint"), (Self::Bundle, "bundle"), (Self::Drafter, "drafter")];

    /// The word in the schema.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Bundle => "bundle",
            Self::Drafter => "drafter",
        }
    }
}

impl Manifest {
    /// Cuts files into chunks and lists them. The blobs of the manifest are its chunks.
    pub fn describe<'a>(kind: Kind, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut files: Vec<File> = files
            .into_iter()
            .map(|(name, data)| File {
                name: name.to_owned(),
                bytes: data.len() as u64,
                chunks: data.chunks(limits::BLOB_BYTES_MAX).map(blob_hash).collect(),
            })
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Self { kind, files }
    }

    /// Reads a manifest that was asked for by its hash.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] when the bytes are not that manifest or describe files that are not
    /// allowed: names with folders, sizes that contradict the chunks, too many of anything.
    pub fn read(expected: BlobHash, bytes: &[u8]) -> Result<Self, ManifestError> {
        let found = blob_hash(bytes);
        if found != expected {
            return Err(ManifestError::Hash { expected, found });
        }
        let message: v1::Manifest = decode_canonical(bytes, limits::MANIFEST_BYTES_MAX)?;
        let kind = Kind::ALL.iter().find(|(_, name)| *name == message.kind);
        let Some((kind, _)) = kind else {
            return Err(fault(&message.kind, "is no kind of manifest"));
        };
        if message.files.is_empty() || message.files.len() > limits::MANIFEST_FILES_MAX {
            return Err(fault("", "needs 1 to 256 files"));
        }
        let files: Vec<File> =
            message.files.into_iter().map(read_file).collect::<Result<_, _>>()?;
        let ordered = files.windows(2).all(|pair| matches!(pair, [a, b] if a.name < b.name));
        if !ordered {
            return Err(fault("", "file names must rise and differ"));
        }
        Ok(Self { kind: *kind, files })
    }

    /// The manifest's own bytes, a blob like any other.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let files = self
            .files
            .iter()
            .map(|file| v1::ManifestFile {
                name: file.name.clone(),
                bytes: file.bytes,
                chunks: file.chunks.iter().map(|chunk| chunk.to_vec()).collect(),
            })
            .collect();
        v1::Manifest { kind: self.kind.name().to_owned(), files }.encode_to_vec()
    }

    /// The manifest's name.
    #[must_use]
    pub fn hash(&self) -> BlobHash {
        blob_hash(&self.to_bytes())
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

fn read_file(file: v1::ManifestFile) -> Result<File, ManifestError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let usable = !file.name.is_empty()
        && file.name.len() <= FILE_NAME_BYTES_MAX
        && file.name.chars().all(plain)
        && !file.name.starts_with('.');
    if !usable {
        return Err(fault(&file.name, "must be a plain file name"));
    }
    let chunk_count = file.bytes.div_ceil(limits::BLOB_BYTES_MAX as u64);
    if chunk_count != file.chunks.len() as u64 {
        return Err(fault(&file.name, "size and number of chunks contradict each other"));
    }
    let chunks = file
        .chunks
        .iter()
        .map(|chunk| BlobHash::from_slice(chunk))
        .collect::<Result<_, _>>()
        .map_err(|_| fault(&file.name, "a chunk hash is not 32 bytes"))?;
    Ok(File { name: file.name, bytes: file.bytes, chunks })
}

fn fault(name: &str, reason: &str) -> ManifestError {
    ManifestError::File { name: name.chars().take(40).collect(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_manifest_reads_back() {
        let big = vec![7_u8; limits::BLOB_BYTES_MAX + 1];
        let manifest = Manifest::describe(
            Kind::Bundle,
            [("b.wgsl", big.as_slice()), ("a.toml", b"x".as_slice())],
        );
        assert_eq!(manifest.files[0].name, "a.toml");
        assert_eq!(manifest.files[1].chunks.len(), 2);
        assert_eq!(Manifest::read(manifest.hash(), &manifest.to_bytes()), Ok(manifest));
    }

    #[test]
    fn names_with_folders_and_false_sizes_are_refused() {
        for name in ["../x", "a/b", "", ".hidden", "ü", &"n".repeat(121)] {
            let manifest = Manifest::describe(Kind::Bundle, [(name, b"x".as_slice())]);
            assert!(Manifest::read(manifest.hash(), &manifest.to_bytes()).is_err(), "{name:?}");
        }
        let mut manifest = Manifest::describe(Kind::Bundle, [("a", b"x".as_slice())]);
        manifest.files[0].bytes = u64::MAX;
        assert!(Manifest::read(manifest.hash(), &manifest.to_bytes()).is_err());
        let twice = Manifest::describe(Kind::Bundle, [("a", b"x".as_slice()), ("a", b"y")]);
        assert!(Manifest::read(twice.hash(), &twice.to_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Manifest::read(blob_hash(&bytes), &bytes);
        }
    }
}
