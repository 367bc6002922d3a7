//! What the node asks a worker to measure.

use assay_protocol::genesis::Genesis;
use assay_protocol::measurement::PAIRS_MAX;
use assay_protocol::plan::{Arm, Plan};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read};
use std::path::PathBuf;

/// Longest job, in bytes of its one line of JSON.
pub(super) const JOB_BYTES_MAX: u64 = 256 << 10;
/// Most prompt, decoded or scored tokens in a job, as in a genesis file.
const TOKENS_MAX: u32 = 4096;
/// Most random tokens of the reach probe, as in a genesis file.
const REACH_MAX: u32 = 1024;
/// Most tokens of text before it, as in a genesis file.
const CONTEXT_MAX: u32 = 65_536;

/// The folders that hold a recipe's files. Whoever makes a job has checked their hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeFiles {
    /// Folder of the checkpoint.
    pub checkpoint: PathBuf,
    /// Folder of the kernel bundle; none means the built-in one.
    #[serde(default)]
    pub bundle: Option<PathBuf>,
    /// Folder of the drafter and the drafts per step; none means one token a step.
    #[serde(default)]
    pub drafter: Option<(PathBuf, u32)>,
}

/// One seat's work for one claim: the plan drawn for it and where the files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Prompts, order and labels.
    pub plan: Plan,
    /// Steps of every timed decode loop.
    pub decode_tokens: u32,
    /// Tokens of a window that make the prompt, after the BOS token.
    pub prompt_tokens: u32,
    /// Tokens after them that score perplexity.
    pub scored_tokens: u32,
    /// Positions of the reach probe, text and random token ids.
    pub reach_tokens: u32,
    /// Tokens of text before them.
    pub context_tokens: u32,
    /// Windows that the pool text is cut into.
    pub pool_prompts: u32,
    /// The pool text, UTF-8.
    pub pool: PathBuf,
    /// Files of the recipe under label X.
    pub x: RecipeFiles,
    /// Files of the recipe under label Y.
    pub y: RecipeFiles,
    /// Files of the challenge's base recipe, which both arms are scored against.
    pub base: RecipeFiles,
    /// Only adapters whose name contains this; none means the best one.
    #[serde(default)]
    pub adapter: Option<String>,
}

/// Why a job cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Standard input or a file could not be read.
    #[error("cannot read the job: {0}")]
    Io(#[from] std::io::Error),
    /// More bytes than any job has.
    #[error("the job is longer than {JOB_BYTES_MAX} bytes")]
    TooLong,
    /// Not the expected JSON.
    #[error("the job is not one line of job JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A number or list that cannot be measured.
    #[error("job field {field}: {reason}")]
    Field {
        /// The field's path.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Job {
    /// The job of a seat whose files lie in the given folders.
    #[must_use]
    pub fn new(
        genesis: &Genesis,
        plan: Plan,
        pool: PathBuf,
        [x, y, base]: [RecipeFiles; 3],
        adapter: Option<String>,
    ) -> Self {
        Self {
            plan,
            decode_tokens: genesis.measurement.decode_tokens,
            prompt_tokens: genesis.challenge.pool.prompt_tokens,
            scored_tokens: genesis.challenge.pool.scored_tokens,
            reach_tokens: genesis.measurement.reach_tokens,
            context_tokens: genesis.measurement.context_tokens,
            pool_prompts: genesis.challenge.pool.prompts,
            pool,
            x,
            y,
            base,
            adapter,
        }
    }

    /// Reads and checks the job on the first line of `input`, never more than `JOB_BYTES_MAX`.
    ///
    /// # Errors
    ///
    /// [`JobError`] saying what is wrong with it.
    pub fn read(input: &mut impl BufRead) -> Result<Self, JobError> {
        let mut line = Vec::new();
        input.take(JOB_BYTES_MAX + 1).read_until(b'\n', &mut line)?;
        if u64::try_from(line.len()).is_ok_and(|bytes| bytes > JOB_BYTES_MAX) {
            return Err(JobError::TooLong);
        }
        let job: Self = serde_json::from_slice(&line)?;
        job.check()?;
        Ok(job)
    }

    /// Checks that the counts fit together and stay within what a genesis may ask for.
    ///
    /// # Errors
    ///
    /// [`JobError::Field`] naming the first that does not.
    pub fn check(&self) -> Result<(), JobError> {
        let require = |holds: bool, field, reason: &str| match holds {
            true => Ok(()),
            false => Err(JobError::Field { field, reason: reason.to_owned() }),
        };
        let plan = &self.plan;
        let pairs = plan.prompts.len();
        require((1..=PAIRS_MAX).contains(&pairs), "plan.prompts", "1 to 64 prompts")?;
        require(plan.first.len() == pairs, "plan.first", "one lead for every prompt")?;
        let mut windows = plan.prompts.iter().chain([&plan.warm_up]);
        let inside = windows.all(|&window| window < self.pool_prompts);
        require(inside, "plan.prompts", "a window that the pool does not have")?;
        for (field, value, most) in [
            ("decode_tokens", self.decode_tokens, TOKENS_MAX),
            ("prompt_tokens", self.prompt_tokens, TOKENS_MAX),
            ("scored_tokens", self.scored_tokens, TOKENS_MAX),
            ("reach_tokens", self.reach_tokens, REACH_MAX),
            ("context_tokens", self.context_tokens, CONTEXT_MAX),
        ] {
            if !(1..=most).contains(&value) {
                let reason = format!("is {value}; it must be 1 to {most}");
                return Err(JobError::Field { field, reason });
            }
        }
        Ok(())
    }

    /// The files of an arm.
    #[must_use]
    pub fn files(&self, arm: Arm) -> &RecipeFiles {
        match arm {
            Arm::X => &self.x,
            Arm::Y => &self.y,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_protocol::ids::{BlobHash, ClaimId, PeerId, RoundId};
    use assay_protocol::record::{Drafter, Recipe};

    fn job() -> Job {
        let recipe = Recipe {
            checkpoint: BlobHash([1; 32]),
            bundle: Some(BlobHash([2; 32])),
            drafter: Some(Drafter { checkpoint: BlobHash([3; 32]), draft_len: 4 }),
        };
        let files = RecipeFiles {
            checkpoint: "/blobs/nano".into(),
            bundle: Some("/blobs/bundle".into()),
            drafter: Some(("/blobs/drafter".into(), 4)),
        };
        let plan = Plan {
            round: RoundId { claim: ClaimId([4; 32]), number: 1 },
            seat: PeerId([5; 32]),
            x: recipe,
            y: recipe,
            child: Arm::Y,
            prompts: vec![3, 1],
            first: vec![Arm::X, Arm::Y],
            warm_up: 2,
            reach_seed: u64::MAX,
        };
        Job {
            plan,
            decode_tokens: 48,
            prompt_tokens: 32,
            scored_tokens: 32,
            reach_tokens: 64,
            context_tokens: 96,
            pool_prompts: 4,
            pool: "/blobs/pool".into(),
            x: files.clone(),
            y: files.clone(),
            base: files,
            adapter: Some("llvmpipe".to_owned()),
        }
    }

    fn line(job: &Job) -> Vec<u8> {
        let mut line = serde_json::to_vec(job).unwrap();
        line.push(b'\n');
        line
    }

    #[test]
    fn a_job_survives_its_line() {
        let job = job();
        let mut input = line(&job);
        input.extend(b"what follows is not read");
        let mut input = input.as_slice();
        assert_eq!(Job::read(&mut input).unwrap(), job);
        assert_eq!(input, b"what follows is not read");
    }

    #[test]
    fn counts_are_checked_when_read() {
        let mut job = job();
        job.reach_tokens = REACH_MAX + 1;
        let error = Job::read(&mut line(&job).as_slice()).unwrap_err();
        assert!(error.to_string().contains("reach_tokens: is 1025"), "{error}");
    }
}
