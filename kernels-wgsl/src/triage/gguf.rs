//! What only GGUF files have: rotation factors, tensor counts, tokenizer keys (specification §6).

use super::Code;
use super::folder::CONFIG;
use super::report::Findings;
use crate::error::Result;
use crate::load::{Bytes, Gguf, Tensor};
use std::collections::BTreeMap;

const ROPE: &str = "rope_freqs.weight";
/// What a factor that stops a rotation is at least.
const STOPPED: f32 = 1e29;

/// Texts and tensors as a folder would hold them.
type Contents = (BTreeMap<String, Bytes>, BTreeMap<String, Tensor>);

/// Reads the file and checks what its safetensors form would not show.
pub(super) fn read(name: &str, bytes: &Bytes, findings: &mut Findings) -> Result<Contents> {
    let gguf = Gguf::read(name, bytes)?;
    let gemma4 = gguf.metadata.string("general.architecture")? == Some("gemma4");
    if gemma4 {
        check_rotation(name, gguf.tensors.get(ROPE), findings);
    }
    let layers = gguf
        .tensors
        .keys()
        .filter_map(|t| t.strip_prefix("blk.")?.split_once('.')?.0.parse::<usize>().ok());
    let layers = layers.max().map_or(0, |last| last + 1);
    check_count(name, gguf.tensors.len(), layers, gemma4, findings);
    let drafter = gguf.is_drafter()?;
    // A drafter speaks its target's vocabulary and has none of its own.
    if !drafter {
        check_keys(name, &gguf, findings);
    }
    if drafter {
        let (_, tensors, config) = gguf.drafter()?;
        return Ok((BTreeMap::from([(CONFIG.to_string(), config)]), tensors));
    }
    let target = gguf.model()?;
    Ok((target.files, target.tensors))
}

/// A quarter of the pairs turns (factor 1), the others do not (1e30).
fn check_rotation(name: &str, tensor: Option<&Tensor>, findings: &mut Findings) {
    let place = format!("{name}: {ROPE}");
    let mend = "convert the file again with a current converter";
    let Some(tensor) = tensor else {
        let message = "is missing: full layers would rotate every dimension instead of a quarter";
        findings.warning(Code::GgufRope, place, message, mend);
        return;
    };
    let Ok(factors) = tensor.to_f32() else { return };
    let turning = factors.iter().take_while(|f| **f == 1.0).count();
    let stopped = factors[turning..].iter().all(|f| *f >= STOPPED);
    if !stopped || turning * 4 != factors.len() {
        let message = format!(
            "turns {turning} of {} pairs and does not simply stop the others; {} ones and then 1e30 are right",
            factors.len(),
            factors.len() / 4
        );
        findings.error(Code::GgufRope, place, message, mend);
    }
}

/// Tensor counts of the published models, by their number of layers.
fn check_count(name: &str, found: usize, layers: usize, gemma4: bool, findings: &mut Findings) {
    let counts = [(35, 601), (42, 720), (30, 658), (60, 833), (48, 667)];
    let Some((_, right)) = counts.iter().find(|(l, _)| gemma4 && *l == layers) else { return };
    // A head of its own is one more; shared layers may lack what they do not use.
    if found > right + 1 || found + 4 * layers < *right {
        let message =
            format!("has {found} tensors; the published model of {layers} layers has {right}");
        findings.note(Code::GgufCount, name, message, "compare it with the published file");
    }
}

fn check_keys(name: &str, gguf: &Gguf, findings: &mut Findings) {
    for (key, what) in [
        ("tokenizer.ggml.bos_token_id", "BOS is then a guess"),
        ("tokenizer.ggml.eos_token_id", "generation then ends at the context's end only"),
    ] {
        if !gguf.metadata.has(key) {
            let code = if key.contains("bos") { Code::Bos } else { Code::StopSet };
            let message = format!("is missing; {what}");
            let mend = "convert the file again, or set the key with a GGUF editor";
            findings.warning(code, format!("{name}: {key}"), message, mend);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_published_models_pass_and_others_do_not() {
        for (layers, found, notes) in
            [(35, 601, 0), (35, 541, 0), (30, 659, 0), (60, 900, 1), (8, 3, 0)]
        {
            let mut findings = Findings::default();
            check_count("model.gguf", found, layers, true, &mut findings);
            assert_eq!(
                findings.into_report(Vec::new()).diagnostics.len(),
                notes,
                "{layers} {found}"
            );
        }
    }
}
