//! Folders copied from honest checkpoints and broken one fault at a time.

use assay_kernels::triage::{self, Code, Options, Report, Severity, Subject};
use assay_kernels::{embedded_drafter_files, embedded_files};
use half::bf16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use tempfile::TempDir;

/// A stored tensor.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

impl Stored {
    pub(crate) fn filled(shape: &[usize], value: f32) -> Self {
        let count = shape.iter().product();
        let data = std::iter::repeat_n(bf16::from_f32(value).to_le_bytes(), count);
        Stored { dtype: Dtype::BF16, shape: shape.into(), data: data.flatten().collect() }
    }

    /// Applies `change` to every value of a bf16 tensor.
    pub(crate) fn map(&mut self, change: impl Fn(f32) -> f32) {
        for pair in self.data.chunks_exact_mut(2) {
            let value = bf16::from_le_bytes([pair[0], pair[1]]).to_f32();
            pair.copy_from_slice(&bf16::from_f32(change(value)).to_le_bytes());
        }
    }

    pub(crate) fn at(&mut self, index: usize, value: f32) {
        self.data[2 * index..2 * index + 2].copy_from_slice(&bf16::from_f32(value).to_le_bytes());
    }
}

/// A checkpoint in memory, to be changed and written.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) tensors: BTreeMap<String, Stored>,
}

impl Draft {
    fn new(mut files: BTreeMap<String, Vec<u8>>) -> Self {
        let weights = files.remove("model.safetensors").expect("weights");
        let parsed = SafeTensors::deserialize(&weights).expect("valid");
        let tensors = parsed.iter().map(|(name, view)| {
            let (dtype, shape) = (view.dtype(), view.shape().to_vec());
            (name.to_string(), Stored { dtype, shape, data: view.data().to_vec() })
        });
        Draft { tensors: tensors.collect(), files }
    }

    pub(crate) fn nano() -> Self {
        let files = embedded_files().into_iter();
        Self::new(files.map(|(name, bytes)| (name.into(), bytes.to_vec())).collect())
    }

    pub(crate) fn nano_drafter() -> Self {
        let files = embedded_drafter_files().into_iter();
        Self::new(files.map(|(name, bytes)| (name.into(), bytes.to_vec())).collect())
    }

    pub(crate) fn fixture(name: &str) -> Self {
        let mut files = crate::common::folder(&format!("tests/fixtures/{name}"));
        files.retain(|name, _| !name.starts_with("expected"));
        Self::new(files)
    }

    /// nano with its linear layers in int4, groups of 32.
    pub(crate) fn int4() -> Self {
        let nano = assay_kernels::Checkpoint::embedded().expect("embedded");
        Self::new(assay_kernels::quantize::int4_g32(&nano).expect("quantises").files)
    }

    pub(crate) fn config(mut self, change: impl FnOnce(&mut Value)) -> Self {
        self.json("config.json", change);
        self
    }

    pub(crate) fn json(&mut self, file: &str, change: impl FnOnce(&mut Value)) {
        let bytes = self.files.get(file).cloned().unwrap_or_else(|| b"{}".to_vec());
        let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
        change(&mut value);
        self.files.insert(file.into(), serde_json::to_vec_pretty(&value).expect("JSON"));
    }

    pub(crate) fn without(self, key: &str) -> Self {
        let key = key.to_string();
        self.config(move |c| {
            c.as_object_mut().expect("object").remove(&key);
        })
    }

    pub(crate) fn tensor(mut self, name: &str, change: impl FnOnce(&mut Stored)) -> Self {
        change(self.tensors.get_mut(name).unwrap_or_else(|| panic!("{name}")));
        self
    }

    /// Changes every tensor whose name contains `part`.
    pub(crate) fn tensors_like(mut self, part: &str, change: impl Fn(&mut Stored)) -> Self {
        self.tensors.iter_mut().filter(|(n, _)| n.contains(part)).for_each(|(_, t)| change(t));
        self
    }

    pub(crate) fn drop_like(mut self, part: &str) -> Self {
        self.tensors.retain(|name, _| !name.contains(part));
        self
    }

    pub(crate) fn add(mut self, name: &str, tensor: Stored) -> Self {
        self.tensors.insert(name.into(), tensor);
        self
    }

    pub(crate) fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.insert(name.into(), bytes.into());
        self
    }

    pub(crate) fn without_file(mut self, name: &str) -> Self {
        self.files.remove(name);
        self
    }

    /// The weights file.
    pub(crate) fn weights(&self) -> Vec<u8> {
        weights(&self.tensors)
    }

    /// Writes a folder; a file of the usual name that was put among the files is kept as it is.
    pub(crate) fn write(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, bytes) in &self.files {
            std::fs::write(folder.path().join(name), bytes).expect("writable");
        }
        let sharded = self.files.keys().any(|name| name.ends_with(".safetensors"));
        if !sharded && !self.tensors.is_empty() {
            std::fs::write(folder.path().join("model.safetensors"), self.weights())
                .expect("writable");
        }
        folder
    }

    pub(crate) fn check(&self) -> Report {
        let folder = self.write();
        triage::check(Subject::Path(folder.path()), &Options::default())
    }

    /// Checks nano with this as its drafter.
    pub(crate) fn check_as_drafter(&self) -> Report {
        let folder = self.write();
        let draft = Some(Subject::Path(folder.path()));
        triage::check(Subject::Embedded, &Options { draft, adapter: None })
    }
}

pub(crate) fn weights(tensors: &BTreeMap<String, Stored>) -> Vec<u8> {
    let views = tensors.iter().map(|(name, t)| {
        let view = TensorView::new(t.dtype, t.shape.clone(), &t.data).expect("consistent");
        (name.clone(), view)
    });
    safetensors::serialize(views, None).expect("serialises")
}

/// Codes of a report with their severities.
pub(crate) fn codes(report: &Report) -> Vec<(Code, Severity)> {
    report.diagnostics.iter().map(|d| (d.code, d.severity)).collect()
}

/// Asserts that `report` has a diagnostic of `code` and `severity` whose place and message contain `says`.
pub(crate) fn assert_says(what: &str, report: &Report, code: &str, severity: Severity, says: &str) {
    let code = Code::parse(code).expect("known");
    let hit = report.diagnostics.iter().any(|d| {
        let text = format!("{} {}", d.place, d.message);
        d.code == code && d.severity == severity && text.contains(says) && !d.mend.is_empty()
    });
    assert!(hit, "{what}: no {code} {severity:?} saying {says:?} in {:#?}", report.diagnostics);
}
