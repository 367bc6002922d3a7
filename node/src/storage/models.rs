//! Checkpoints that were imported under a name: `HOME/models.json` and their content among the blobs.

use super::blobs::{BlobError, Blobs};
use assay_protocol::ids::BlobHash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FILE: &str = "models.json";
/// Longest name of a model, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Most bytes of the list that are read.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// An imported checkpoint or drafter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Hash of its manifest, which claims name it by.
    pub checkpoint: BlobHash,
    /// `checkpoint` or `drafter`.
    pub kind: String,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Why a model cannot be found or kept.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The blob folder failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The list could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The list.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The list is not one.
    #[error("{path} is not a list of models: {reason}; delete it and import them again")]
    BadList {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that could be a path or is too long.
    #[error(
        "{0:?} cannot name a model: use letters, digits, `.`, `_` and `-`, 64 at most, not `nano`"
    )]
    BadName(String),
    /// Another model has the name.
    #[error(
        "a model {0} was imported already; remove it first (`assay model remove {0}`) or give --name"
    )]
    Taken(String),
    /// Nothing has the name.
    #[error(
        "{0} is neither a folder or file here nor the name of an imported model (`assay model list`)"
    )]
    Unknown(String),
}

/// The imported models of one home folder.
#[derive(Debug)]
pub struct Models {
    home: PathBuf,
    list: BTreeMap<String, Model>,
}

impl Models {
    /// Reads the list; a home without one has no models.
    ///
    /// # Errors
    ///
    /// [`ModelError::Io`] and [`ModelError::BadList`].
    pub fn open(home: &Path) -> Result<Self, ModelError> {
        use std::io::Read;
        let path = home.join(FILE);
        let mut text = String::new();
        let read = std::fs::File::open(&path)
            .and_then(|file| file.take(LIST_BYTES_MAX).read_to_string(&mut text));
        let list = match read {
            Ok(_) => serde_json::from_str(&text)
                .map_err(|e| ModelError::BadList { path: path.clone(), reason: e.to_string() })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(ModelError::Io { action: "read", path, source }),
        };
        Ok(Self { home: home.to_owned(), list })
    }

    /// Where `named` is: a path as it is, or the folder of an imported model, put together from its blobs
    /// where it is not yet.
    ///
    /// # Errors
    ///
    /// [`ModelError::Unknown`] and failing files.
    pub fn resolve(home: &Path, named: &Path) -> Result<PathBuf, ModelError> {
        let name = named.to_str().filter(|name| usable(name));
        let Some(name) = name.filter(|_| !named.exists()) else { return Ok(named.to_owned()) };
        match Self::open(home)?.list.get(name) {
            Some(model) => Ok(blobs(home)?.materialise(model.checkpoint)?),
            None => Err(ModelError::Unknown(name.to_owned())),
        }
    }

    /// The models by name.
    #[must_use]
    pub fn list(&self) -> &BTreeMap<String, Model> {
        &self.list
    }

    /// Errors unless `name` is free and can name a model.
    ///
    /// # Errors
    ///
    /// [`ModelError::BadName`] and [`ModelError::Taken`].
    pub fn check_name(&self, name: &str) -> Result<(), ModelError> {
        if !usable(name) || name == "nano" {
            return Err(ModelError::BadName(name.chars().take(80).collect()));
        }
        match self.list.contains_key(name) {
            true => Err(ModelError::Taken(name.to_owned())),
            false => Ok(()),
        }
    }

    /// Names a model whose blobs are here.
    ///
    /// # Errors
    ///
    /// As [`Models::check_name`], and a list that cannot be written.
    pub fn add(&mut self, name: &str, model: Model) -> Result<(), ModelError> {
        self.check_name(name)?;
        self.list.insert(name.to_owned(), model);
        self.write()
    }

    /// Forgets a name and frees the disk of what no other name needs; returns the bytes freed. Blobs that
    /// claims of this node name are fetched again from peers when they are needed.
    ///
    /// # Errors
    ///
    /// [`ModelError::Unknown`] and failing files.
    pub fn remove(&mut self, name: &str) -> Result<u64, ModelError> {
        let Some(model) = self.list.remove(name) else {
            return Err(ModelError::Unknown(name.chars().take(80).collect()));
        };
        self.write()?;
        let others: Vec<BlobHash> = self.list.values().map(|m| m.checkpoint).collect();
        if others.contains(&model.checkpoint) {
            return Ok(0);
        }
        Ok(blobs(&self.home)?.forget(model.checkpoint, &others)?)
    }

    fn write(&self) -> Result<(), ModelError> {
        let path = self.home.join(FILE);
        let io = |source| ModelError::Io { action: "write", path: path.clone(), source };
        let text =
            serde_json::to_vec_pretty(&self.list).map_err(|e| io(std::io::Error::other(e)))?;
        std::fs::create_dir_all(&self.home).map_err(io)?;
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(io)
    }
}

/// The blob folder of a home. Imports are the operator's own, so that no quota applies.
///
/// # Errors
///
/// When the folder cannot be made.
fn blobs(home: &Path) -> Result<Blobs, BlobError> {
    Blobs::open(&home.join("blobs"), u64::MAX)
}

fn usable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.chars().all(plain)
        && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_protocol::manifest::Kind;

    #[test]
    fn a_model_is_found_by_name_until_it_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let blobs = blobs(home.path()).unwrap();
        let files = [("config.json", &b"{}"[..]), ("model.safetensors", b"weights")];
        let hash = blobs.import(Kind::Checkpoint, files).unwrap();
        let model = Model { checkpoint: hash, kind: "checkpoint".into(), bytes: 9 };
        let mut models = Models::open(home.path()).unwrap();
        models.add("tiny", model.clone()).unwrap();
        assert!(matches!(models.add("tiny", model.clone()), Err(ModelError::Taken(_))));
        for bad in ["", "nano", "../x", "a/b", ".x", "-x", &"n".repeat(65)] {
            assert!(matches!(models.add(bad, model.clone()), Err(ModelError::BadName(_))), "{bad}");
        }
        let folder = Models::resolve(home.path(), Path::new("tiny")).unwrap();
        assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), b"weights");
        let here = home.path().to_owned();
        assert_eq!(Models::resolve(home.path(), &here).unwrap(), here);
        let mut again = Models::open(home.path()).unwrap();
        assert_eq!(again.list()["tiny"], model);
        assert!(again.remove("tiny").unwrap() > 0);
        let gone = Models::resolve(home.path(), Path::new("tiny"));
        assert!(matches!(gone, Err(ModelError::Unknown(_))));
        assert_eq!(blobs.used_bytes(), 0);
        std::fs::write(home.path().join(FILE), "[").unwrap();
        assert!(matches!(Models::open(home.path()), Err(ModelError::BadList { .. })));
    }
}
