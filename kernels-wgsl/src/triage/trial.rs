//! Running a few tokens: what no header shows.

use super::Code;
use super::report::Findings;
use crate::bundle::Bundle;
use crate::engine::{Engine, EngineOptions, Path};
use crate::gpu::Gpu;
use crate::load::{Checkpoint, Drafter, heldout_text};
use crate::measure::negative_log_likelihood;

/// Positions that are run.
const POSITIONS: usize = 48;
/// Tokens that are drafted in a round.
const DRAFT_LEN: usize = 3;
/// Tokens decoded to measure a drafter.
const DECODED: usize = 32;
/// Fewer accepted drafts than this share are no better than chance.
const ACCEPTANCE_MIN: f64 = 0.05;
/// Mean entropy of the predictions by that of a uniform one, above which they are flat.
const FLAT: f64 = 0.9;

/// Runs `checkpoint` and reports what its outputs show.
pub(super) fn run(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    drafter: Option<&Drafter>,
    findings: &mut Findings,
) {
    let room = POSITIONS + DECODED + DRAFT_LEN + 1;
    let context_tokens = room.min(checkpoint.config().max_positions);
    let options = EngineOptions::new(context_tokens, 16);
    let engine = Engine::new(gpu, checkpoint, &Bundle::builtin(), &options);
    let outcome = engine.and_then(|mut engine| {
        let (tokens, is_text) = prompt(checkpoint, context_tokens.min(POSITIONS))?;
        predictions(&mut engine, &tokens, is_text, findings)?;
        values(&engine, tokens.len(), findings)?;
        let room = context_tokens > POSITIONS + DECODED;
        match drafter.filter(|_| room) {
            Some(drafter) => drafting(engine, drafter, &tokens, findings),
            None => Ok(()),
        }
    });
    if let Err(error) = outcome {
        let mend =
            "check on a machine whose adapter holds the model, or leave the run out with --no-run";
        findings.note(Code::DoesNotLoad, "", format!("was not run: {error}"), mend);
    }
}

/// BOS and the beginning of a plain text; without a tokenizer some ids, which say nothing about language.
fn prompt(checkpoint: &Checkpoint, count: usize) -> crate::Result<(Vec<u32>, bool)> {
    let config = checkpoint.config();
    let mut tokens = vec![config.bos];
    let text: String = heldout_text().chars().take(8 * count).collect();
    let encoded = checkpoint.tokenizer().and_then(|tokenizer| tokenizer.encode(&text));
    let is_text = encoded.is_ok();
    match encoded {
        Ok(ids) => tokens.extend(ids),
        Err(_) => tokens.extend((0..count as u32).map(|i| 3 + i * 7 % (config.vocab as u32 - 3))),
    }
    tokens.truncate(count);
    Ok((tokens, is_text))
}

/// Finite, and better than guessing.
fn predictions(
    engine: &mut Engine,
    tokens: &[u32],
    is_text: bool,
    findings: &mut Findings,
) -> crate::Result<()> {
    let rows = engine.logits(tokens, Path::Prefill)?;
    let vocab = engine.config().vocab;
    if let Some(at) = rows.logits.iter().position(|z| !z.is_finite()) {
        let message = format!("position {} predicts NaN or infinity", at / vocab);
        let mend = "look for infinite or huge weights; F16 files of Gemma overflow";
        findings.error(Code::NonFiniteLogits, "a run of the model", message, mend);
        return Ok(());
    }
    let uniform = (vocab as f64).ln();
    let rows = || rows.logits.chunks(vocab);
    let mean_entropy = rows().map(entropy).sum::<f64>() / rows().len() as f64;
    let scored = rows().zip(&tokens[1..]);
    let nll = scored.map(|(row, token)| negative_log_likelihood(row, *token)).sum::<f64>()
        / (tokens.len() - 1).max(1) as f64;
    let mend = "check the attention scale, the norm convention and the rotation against the family's; random \
                weights do the same";
    if mean_entropy > FLAT * uniform {
        let message = format!(
            "the mean entropy of its predictions is {:.0} % of a uniform guess over {vocab} tokens",
            100.0 * mean_entropy / uniform
        );
        findings.warning(Code::FlatSoftmax, "a run of the model", message, mend);
    } else if is_text && nll > uniform - 8f64.ln() {
        let message = format!(
            "perplexity of a plain English text is {:.0}; the vocabulary has {vocab} tokens",
            nll.exp()
        );
        findings.warning(Code::FlatSoftmax, "a run of the model", message, mend);
    }
    Ok(())
}

/// Entropy of the softmax of `logits`, in nats.
fn entropy(logits: &[f32]) -> f64 {
    let highest = logits.iter().fold(f64::NEG_INFINITY, |m, &z| m.max(f64::from(z)));
    let (mut total, mut weighted) = (0.0, 0.0);
    for &z in logits {
        let shifted = f64::from(z) - highest;
        let weight = shifted.exp();
        total += weight;
        weighted += weight * shifted;
    }
    total.ln() - weighted / total
}

/// Cached values have unit root mean square where the family normalises them.
fn values(engine: &Engine, positions: usize, findings: &mut Findings) -> crate::Result<()> {
    if !engine.config().value_norm {
        return Ok(());
    }
    for (layer, rms) in engine.cached_value_rms(positions)? {
        if let Some(message) = value_fault(rms) {
            let mend = "apply a weightless RMSNorm to the value projection; a kernel bundle that leaves it out \
                        is at fault, not the file";
            findings.error(Code::ValueNorm, format!("values of layer {layer}"), message, mend);
            break;
        }
    }
    Ok(())
}

/// What is wrong with values of this root mean square.
fn value_fault(rms: f64) -> Option<String> {
    // Rounding moves it by far less; a value vector of nearly zero length has a smaller one.
    (!(0.9..1.1).contains(&rms)).then(|| format!("have root mean square {rms:.3} instead of 1"))
}

/// Share of drafts that the target accepts.
fn drafting(
    engine: Engine,
    drafter: &Drafter,
    tokens: &[u32],
    findings: &mut Findings,
) -> crate::Result<()> {
    let mut engine = engine.with_drafter(drafter, DRAFT_LEN)?;
    engine.reset();
    engine.prefill(tokens)?;
    let decode = engine.decode_greedy(DECODED, false)?;
    let rounds = decode.draft.map(|stats| stats.rounds).unwrap_or_default();
    let drafted: usize = rounds.iter().map(|(drafted, _)| drafted).sum();
    let accepted: usize = rounds.iter().map(|(_, accepted)| accepted).sum();
    if drafted > 0 && (accepted as f64) < ACCEPTANCE_MIN * drafted as f64 {
        let message = format!("{accepted} of {drafted} drafts were accepted on a plain text");
        let mend =
            "use the drafter of this very checkpoint and numerics (a QAT target has a QAT drafter)";
        findings.warning(Code::DrafterNumerics, "draft", message, mend);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_must_be_normalised() {
        assert_eq!(value_fault(0.999), None);
        assert!(value_fault(0.31).unwrap().contains("0.310"));
        assert!(value_fault(f64::NAN).is_some());
    }

    #[test]
    fn entropy_of_known_distributions() {
        assert!((entropy(&[3.0; 8]) - 8f64.ln()).abs() < 1e-12);
        assert!(entropy(&[100.0, 0.0, 0.0]) < 1e-9);
    }
}
