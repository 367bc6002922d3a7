//! Reading the folders that recipes lie in.

use assay_kernels::bundle::{FILES_MAX, SOURCE_BYTES_MAX};
use assay_kernels::{Bundle, Checkpoint, Error, ModelConfig, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The checkpoint in `dir`; the one inside the binary without it.
///
/// # Errors
///
/// When a file is missing or not what its name says.
pub fn checkpoint(dir: Option<&Path>) -> Result<Checkpoint> {
    dir.map_or_else(Checkpoint::embedded, Checkpoint::open)
}

/// The kernel bundle in `dir`; the built-in one without it.
///
/// # Errors
///
/// When the folder cannot be read, holds more than any bundle does, or is not a valid bundle.
pub fn bundle(dir: Option<&Path>) -> Result<Bundle> {
    let Some(dir) = dir else { return Ok(Bundle::builtin()) };
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    let mut files = BTreeMap::new();
    let mut room = SOURCE_BYTES_MAX + 1;
    for entry in std::fs::read_dir(dir).map_err(fail(dir))? {
        let path = entry.map_err(fail(dir))?.path();
        if !path.is_file() {
            continue;
        }
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::Bundle(format!("{} is not a UTF-8 name", path.display())));
        };
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(fail(&path))?;
        file.take(room as u64).read_to_end(&mut bytes).map_err(fail(&path))?;
        room -= bytes.len();
        files.insert(name.to_owned(), bytes);
        if room == 0 || files.len() > FILES_MAX {
            // What was read so far already breaks a limit, and the bundle's own check says which.
            break;
        }
    }
    Bundle::from_files(files)
}

/// BLAKE3 over layers, widths, window and vocabulary. How the weights are stored is left out: a
/// quantised checkpoint has the shape of its original, and so has one that stores its output head apart
/// from the embedding table, in fewer bits. What such a head says is for the quality and reach gates.
#[must_use]
pub fn shape_digest(checkpoint: &Checkpoint) -> [u8; 32] {
    let shape = ModelConfig { int4: false, tied_head: true, ..checkpoint.config().clone() };
    // Plain structs of numbers always serialise; an empty text would merely equal another one.
    let text = serde_json::to_vec(&shape).unwrap_or_default();
    blake3::derive_key("assay checkpoint shape v1", &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oversized_bundle_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("huge.wgsl")).unwrap();
        file.set_len(1 << 40).unwrap();
        let error = bundle(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("limit"), "{error}");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = bundle(Some(Path::new("/no/such/bundle"))).unwrap_err().to_string();
        assert!(error.contains("/no/such/bundle"), "{error}");
    }
}
