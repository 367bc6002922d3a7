//! Whether a recipe can be loaded at all, before anybody is asked to measure it.

use crate::measure::{RecipeFiles, files};
use assay_kernels::triage::{self, Options, Severity, Subject};

/// Most faults that are listed one by one.
const LISTED_MAX: usize = 5;

/// Why no seat could load a recipe whose files are `recipe`: what `assay model check` finds wrong with
/// its checkpoint and drafter, or what the bundle's own check says. Reads the files and runs nothing.
///
/// # Errors
///
/// The faults, one a line, each with its code, its place and how to mend it.
pub fn loadable(recipe: &RecipeFiles) -> Result<(), String> {
    let draft = recipe.drafter.as_ref().map(|(folder, _)| Subject::Path(folder));
    let report =
        triage::check(Subject::Path(&recipe.checkpoint), &Options { draft, adapter: None });
    let errors = report.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let mut faults: Vec<String> = errors
        .map(|found| {
            let place = if found.place.is_empty() { "" } else { " at " };
            let (code, name) = (found.code, found.name);
            format!("{code} {name}{place}{}: {}; {}", found.place, found.message, found.mend)
        })
        .collect();
    if let Err(error) = files::bundle(recipe.bundle.as_deref()) {
        faults.push(error.to_string());
    }
    let more = faults.len().saturating_sub(LISTED_MAX);
    faults.truncate(LISTED_MAX);
    if more > 0 {
        faults.push(format!("and {more} more; `assay model check` lists them all"));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_kernels::{embedded_drafter_files, embedded_files};
    use std::collections::BTreeMap;
    use std::path::Path;

    fn write(folder: &Path, files: &BTreeMap<&'static str, &'static [u8]>) {
        std::fs::create_dir_all(folder).unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }

    fn nano(folder: &Path) -> RecipeFiles {
        let (checkpoint, drafter) = (folder.join("nano"), folder.join("drafter"));
        write(&checkpoint, &embedded_files());
        write(&drafter, &embedded_drafter_files());
        RecipeFiles { checkpoint, bundle: None, drafter: Some((drafter, 3)) }
    }

    #[test]
    fn what_loads_has_no_faults() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(loadable(&nano(folder.path())), Ok(()));
    }

    #[test]
    fn what_cannot_load_is_diagnosed_by_code_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = nano(folder.path());
        let weights = recipe.checkpoint.join("model.safetensors");
        let whole = std::fs::read(&weights).unwrap();
        std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
        let faults = loadable(&recipe).unwrap_err();
        assert!(
            faults.starts_with("CK") && faults.contains("more; `assay model check`"),
            "{faults}"
        );
        std::fs::write(&weights, &whole).unwrap();

        let drafter = recipe.drafter.as_ref().unwrap().0.join("config.json");
        std::fs::write(&drafter, "{").unwrap();
        let faults = loadable(&recipe).unwrap_err();
        assert!(faults.contains("draft"), "{faults}");
    }

    #[test]
    fn a_bundle_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle");
        std::fs::create_dir(&bundle).unwrap();
        let recipe = RecipeFiles { bundle: Some(bundle), ..nano(folder.path()) };
        let faults = loadable(&recipe).unwrap_err();
        assert!(faults.contains("bundle.toml"), "{faults}");
    }
}
