//! What the weights hold: NaN, infinity, zeros, constants, and norms of the other family's convention.

use super::Code;
use super::config::{Config, Family};
use super::folder::{Folder, Named};
use super::report::Findings;
use crate::load::{Dtype, Tensor, decode};

/// Weights up to this many bytes are looked at in full; of larger checkpoints a sample is taken.
const FULL_SCAN_BYTES: usize = 256 << 20;
/// Bytes looked at per tensor of a larger checkpoint, in pieces spread over it.
const SAMPLE_BYTES: usize = 64 << 10;
const PIECES: usize = 16;

/// What was seen of one tensor's values.
#[derive(Debug, Clone, Copy)]
struct Seen {
    count: usize,
    bad: usize,
    least: f32,
    most: f32,
    sum: f64,
}

/// Looks at the values and says in words how.
pub(super) fn check(
    folder: &Folder,
    config: &Config,
    named: &Named<'_>,
    findings: &mut Findings,
) -> String {
    let all = || named.text.iter().chain(&named.head);
    let total: usize = all().map(|(_, tensor)| tensor.data().len()).sum();
    let whole = total <= FULL_SCAN_BYTES;
    let mut looked = 0;
    let (mut scalars, mut norms) = (Vec::new(), Vec::new());
    for (name, tensor) in all() {
        let Some(seen) = scan(tensor, whole, &mut looked) else { continue };
        judge(name, tensor, &seen, findings);
        let mean = seen.sum / seen.count.max(1) as f64;
        if name.ends_with("layer_scalar") {
            scalars.push(mean);
        }
        // Norms before a block: near 1 as they are in one family, near 0 in the other.
        let before = ["input_layernorm.weight", "pre_feedforward_layernorm.weight"];
        if before.iter().any(|suffix| name.ends_with(suffix)) && seen.bad == 0 {
            norms.push((mean, seen.least));
        }
    }
    check_scalars(config, &scalars, findings);
    // GGUF converters have added the 1 of Gemma 3 already, as the format asks.
    if folder.gguf().is_none() || config.family != Family::Gemma3 {
        check_convention(config, &norms, findings);
    }
    let way = if whole { "in full" } else { "in samples spread over every tensor" };
    format!("{looked} of {total} bytes of weights were looked at, {way}")
}

/// Walks a tensor's values, all of them or a sample.
fn scan(tensor: &Tensor, whole: bool, looked: &mut usize) -> Option<Seen> {
    let data = tensor.data();
    // Pieces are cut between the blocks that values are stored in.
    let width = match tensor.dtype {
        Dtype::BF16 => 2,
        Dtype::Block(block) => block.layout().1,
        _ => return None,
    };
    let mut values = Vec::new();
    let mut seen =
        Seen { count: 0, bad: 0, least: f32::INFINITY, most: f32::NEG_INFINITY, sum: 0.0 };
    let mut see = |piece: &[u8]| {
        *looked += piece.len();
        values.clear();
        decode(tensor.dtype, piece, &mut values);
        for value in values.iter().copied() {
            seen.count += 1;
            if value.is_finite() {
                seen.least = seen.least.min(value);
                seen.most = seen.most.max(value);
                seen.sum += f64::from(value);
            } else {
                seen.bad += 1;
            }
        }
    };
    if whole || data.len() <= SAMPLE_BYTES {
        data.chunks((1 << 20) / width * width).for_each(see);
    } else {
        let piece = SAMPLE_BYTES / PIECES / width * width;
        for i in 0..PIECES {
            let at = (data.len() - piece) / (PIECES - 1) * i / width * width;
            see(&data[at..at + piece]);
        }
    }
    (seen.count > 0).then_some(seen)
}

fn judge(name: &str, tensor: &Tensor, seen: &Seen, findings: &mut Findings) {
    let place = format!("{}: {name}", tensor.file);
    let scales = name.ends_with("weight_scale");
    if seen.bad > 0 {
        let code = if scales { Code::Scales } else { Code::NonFinite };
        let message =
            format!("holds {} values that are NaN or infinite, of {} seen", seen.bad, seen.count);
        let mend =
            "fetch the file again; if its hash is right, the model diverged when it was made";
        findings.error(code, place, message, mend);
        return;
    }
    let constant = seen.least == seen.most && seen.count > 1;
    if !constant {
        return;
    }
    if seen.least == 0.0 {
        let code = if scales { Code::Scales } else { Code::DeadWeights };
        let message = format!("is zero throughout ({} values seen)", seen.count);
        let mend = "fetch the file again; if its hash is right, the part was never trained";
        findings.error(code, place, message, mend);
    } else if tensor.shape.len() > 1 && !scales {
        let message = format!("is {} throughout ({} values seen)", seen.least, seen.count);
        let mend = "fetch the file again; trained matrices are not constant";
        findings.warning(Code::DeadWeights, place, message, mend);
    }
}

fn check_scalars(config: &Config, scalars: &[f64], findings: &mut Findings) {
    if scalars.contains(&0.0) {
        let message = "is 0 in a layer, which erases everything before it";
        let mend = "fetch the file again, or convert it again with the layer scalars";
        findings.error(Code::LayerScalar, "layers.*.layer_scalar", message, mend);
    } else if config.family == Family::Gemma4
        && scalars.len() > 1
        && scalars.iter().all(|s| *s == 1.0)
    {
        let message = "is 1 in every layer; published models have other values in most";
        let mend =
            "nothing, if the model was trained so; else convert it again with its layer scalars";
        findings.note(Code::LayerScalar, "layers.*.layer_scalar", message, mend);
    }
}

/// Pre-block norms average about 1 where weights multiply and about 0 where 1 is added to them.
fn check_convention(config: &Config, norms: &[(f64, f32)], findings: &mut Findings) {
    if norms.len() < 2 {
        return;
    }
    let mut means: Vec<f64> = norms.iter().map(|(mean, _)| *mean).collect();
    means.sort_by(f64::total_cmp);
    let median = means[means.len() / 2];
    let negative = norms.iter().filter(|(_, least)| *least < 0.0).count() * 2 > norms.len();
    let place = "layers.*.input_layernorm.weight";
    match config.family {
        Family::Gemma4 | Family::Assistant if median.abs() < 0.25 && negative => {
            let message = format!(
                "averages {median:.2} with values below 0: weights of the 1 + w convention, which Gemma 4 does \
                 not use"
            );
            let mend =
                "add 1 to every norm weight, or convert the checkpoint again with Gemma 4's rule";
            findings.error(Code::NormConvention, place, message, mend);
        }
        Family::Gemma3
            if means.iter().all(|m| (0.6..1.4).contains(m))
                && norms.iter().all(|(_, least)| *least > 0.0) =>
        {
            let message = format!(
                "averages {median:.2} and is never below 0: 1 seems to have been added already, and Gemma 3 \
                 adds it again"
            );
            let mend =
                "subtract 1 from every norm weight; GGUF files have it added, safetensors do not";
            findings.warning(Code::NormConvention, place, message, mend);
        }
        _ => {}
    }
}
