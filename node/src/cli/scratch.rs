//! A file for the claims that an audit need not hold in memory.

use anyhow::Context;
use assay_protocol::audit::Auditor;
use assay_protocol::state::{Archive, ArchiveError, CLAIMS_IN_MEMORY};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// A file without a name among the system's temporary files, gone with the process however that ends.
#[derive(Debug)]
pub(super) struct Scratch(Mutex<File>);

impl Scratch {
    fn new() -> io::Result<Self> {
        tempfile::tempfile().map(|file| Self(Mutex::new(file)))
    }

    /// The same audit, with such a file for the claims that are closed.
    ///
    /// # Errors
    ///
    /// When there is no room for temporary files.
    pub(super) fn for_audit(auditor: Auditor) -> anyhow::Result<Auditor> {
        let scratch = Self::new().with_context(|| {
            let folder = std::env::temp_dir();
            format!("cannot make a temporary file in {}; TMPDIR names another", folder.display())
        })?;
        Ok(auditor.with_archive(Arc::new(scratch), CLAIMS_IN_MEMORY))
    }

    fn with_file<T>(&self, act: impl FnOnce(&File) -> io::Result<T>) -> Result<T, ArchiveError> {
        // Every use seeks first, so that one which failed half-way leaves nothing behind that matters.
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(&file).map_err(|error| {
            let folder = std::env::temp_dir();
            ArchiveError(format!("a temporary file in {} (TMPDIR): {error}", folder.display()))
        })
    }
}

impl Archive for Scratch {
    fn keep(&self, bytes: &[u8]) -> Result<u64, ArchiveError> {
        self.with_file(|mut file| {
            let place = file.seek(SeekFrom::End(0))?;
            let length = (bytes.len() as u64).to_le_bytes();
            file.write_all(&[&length, bytes].concat())?;
            Ok(place)
        })
    }

    fn read(&self, place: u64) -> Result<Vec<u8>, ArchiveError> {
        self.with_file(|mut file| {
            file.seek(SeekFrom::Start(place))?;
            let mut length = [0; 8];
            file.read_exact(&mut length)?;
            let length = u64::from_le_bytes(length);
            let mut bytes = Vec::new();
            let read = file.take(length).read_to_end(&mut bytes)?;
            match read as u64 == length {
                true => Ok(bytes),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back_in_any_order() {
        let scratch = Scratch::new().unwrap();
        let kept: Vec<Vec<u8>> = (0..50_u8).map(|i| vec![i; usize::from(i) * 31]).collect();
        let places: Vec<u64> = kept.iter().map(|bytes| scratch.keep(bytes).unwrap()).collect();
        for (bytes, place) in kept.iter().zip(&places).rev() {
            assert_eq!(&scratch.read(*place).unwrap(), bytes);
        }
        assert!(scratch.read(scratch.keep(&[]).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn a_place_that_is_none_is_no_end_of_the_process() {
        let scratch = Scratch::new().unwrap();
        scratch.keep(&[0xff; 64]).unwrap();
        for place in [1, 8, 71, 72, u64::MAX] {
            let error = scratch.read(place).unwrap_err();
            assert!(error.to_string().contains("TMPDIR"), "{error}");
        }
    }
}
