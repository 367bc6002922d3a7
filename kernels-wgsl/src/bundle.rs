//! Kernel bundles: WGSL files and a `bundle.toml` that say which kernel implements which op.
//!
//! ```toml
//! name = "serial-rows"
//! summary = "one invocation per output row, no barriers"
//! fusions = ["query_rope"]      # launches to put together, see `fusion`; optional, none
//!
//! [[kernel]]
//! op = "matmul_bf16"            # a name of the registry
//! file = "matmul_bf16.wgsl"
//! entry = "main"                # optional
//! rows_per_workgroup = 64       # items along x that one workgroup covers; optional, 1
//! batch_tiles = [1, 2, 4]       # values of BATCH_TILE it is built for; optional, [1]
//! constants = { UNROLL = 4 }    # values of its `override`s; optional
//! ```
//!
//! A bundle is data, never host code. An op keeps the built-in kernel unless the bundle names another.
//! The replacement sees the op's bindings as the registry lists them, the op's mode constant and
//! `BATCH_TILE` where it declares them, and is launched over
//! `(ceil(items / rows_per_workgroup), ceil(rows / BATCH_TILE), 1)` workgroups. It is compiled with the
//! same run-time checks as the built-in kernels: bounds checks, bounded loops, zeroed workgroup memory.
//! A matrix product that declares no `override EXPERTS` runs every model but those with experts.

use crate::error::{Error, Result};
use crate::fusion::Fusion;
use crate::registry::{Access, Op, entries};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Largest sum of the sizes of a bundle's files, in bytes.
pub const SOURCE_BYTES_MAX: usize = 256 * 1024;
/// Most kernels a bundle may bring.
pub const KERNELS_MAX: usize = 64;
/// Most files a bundle may bring.
pub const FILES_MAX: usize = 2 * KERNELS_MAX + 1;
/// `override` by which a matrix product runs experts.
pub(crate) const EXPERTS: &str = "EXPERTS";
pub(crate) const MANIFEST: &str = "bundle.toml";
const TILE_MAX: u32 = 64;
const ROWS_MAX: u32 = 65_536;

/// One op's implementation, ready to compile.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) source: Cow<'static, str>,
    pub(crate) entry: String,
    pub(crate) constants: BTreeMap<String, f64>,
    /// `override` names that the source declares.
    pub(crate) declared: BTreeSet<String>,
    pub(crate) rows_per_workgroup: u32,
    pub(crate) batch_tiles: Vec<u32>,
}

/// A checked kernel bundle: an implementation for every op.
#[derive(Debug, Clone)]
pub struct Bundle {
    name: String,
    summary: String,
    digest: [u8; 32],
    kernels: BTreeMap<Op, Kernel>,
    replaced: Vec<Op>,
    fusions: BTreeSet<Fusion>,
}

/// What `bundle.toml` says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) summary: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fusions: Vec<String>,
    #[serde(default)]
    pub(crate) kernel: Vec<KernelEntry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KernelEntry {
    pub(crate) op: String,
    pub(crate) file: String,
    #[serde(default = "main_entry")]
    entry: String,
    #[serde(default = "one")]
    rows_per_workgroup: u32,
    #[serde(default = "one_tile")]
    batch_tiles: Vec<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) constants: BTreeMap<String, f64>,
}

impl Manifest {
    /// Reads the manifest among a bundle's files.
    pub(crate) fn of(files: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let manifest = files.get(MANIFEST).ok_or_else(|| Error::MissingFile {
            file: MANIFEST.into(),
            hint: "a kernel bundle is a folder with bundle.toml and the WGSL files it names".into(),
        })?;
        toml::from_str(text_of(MANIFEST, manifest)?)
            .map_err(|e| Error::Bundle(format!("{MANIFEST}: {}", e.to_string().trim_end())))
    }

    /// The fusions that it asks for.
    pub(crate) fn fusions(&self) -> Result<BTreeSet<Fusion>> {
        let mut fusions = BTreeSet::new();
        for name in &self.fusions {
            if !fusions.insert(Fusion::named(name)?) {
                return Err(Error::Bundle(format!("{MANIFEST}: fusion `{name}` twice")));
            }
        }
        Ok(fusions)
    }

    /// Puts the manifest among a bundle's files.
    pub(crate) fn put(&self, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        let text = toml::to_string(self).map_err(|e| Error::Bundle(format!("{MANIFEST}: {e}")))?;
        files.insert(MANIFEST.into(), text.into_bytes());
        Ok(())
    }
}

impl KernelEntry {
    /// A built-in kernel with another value of a tunable constant. Errors where the op has no such
    /// tunable or value.
    pub(crate) fn tuned(op: Op, constant: &str, value: u32) -> Result<Self> {
        let entry = op.entry();
        let tunable = entry.tunables.iter().find(|t| t.name == constant);
        let Some(tunable) = tunable.filter(|t| t.values.contains(&value)) else {
            let message = format!("op `{}` has no tunable {constant} = {value}", entry.name);
            return Err(Error::Bundle(message));
        };
        let mut kernel = Self::builtin(op);
        kernel.rows_per_workgroup = value * tunable.rows_per_workgroup_each;
        kernel.constants.insert(constant.into(), f64::from(value));
        Ok(kernel)
    }

    /// A built-in kernel as a bundle names it.
    fn builtin(op: Op) -> Self {
        let entry = op.entry();
        Self {
            op: entry.name.into(),
            file: format!("{}.wgsl", entry.name),
            entry: main_entry(),
            rows_per_workgroup: entry.rows_per_workgroup,
            batch_tiles: entry.batch_tiles.to_vec(),
            constants: BTreeMap::new(),
        }
    }
}

fn main_entry() -> String {
    "main".into()
}

fn one() -> u32 {
    1
}

fn one_tile() -> Vec<u32> {
    vec![1]
}

impl Bundle {
    /// The kernels that are part of this crate.
    pub fn builtin() -> Bundle {
        let kernels = entries().iter().map(|entry| {
            let source = Cow::Borrowed(entry.source);
            let declared = check_source(entry.name, &source, "main")
                .expect("built-in shaders are valid: tests/wgsl.rs checks each of them");
            let kernel = Kernel {
                source,
                entry: "main".into(),
                constants: BTreeMap::new(),
                declared,
                rows_per_workgroup: entry.rows_per_workgroup,
                batch_tiles: entry.batch_tiles.to_vec(),
            };
            (entry.op, kernel)
        });
        let mut hasher = blake3::Hasher::new();
        for entry in entries() {
            hash_part(&mut hasher, entry.name, entry.source.as_bytes());
        }
        Bundle {
            name: "built-in".into(),
            summary: "the kernels of assay-kernels".into(),
            digest: *hasher.finalize().as_bytes(),
            kernels: kernels.collect(),
            replaced: Vec::new(),
            fusions: BTreeSet::new(),
        }
    }

    /// Reads a bundle from its files by name. Nothing is trusted: sizes, counts, names, keys and the WGSL
    /// itself are checked, and an error names the file and what is wrong with it.
    pub fn from_files(files: BTreeMap<String, Vec<u8>>) -> Result<Bundle> {
        let refuse = |message: String| Err(Error::Bundle(message));
        let total: usize = files.values().map(Vec::len).sum();
        if total > SOURCE_BYTES_MAX {
            return refuse(format!("files have {total} bytes; the limit is {SOURCE_BYTES_MAX}"));
        }
        if files.len() > FILES_MAX {
            return refuse(format!("has {} files; the limit is {FILES_MAX}", files.len()));
        }
        let manifest = Manifest::of(&files)?;
        if manifest.name.is_empty() || manifest.name.len() > 64 || manifest.summary.len() > 1024 {
            return refuse(format!("{MANIFEST}: name has 1 to 64 bytes, summary at most 1024"));
        }
        if manifest.kernel.len() > KERNELS_MAX {
            let count = manifest.kernel.len();
            return refuse(format!("{MANIFEST}: {count} kernels; the limit is {KERNELS_MAX}"));
        }
        let mut bundle = Bundle::builtin();
        bundle.fusions = manifest.fusions()?;
        for entry in manifest.kernel {
            let (op, kernel) = read_kernel(entry, &files)?;
            if bundle.replaced.contains(&op) {
                return refuse(format!("{MANIFEST}: two kernels for op `{}`", op.entry().name));
            }
            bundle.replaced.push(op);
            bundle.kernels.insert(op, kernel);
        }
        let mut hasher = blake3::Hasher::new();
        for (name, bytes) in &files {
            hash_part(&mut hasher, name, bytes);
        }
        bundle.name = manifest.name;
        bundle.summary = manifest.summary;
        bundle.digest = *hasher.finalize().as_bytes();
        Ok(bundle)
    }

    /// Name of the bundle.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One sentence about it.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// BLAKE3 over the names and bytes of all files, in name order, each preceded by its length.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Names of the ops whose built-in kernel it replaces.
    pub fn replaced_ops(&self) -> impl Iterator<Item = &'static str> {
        self.replaced.iter().map(|op| op.entry().name)
    }

    /// Launches that it puts together.
    pub fn fusions(&self) -> &BTreeSet<Fusion> {
        &self.fusions
    }

    /// Whether it brings a kernel of its own for `op`.
    pub(crate) fn replaces(&self, op: Op) -> bool {
        self.replaced.contains(&op)
    }

    /// The first of `constants` that the kernel for `op` would have to declare and does not.
    pub(crate) fn missing(
        &self,
        op: Op,
        constants: &[(&'static str, u32)],
    ) -> Option<(&'static str, u32)> {
        let declared = &self.kernel(op).declared;
        let given =
            |c: &&(&'static str, u32)| declared.contains(c.0) || op.entry().constants.contains(c);
        constants.iter().find(|c| !given(c)).copied()
    }

    pub(crate) fn kernel(&self, op: Op) -> &Kernel {
        self.kernels.get(&op).expect("builtin() has every op and replacing removes none")
    }
}

/// Files of a bundle that runs built-in kernels with other values of their tunable constants, for a search
/// over them: one `(op, tunable, value)` each. Errors where the op has no such tunable or value, or an op
/// comes twice.
pub fn tuned_files(
    name: &str,
    summary: &str,
    settings: &[(Op, &str, u32)],
) -> Result<BTreeMap<String, Vec<u8>>> {
    let tuned = |&(op, constant, value): &(Op, &str, u32)| {
        Ok((op, KernelEntry::tuned(op, constant, value)?))
    };
    let kernels = settings.iter().map(tuned).collect::<Result<Vec<_>>>()?;
    files_of(name, summary, kernels)
}

/// Files of a bundle that brings copies of built-in kernels. Errors where an op comes twice.
pub fn copied_files(name: &str, ops: &[Op]) -> Result<BTreeMap<String, Vec<u8>>> {
    files_of(name, "", ops.iter().map(|op| (*op, KernelEntry::builtin(*op))).collect())
}

fn files_of(
    name: &str,
    summary: &str,
    kernels: Vec<(Op, KernelEntry)>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let (name, summary) = (name.into(), summary.into());
    let kernel = Vec::with_capacity(kernels.len());
    let mut manifest = Manifest { name, summary, fusions: Vec::new(), kernel };
    for (op, kernel) in kernels {
        let source = op.entry().source.as_bytes().to_vec();
        if files.insert(kernel.file.clone(), source).is_some() {
            return Err(Error::Bundle(format!("op `{}` is set twice", kernel.op)));
        }
        manifest.kernel.push(kernel);
    }
    manifest.put(&mut files)?;
    Ok(files)
}

fn hash_part(hasher: &mut blake3::Hasher, name: &str, bytes: &[u8]) {
    for part in [name.as_bytes(), bytes] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
}

pub(crate) fn text_of<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|e| Error::Bundle(format!("{file} is not UTF-8: {e}")))
}

fn read_kernel(entry: KernelEntry, files: &BTreeMap<String, Vec<u8>>) -> Result<(Op, Kernel)> {
    let refuse = |message: String| Err(Error::Bundle(format!("op `{}`: {message}", entry.op)));
    let Some(op) = Op::named(&entry.op) else {
        let known: Vec<&str> = entries().iter().map(|e| e.name).collect();
        return refuse(format!("is unknown; the ops are {}", known.join(", ")));
    };
    let Some(source) = files.get(&entry.file) else {
        return refuse(format!("file `{}` is not in the bundle", entry.file));
    };
    let source = text_of(&entry.file, source)?;
    if entry.rows_per_workgroup == 0 || entry.rows_per_workgroup > ROWS_MAX {
        return refuse(format!("rows_per_workgroup must be from 1 to {ROWS_MAX}"));
    }
    let mut tiles = entry.batch_tiles.clone();
    tiles.sort_unstable();
    tiles.dedup();
    if tiles.is_empty() || tiles.len() > 8 || tiles[0] == 0 || tiles.iter().any(|&t| t > TILE_MAX) {
        return refuse(format!("batch_tiles has 1 to 8 numbers from 1 to {TILE_MAX}"));
    }
    let declared = check_source(&entry.file, source, &entry.entry)?;
    check_bindings(op, &entry.file, source)?;
    if tiles != [1] && !declared.contains("BATCH_TILE") {
        return refuse("lists batch_tiles but declares no `override BATCH_TILE`".into());
    }
    for (name, value) in &entry.constants {
        let planned = op.entry().constants.iter().any(|(known, _)| known == name);
        let taken = planned
            || name == "BATCH_TILE"
            || name == EXPERTS
            || Some(name.as_str()) == op.entry().mode_constant;
        if taken || !declared.contains(name) || !value.is_finite() {
            return refuse(format!("constant `{name}` is not a free `override` of {}", entry.file));
        }
    }
    let kernel = Kernel {
        source: Cow::Owned(source.to_string()),
        entry: entry.entry,
        constants: entry.constants,
        declared,
        rows_per_workgroup: entry.rows_per_workgroup,
        batch_tiles: tiles,
    };
    Ok((op, kernel))
}

pub(crate) fn parse(file: &str, source: &str) -> Result<naga::Module> {
    naga::front::wgsl::parse_str(source)
        .map_err(|e| Error::Bundle(format!("{file}: {}", e.emit_to_string(source).trim_end())))
}

/// Checks a parsed shader.
pub(crate) fn validate(file: &str, source: &str, module: &naga::Module) -> Result<ModuleInfo> {
    Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(module)
        .map_err(|e| Error::Bundle(format!("{file}: {}", e.emit_to_string(source).trim_end())))
}

/// Parses and validates a shader; returns the names of its `override`s.
fn check_source(file: &str, source: &str, entry: &str) -> Result<BTreeSet<String>> {
    let module = parse(file, source)?;
    validate(file, source, &module)?;
    let compute = |e: &&naga::EntryPoint| e.name == entry && e.stage == naga::ShaderStage::Compute;
    if !module.entry_points.iter().any(|e| compute(&e)) {
        return Err(Error::Bundle(format!("{file}: no compute entry point `{entry}`")));
    }
    Ok(module.overrides.iter().filter_map(|(_, o)| o.name.clone()).collect())
}

/// The shader's bindings must be among the op's, with no more access than the op gives.
fn check_bindings(op: Op, file: &str, source: &str) -> Result<()> {
    let module = parse(file, source)?;
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = variable.binding else { continue };
        let slot = op.entry().bindings.get(binding.binding as usize);
        let space = variable.space;
        let writes = |access: naga::StorageAccess| access.contains(naga::StorageAccess::STORE);
        let fits = match (slot, space) {
            (Some((_, Access::Uniform)), naga::AddressSpace::Uniform) => true,
            (Some((_, Access::Read)), naga::AddressSpace::Storage { access }) => !writes(access),
            (Some((_, Access::Write)), naga::AddressSpace::Storage { access }) => writes(access),
            _ => false,
        };
        if binding.group != 0 || !fits {
            let contract: Vec<String> = op
                .entry()
                .bindings
                .iter()
                .enumerate()
                .map(|(i, (name, access))| format!("{i} {name} ({access:?})"))
                .collect();
            return Err(Error::Bundle(format!(
                "{file}: binding {} of group {} does not fit op `{}`, whose bindings are {}",
                binding.binding,
                binding.group,
                op.entry().name,
                contract.join(", ")
            )));
        }
    }
    Ok(())
}
