//! The measuring itself, in the worker process: no network, no locks, no clock but the engine's.

mod arm;
mod pool;
mod reference;
mod score;

use super::environment;
use super::files;
use super::job::{Job, JobError};
use super::message::{Line, Parted, Progress};
use arm::{Arms, Timed};
use assay_kernels::{AdapterRequest, EngineOptions, Gpu};
use assay_protocol::draw::Draw;
use assay_protocol::measurement::{Environment, Measurement, Pair, Score, token_digest};
use assay_protocol::plan::Arm;
use pool::{Pool, Window};
use reference::References;
use std::io::Write;
use std::path::PathBuf;

/// Most tokens that run through a model at once.
const BATCH_MAX: usize = 32;
/// Most bytes of logits that scoring one prompt may hold on the host.
const LOGIT_BYTES_MAX: usize = 4 << 30;

/// Why a worker has no measurement.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The job cannot be worked on.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A recipe's engine could not be made or run.
    #[error("{recipe}: {reason}")]
    Recipe {
        /// Which of base, X and Y.
        recipe: &'static str,
        /// The engine's reason.
        reason: assay_kernels::Error,
    },
    /// The adapter or the base checkpoint failed.
    #[error(transparent)]
    Engine(#[from] assay_kernels::Error),
    /// A recipe asks for what the measurement cannot do.
    #[error("{recipe}: {reason}")]
    Unsupported {
        /// Which of base, X and Y.
        recipe: &'static str,
        /// What is asked for and what would work.
        reason: String,
    },
    /// The prompt pool cannot be used.
    #[error("prompt pool {path}: {reason}", path = path.display())]
    Pool {
        /// The pool's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] std::io::Error),
}

/// Measures `job` and writes the lines that the parent reads to `output`. An error is also the
/// last line.
///
/// # Errors
///
/// [`WorkerError`] when there is no measurement or nobody takes it.
pub fn serve(job: Result<Job, JobError>, output: &mut impl Write) -> Result<(), WorkerError> {
    let mut lost = None;
    let measured = job.map_err(WorkerError::from).and_then(|job| {
        measure(&job, &mut |progress| {
            lost = write_line(output, &Line::Progress(progress)).err();
        })
    });
    match lost {
        Some(error) => Err(error),
        None => conclude(measured.map(|found| Line::Measurement(Box::new(found))), output),
    }
}

/// Writes the hardware class of the adapter whose name contains `adapter`, or of the best one, as the
/// line that the parent reads. An error is also the last line.
///
/// # Errors
///
/// [`WorkerError`] when there is no such adapter or nobody takes the line.
pub fn identify(adapter: Option<String>, output: &mut impl Write) -> Result<(), WorkerError> {
    let class = environment::hardware_class(adapter);
    conclude(class.map(Line::Class).map_err(WorkerError::from), output)
}

/// Writes the last line.
fn conclude(result: Result<Line, WorkerError>, output: &mut impl Write) -> Result<(), WorkerError> {
    match result {
        Ok(line) => write_line(output, &line),
        Err(error) => {
            write_line(output, &Line::Error(error.to_string()))?;
            Err(error)
        }
    }
}

fn write_line(output: &mut impl Write, line: &Line) -> Result<(), WorkerError> {
    let mut text = serde_json::to_vec(line).map_err(std::io::Error::from)?;
    text.push(b'\n');
    output.write_all(&text)?;
    Ok(output.flush()?)
}

/// Measures `job` on this machine, in this process.
///
/// # Errors
///
/// [`WorkerError`] naming the recipe, file or adapter at fault.
pub fn measure(job: &Job, progress: &mut dyn FnMut(Progress)) -> Result<Measurement, WorkerError> {
    job.check()?;
    let mut steps = Steps { done: 0, total: total_steps(job), progress };
    steps.begin("loading base, X and Y");
    let mut bench = Bench::open(job)?;
    steps.begin("warming up");
    bench.warm_up()?;
    let mut pairs = Vec::with_capacity(job.plan.prompts.len());
    for index in 0..job.plan.prompts.len() {
        pairs.push(bench.pair(index, &mut steps)?);
    }
    steps.begin("probing vocabulary and context");
    bench.arms.probe_reach(job, &bench.pool, &mut bench.references)?;
    let environment = environment::finish(bench.environment, environment::conditions());
    let (x, y) = bench.arms.into_reports();
    Ok(Measurement { pairs, x, y, environment })
}

/// Loading, warm-up, a timed and a scored step for every pair, the reach probe.
fn total_steps(job: &Job) -> u32 {
    u32::try_from(job.plan.prompts.len()).unwrap_or(0).saturating_mul(2).saturating_add(3)
}

/// Reports what is begun.
struct Steps<'a> {
    done: u32,
    total: u32,
    progress: &'a mut dyn FnMut(Progress),
}

impl Steps<'_> {
    fn begin(&mut self, what: &str) {
        let (what, parted) = (what.to_owned(), None);
        (self.progress)(Progress { done: self.done, total: self.total, what, parted });
        self.done += 1;
    }

    /// Says that an arm's decode leaves its prefill.
    fn parted(&mut self, parted: Parted) {
        let what = format!("scoring: decode leaves prefill at {}", parted.seen);
        let parted = Some(parted);
        (self.progress)(Progress { done: self.done, total: self.total, what, parted });
    }
}

/// Everything that is loaded for one job.
struct Bench<'a> {
    job: &'a Job,
    pool: Pool,
    references: References,
    arms: Arms,
    environment: Environment,
    /// The pair whose prompt is decoded again, drawn with the plan.
    repeated: usize,
    /// Draws the seeds of the prompts.
    seeds: Draw,
}

impl<'a> Bench<'a> {
    fn open(job: &'a Job) -> Result<Self, WorkerError> {
        let before = environment::conditions();
        let gpu = Gpu::open(&AdapterRequest { name_contains: job.adapter.clone() })?;
        let base = files::checkpoint(Some(&job.base.checkpoint))
            .map_err(|reason| WorkerError::Recipe { recipe: "base", reason })?;
        let pool = Pool::open(job, &base)?;
        let options = engine_options(job);
        check_memory(job, base.config().vocab)?;
        let mut references = References::new(&gpu, &job.base.checkpoint, &base, &options)?;
        let arms = Arms::open(&gpu, job, &options, &mut references)?;
        let environment = environment::describe(&gpu, before)?;
        let mut seeds = Draw::new("assay prompts v1", &[&job.plan.reach_seed.to_le_bytes()]);
        let pairs = job.plan.prompts.len();
        let repeated = usize::try_from(seeds.below(pairs as u64)).unwrap_or(0);
        Ok(Self { job, pool, references, arms, environment, repeated, seeds })
    }

    /// Runs the warm-up prompt through both arms as if it were timed.
    fn warm_up(&mut self) -> Result<(), WorkerError> {
        let window = self.pool.window(self.job.plan.warm_up);
        let prompt = self.fresh_prompt(&window)?;
        for arm in [Arm::X, Arm::Y] {
            self.arms.decode(arm, &prompt, self.job.decode_tokens)?;
        }
        Ok(())
    }

    /// A prompt that begins with a window of the pool and goes on as nobody could know: who learnt
    /// the pool by heart has learnt nothing.
    fn fresh_prompt(&mut self, window: &Window) -> Result<Vec<u32>, WorkerError> {
        self.references.refresh(&window.prompt, self.seeds.next_u64())
    }

    /// Times both arms on one prompt, then scores both; the arm that led in time leads in scoring.
    fn pair(&mut self, index: usize, steps: &mut Steps<'_>) -> Result<Pair, WorkerError> {
        let plan = &self.job.plan;
        let (prompt, first, pairs) = (plan.prompts[index], plan.first[index], plan.prompts.len());
        let window = self.pool.window(prompt);
        let order = [first, first.other()];
        let count = self.job.decode_tokens;
        let fresh = self.fresh_prompt(&window)?;
        steps.begin(&format!("timing pair {} of {pairs}", index + 1));
        let lead = self.arms.decode(order[0], &fresh, count)?;
        let follow = self.arms.decode(order[1], &fresh, count)?;
        steps.begin(&format!("scoring pair {} of {pairs}", index + 1));
        let base_nll_micronats = self.references.score_text(&window)?;
        let lead_score = self.score(index, &window, order[0], &lead, steps)?;
        let follow_score = self.score(index, &window, order[1], &follow, steps)?;
        let ((x, x_score), (y, y_score)) = match first {
            Arm::X => ((lead, lead_score), (follow, follow_score)),
            Arm::Y => ((follow, follow_score), (lead, lead_score)),
        };
        Ok(Pair {
            prompt,
            x_ns: x.wall_ns,
            y_ns: y.wall_ns,
            x_prefill_us: x.prefill_us,
            y_prefill_us: y.prefill_us,
            x_tokens: token_digest(&x.generated),
            y_tokens: token_digest(&y.generated),
            x_score,
            y_score,
            base_nll_micronats,
        })
    }

    /// Everything that is looked at in one arm's timed decode.
    fn score(
        &mut self,
        index: usize,
        window: &Window,
        arm: Arm,
        timed: &Timed,
        steps: &mut Steps<'_>,
    ) -> Result<Score, WorkerError> {
        let score = self.arms.score(arm, timed, window, &mut self.references)?;
        let prompt = self.job.plan.prompts[index];
        if let Some(seen) = self.arms.probe_path(arm, timed, prompt)? {
            steps.parted(Parted { arm, seen });
        }
        if index == self.repeated {
            self.arms.probe_repeat(arm, timed)?;
        }
        Ok(score)
    }
}

/// Room for the longest sequence that any step of the job runs.
fn engine_options(job: &Job) -> EngineOptions {
    let after = job.decode_tokens.max(job.scored_tokens) as usize;
    let prompt = 1 + job.prompt_tokens as usize;
    let probe = 1 + job.context_tokens as usize + job.reach_tokens as usize;
    let context_tokens = (prompt + after + 1).max(probe);
    EngineOptions::new(context_tokens, BATCH_MAX.min(context_tokens))
}

/// Scoring a prompt holds the kept logits of both arms and two sequences of reference logits; the reach
/// probe holds fewer.
fn check_memory(job: &Job, vocab: usize) -> Result<(), WorkerError> {
    let kept = 2 * job.decode_tokens as usize;
    let prompt = (1 + job.prompt_tokens + job.decode_tokens.max(job.scored_tokens)) as usize;
    let rows = (kept + 2 * prompt).max(2 * job.reach_tokens as usize);
    let bytes = rows.saturating_mul(vocab).saturating_mul(4);
    if bytes > LOGIT_BYTES_MAX {
        let reason = format!("needs {bytes} bytes of logits on the host; ask for fewer tokens");
        return Err(JobError::Field { field: "decode_tokens", reason }.into());
    }
    Ok(())
}
