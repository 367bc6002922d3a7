//! The two arms: the same code decodes, scores and probes both.

use super::reference::{self, BASE, References, Rows};
use super::{WorkerError, score};
use crate::measure::files;
use crate::measure::job::{Job, RecipeFiles};
use crate::measure::worker::pool::{Pool, Window};
use assay_kernels::{Drafter, Engine, EngineOptions, Error, Gpu};
use assay_protocol::draw::Draw;
use assay_protocol::measurement::{ArmReport, PREFILL_US_MAX, Score};
use assay_protocol::plan::Arm;
use assay_protocol::sighting::Divergence;

/// Both arms.
pub(super) struct Arms {
    x: Lane,
    y: Lane,
}

/// One arm's engine and what was found about it so far.
struct Lane {
    name: &'static str,
    engine: Engine,
    /// The built-in engine on the same checkpoint.
    reference: usize,
    report: ArmReport,
    /// Weight bytes that one forward pass reads.
    bytes_per_pass: u64,
    /// Forward passes of the timed loops.
    passes: u64,
    /// Whether it was said already where its decode leaves its prefill.
    has_parted: bool,
}

/// One timed decode and what it was fed with.
pub(super) struct Timed {
    /// BOS and prompt.
    pub(super) prompt: Vec<u32>,
    /// The prefill's choice, then that of every timed step.
    pub(super) generated: Vec<u32>,
    /// First submit of the decode loop to its last token read back.
    pub(super) wall_ns: u64,
    /// The prefill before it, in microseconds as a measurement records it.
    pub(super) prefill_us: u32,
    /// Forward passes of the decode loop: one a token, fewer with a drafter.
    passes: u64,
    /// Logits of every timed step.
    logits: Rows,
}

impl Timed {
    /// Prompt and generated tokens but the last, which was never fed: its rows from the end of the
    /// prompt on are those that chose the generated tokens.
    fn fed(&self) -> Vec<u32> {
        let (_, before) = reference::split_last(&self.generated);
        [self.prompt.as_slice(), before].concat()
    }

    /// The choices of the timed steps.
    fn tokens(&self) -> &[u32] {
        &self.generated[1..]
    }
}

impl Arms {
    pub(super) fn open(
        gpu: &Gpu,
        job: &Job,
        options: &EngineOptions,
        references: &mut References,
    ) -> Result<Self, WorkerError> {
        let mut open = |name, files| Lane::open(name, gpu, files, options, references);
        Ok(Self { x: open("recipe X", &job.x)?, y: open("recipe Y", &job.y)? })
    }

    fn lane(&mut self, arm: Arm) -> &mut Lane {
        match arm {
            Arm::X => &mut self.x,
            Arm::Y => &mut self.y,
        }
    }

    /// Decodes `count` tokens after `prompt` from an empty cache and keeps their logits.
    pub(super) fn decode(
        &mut self,
        arm: Arm,
        prompt: &[u32],
        count: u32,
    ) -> Result<Timed, WorkerError> {
        let lane = self.lane(arm);
        lane.decode(prompt, count).map_err(|reason| lane.blame(reason))
    }

    /// Compares a timed decode with the base (KL, agreement), with the built-in kernels on the arm's
    /// own checkpoint (identity) and with its own logits (choice), and scores the window's text by
    /// forced decode.
    pub(super) fn score(
        &mut self,
        arm: Arm,
        timed: &Timed,
        window: &Window,
        references: &mut References,
    ) -> Result<Score, WorkerError> {
        let lane = self.lane(arm);
        let (sequence, from) = (timed.fed(), timed.prompt.len() - 1);
        let base = references.rows(BASE, &sequence, from)?;
        let (kl_nats, agreements) = lane.add_timed(timed, &base);
        if lane.reference == BASE {
            lane.add_identity(timed, &base);
        } else {
            let own = references.rows(lane.reference, &sequence, from)?;
            lane.add_identity(timed, &own);
        }
        let nll_micronats = lane.score_text(window).map_err(|reason| lane.blame(reason))?;
        Ok(Score { kl_micronats: score::micronats(kl_nats), agreements, nll_micronats })
    }

    /// Compares the arm's own prefill with its timed decode, position by position, and with the first
    /// token: nobody times or scores that one, and everything that is decoded follows it. Where it is not
    /// the prefill's choice, a position more of its prompt is broken, if one is left.
    ///
    /// Answers where the arm leaves its prefill or its own choice for the first time.
    pub(super) fn probe_path(
        &mut self,
        arm: Arm,
        timed: &Timed,
        prompt: u32,
    ) -> Result<Option<Divergence>, WorkerError> {
        let lane = self.lane(arm);
        let from = timed.prompt.len() - 1;
        let prefill = reference::teacher_forced(&mut lane.engine, &timed.fed(), from)
            .map_err(|reason| lane.blame(reason))?;
        let first = prefill.iter().zip(&timed.generated).take(1);
        let strange = first.filter(|(row, token)| !score::is_near_tie(row, **token)).count();
        let pairs = prefill.iter().skip(1).zip(timed.logits.iter());
        let breaks = pairs.clone().filter(|(expected, found)| score::rows_break(expected, found));
        let positions = pairs.clone().count();
        lane.report.path_positions += positions as u64;
        lane.report.path_breaks += (strange + breaks.count()).min(positions) as u64;
        if lane.has_parted {
            return Ok(None);
        }
        let parts = first_parting(&prefill, timed).map(|(position, expected, seen)| {
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            Divergence { prompt, position, expected, seen }
        });
        lane.has_parted = parts.is_some();
        Ok(parts)
    }

    /// Decodes the prompt again and counts the tokens that differ.
    pub(super) fn probe_repeat(&mut self, arm: Arm, timed: &Timed) -> Result<(), WorkerError> {
        let count = u32::try_from(timed.tokens().len()).unwrap_or(u32::MAX);
        let again = self.decode(arm, &timed.prompt, count)?;
        let pairs = timed.generated.iter().zip(&again.generated);
        let report = &mut self.lane(arm).report;
        report.repeat_positions += timed.generated.len() as u64;
        report.repeat_breaks += pairs.filter(|(one, two)| one != two).count() as u64;
        Ok(())
    }

    /// Forces text and then random ids of the whole vocabulary behind a long passage, and compares
    /// every row with the built-in one: what a head or a window leaves out is missing here, at
    /// positions and lengths that the timed decode reaches and goes beyond.
    pub(super) fn probe_reach(
        &mut self,
        job: &Job,
        pool: &Pool,
        references: &mut References,
    ) -> Result<(), WorkerError> {
        let (context, forced) = (job.context_tokens as usize, job.reach_tokens as usize);
        let (before, text) = pool.passage(job.plan.warm_up, context, forced / 2);
        let mut draw = Draw::new("assay reach probe v2", &[&job.plan.reach_seed.to_le_bytes()]);
        let vocab = references.vocab() as u64;
        let random = (text.len()..forced).map(|_| u32::try_from(draw.below(vocab)).unwrap_or(0));
        let ids: Vec<u32> = text.iter().copied().chain(random).collect();
        let mut expected: Option<(usize, Rows)> = None;
        for arm in [Arm::X, Arm::Y] {
            let lane = self.lane(arm);
            let found = reference::forced(&mut lane.engine, &before, &ids)
                .map_err(|reason| lane.blame(reason))?;
            let rows = match expected.take().filter(|(index, _)| *index == lane.reference) {
                Some((_, rows)) => rows,
                None => references.forced(lane.reference, &before, &ids)?,
            };
            for (expected, found) in rows.iter().zip(found.iter()) {
                lane.report.reach_positions += 1;
                lane.report.reach_breaks += u64::from(score::reach_breaks(expected, found));
            }
            expected = Some((lane.reference, rows));
        }
        Ok(())
    }

    /// What was found, X before Y.
    pub(super) fn into_reports(self) -> (ArmReport, ArmReport) {
        (self.x.into_report(), self.y.into_report())
    }
}

impl Lane {
    fn open(
        name: &'static str,
        gpu: &Gpu,
        files: &RecipeFiles,
        options: &EngineOptions,
        references: &mut References,
    ) -> Result<Self, WorkerError> {
        let unsupported = |reason: String| WorkerError::Unsupported { recipe: name, reason };
        let fail = |reason| WorkerError::Recipe { recipe: name, reason };
        let checkpoint = files::checkpoint(Some(&files.checkpoint)).map_err(fail)?;
        let (vocab, base) = (checkpoint.config().vocab, references.vocab());
        if vocab != base {
            return Err(unsupported(format!(
                "has a vocabulary of {vocab} tokens and the base one of {base}, so their logits cannot \
                 be compared"
            )));
        }
        let bundle = files::bundle(files.bundle.as_deref()).map_err(fail)?;
        let mut engine = Engine::new(gpu, &checkpoint, &bundle, options).map_err(fail)?;
        if let Some((folder, draft_len)) = &files.drafter {
            let drafter = Drafter::open(folder).map_err(fail)?;
            engine = engine.with_drafter(&drafter, *draft_len as usize).map_err(fail)?;
        }
        let reference = references
            .for_checkpoint(gpu, &files.checkpoint, &checkpoint, options)
            .map_err(fail)?;
        let report = ArmReport { shape: files::shape_digest(&checkpoint), ..ArmReport::default() };
        let bytes_per_pass = checkpoint.bytes_per_token();
        Ok(Self { name, engine, reference, report, bytes_per_pass, passes: 0, has_parted: false })
    }

    /// What was found, with the weight bytes read per decoded token: a drafter's target is read once
    /// for all tokens of a step. The drafter's own weights are left out, so that the floor on time
    /// that follows from the figure stays a floor.
    fn into_report(mut self) -> ArmReport {
        let bytes = self.bytes_per_pass.saturating_mul(self.passes);
        self.report.bytes_per_token = bytes.checked_div(self.report.decoded_tokens).unwrap_or(0);
        self.report
    }

    /// An error of this arm's engine.
    fn blame(&self, reason: Error) -> WorkerError {
        WorkerError::Recipe { recipe: self.name, reason }
    }

    fn decode(&mut self, prompt: &[u32], count: u32) -> Result<Timed, Error> {
        self.engine.reset();
        let prefill = self.engine.prefill(prompt)?;
        let decode = self.engine.decode_greedy(count as usize, true)?;
        let logits = decode.logits.unwrap_or_default();
        Ok(Timed {
            prompt: prompt.to_vec(),
            generated: std::iter::once(prefill.next).chain(decode.tokens).collect(),
            wall_ns: decode.wall_ns,
            prefill_us: prefill_us(prefill.wall_ns),
            passes: decode.draft.map_or(u64::from(count), |stats| stats.rounds.len() as u64),
            logits: Rows::new(logits, self.engine.config().vocab),
        })
    }

    /// Negative log-likelihood of the window's text by forced decode, in micronats.
    fn score_text(&mut self, window: &Window) -> Result<u64, Error> {
        let (last, before) = reference::split_last(&window.prompt);
        let (_, text) = reference::split_last(&window.scored);
        let rows = reference::forced(&mut self.engine, before, &[&[last], text].concat())?;
        let (micronats, _) = reference::sum_nll(&rows, &window.scored);
        self.report.scored_tokens += window.scored.len() as u64;
        self.report.nonfinite_logits += score::count_nonfinite(rows.all());
        Ok(micronats)
    }

    /// Adds a timed decode; returns its divergence from the base in nats and the tokens that agree
    /// with it. The base's `rows` begin with the one that chooses the first generated token.
    fn add_timed(&mut self, timed: &Timed, rows: &Rows) -> (f64, u32) {
        self.passes += timed.passes;
        let report = &mut self.report;
        report.decoded_tokens += timed.tokens().len() as u64;
        report.nonfinite_logits += score::count_nonfinite(timed.logits.all());
        let (mut nats, mut agreements) = (0.0, 0_u32);
        let steps = rows.iter().skip(1).zip(timed.logits.iter()).zip(timed.tokens());
        for ((base, own), &token) in steps {
            // A row that is not finite was counted; it has no divergence to add.
            nats += score::kl_divergence(base, own).unwrap_or(0.0);
            agreements += u32::from(score::argmax(base) == token);
            report.choice_breaks += u64::from(score::choice_breaks(own, token));
        }
        (nats, agreements)
    }

    /// Counts the generated tokens that the built-in kernels would not have chosen, the prefill's
    /// choice included: a sequence that begins differently is a different one.
    fn add_identity(&mut self, timed: &Timed, rows: &Rows) {
        for (row, &token) in rows.iter().zip(&timed.generated) {
            if score::argmax(row) != token {
                self.report.identity_breaks += 1;
                self.report.near_ties += u64::from(score::is_near_tie(row, token));
            }
        }
    }
}

/// Where a timed decode leaves the rows that the prefill has for the same tokens, or emits what its own logits
/// do not choose: the position among the generated tokens, the prefill's choice there, and what was emitted.
fn first_parting(prefill: &Rows, timed: &Timed) -> Option<(usize, u32, u32)> {
    let (expected, first) = (prefill.iter().next()?, *timed.generated.first()?);
    if !score::is_near_tie(expected, first) {
        return Some((0, score::argmax(expected), first));
    }
    let steps = prefill.iter().skip(1).zip(timed.logits.iter()).zip(timed.tokens()).enumerate();
    let mut parted = steps.filter(|(_, ((expected, found), token))| {
        score::rows_break(expected, found) || score::choice_breaks(found, **token)
    });
    let (index, ((expected, _), token)) = parted.next()?;
    Some((index + 1, score::argmax(expected), *token))
}

/// Nanoseconds as a measurement records a prefill.
fn prefill_us(wall_ns: u64) -> u32 {
    u32::try_from(wall_ns / 1_000).unwrap_or(PREFILL_US_MAX).clamp(1, PREFILL_US_MAX)
}
