//! `assay-testnet attack`: recipes that cheat, measured by real seats, and what the gates make of them.
//!
//! Every attack is a recipe that a dishonest author could publish: built-in kernels with a few lines
//! changed, or nano's checkpoint edited. A seat's worker measures it against its parent exactly as it
//! would for a claim, and `decide` judges the raw data. Beside the cheats stand near-misses: honest
//! recipes that come close to what the cheats do and must pass.
//!
//! | module | holds |
//! |---|---|
//! | [`cheats`] | one file an attack |
//! | [`workbench`] | folders, kernels with lines changed, the seats |
//! | [`checkpoints`] | edits of a checkpoint's tensors and configuration |
//! | [`drafting`] | how well two recipes draft |
//! | [`report`] | what came out, for people and scripts |

pub mod cheats;
pub mod checkpoints;
pub mod drafting;
pub mod report;
pub mod workbench;

use crate::nodes::assay_program;
use crate::sim::Check;
use anyhow::{Context, bail};
use assay_node::cli::output::{Format, print};
use assay_node::diagnose;
use assay_protocol::gates::{FlagKind, Gate};
use drafting::Passes;
use report::{AttackReport, Config, Row};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;
use workbench::{Case, Found, Workbench};

/// An overfitted drafter needs at most this many times its parent's passes on the pool's own text.
const OVERFITTED_MAX: f64 = 0.8;
/// And at least this many on text that it could not learn.
const FRESH_MIN: f64 = 0.97;

/// One recipe and what must become of it.
pub struct Attack {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub tries: &'static str,
    /// What must become of it.
    pub expect: Expect,
    /// Makes its files.
    pub make: fn(&Workbench) -> anyhow::Result<Case>,
}

/// What must become of a recipe. The speed gate has its own entry: an attack is measured with few
/// pairs, and what it gains is not the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// These gates refuse it, whatever the others say.
    Refused(&'static [Gate]),
    /// It decodes what the built-in kernels decode and every gate but speed passes: the harness left
    /// it nothing to cheat with, or it never tried.
    Lossless,
    /// Whether or not it decodes the same tokens, it is close enough to the base: every gate but
    /// identity and speed passes.
    Close,
    /// Every gate passes but speed, which finds no gain.
    NoGain,
    /// Every gate passes but speed: on the pool's own text it drafts far better than its parent, and on
    /// the seats' prompts it does not.
    Overfitted,
    /// Its logits are far from the base's, and prefill and decode agree on them; but decoded again it
    /// emits other tokens, wherever workgroups run side by side.
    Unrepeatable,
    /// It is accepted or refused by its speed alone, and this flag is raised.
    Flagged(FlagKind),
    /// It comes to nothing: no seat can load it, each says so for a reason that names this, and its
    /// author was told the same before it was published.
    Unloadable(&'static str),
    /// It comes to nothing: its worker is ended at the deadline, or, where bounded loops bring it back,
    /// what it emits is refused.
    Stopped,
}

/// How the attacks are run.
#[derive(Debug, Clone)]
pub struct AttackOptions {
    /// Which; none means all of them.
    pub names: Vec<String>,
    /// Full committees and the testnet's own number of pairs.
    pub long: bool,
    /// Where the draws start.
    pub seed: u64,
    /// How to print the result.
    pub format: Format,
}

/// Runs the attacks; returns whether the network noticed all of them and nothing else.
///
/// # Errors
///
/// When a name is unknown, files cannot be written, or on Ctrl-C.
pub fn run(options: &AttackOptions) -> anyhow::Result<bool> {
    let attacks = chosen(&options.names)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst)).context("Ctrl-C handler")?;
    let config = Config::new(options.long);
    let bench = Workbench::new(&config, options.seed, assay_program()?, stop)?;
    let started = Instant::now();
    let mut rows = Vec::new();
    let mut checks = Vec::new();
    for (attack, number) in attacks.iter().zip(1..) {
        let say = |what: &str| {
            let seconds = started.elapsed().as_secs();
            eprintln!("[{seconds:>4} s] {number} of {}: {}: {what}", attacks.len(), attack.name);
        };
        say(attack.tries);
        let begun = Instant::now();
        let case = (attack.make)(&bench)?;
        let found = bench.measure(&case, &say)?;
        let check = judge(attack, &case, &found);
        say(&format!(
            "{}: {}",
            if check.ok { "as it should" } else { "NOT AS IT SHOULD" },
            check.detail
        ));
        rows.push(Row::new(attack, &found, begun.elapsed()));
        checks.push(check);
    }
    let report = AttackReport::new(config, options.seed, rows, checks);
    print(options.format, &report, report::show)?;
    Ok(report.ok)
}

/// The attacks of these names, in the catalogue's order.
fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Attack>> {
    if let Some(unknown) = names.iter().find(|name| cheats::named(name).is_none()) {
        let known: Vec<&str> = cheats::ALL.iter().map(|attack| attack.name).collect();
        bail!("there is no attack {unknown}; there are {}", known.join(", "));
    }
    let all = cheats::ALL.iter().copied();
    Ok(all.filter(|a| names.is_empty() || names.iter().any(|name| name == a.name)).collect())
}

/// Whether what was found is what the attack deserves.
fn judge(attack: &Attack, case: &Case, found: &Found) -> Check {
    let refused: Vec<Gate> =
        found.gates().iter().filter(|gate| !gate.pass).map(|gate| gate.gate).collect();
    let only = |allowed: &[Gate]| refused.iter().all(|gate| allowed.contains(gate));
    let ok = match (attack.expect, found) {
        // By the worker's deadline, or by the driver's own, which takes the device away.
        (Expect::Stopped, Found::Nothing(reason)) => {
            ["no measurement within", "lost"].iter().any(|what| reason.contains(what))
        }
        (Expect::Stopped, _) => refused.contains(&Gate::Quality),
        (Expect::Unloadable(what), Found::Nothing(reason)) => {
            let told = diagnose::loadable(&case.child).err();
            reason.contains(what) && told.is_some_and(|faults| faults.contains(what))
        }
        (_, Found::Nothing(_)) | (Expect::Unloadable(_), _) => false,
        (Expect::Refused(gates), _) => gates.iter().all(|gate| refused.contains(gate)),
        (Expect::Lossless, _) => only(&[Gate::Speed]),
        (Expect::Close, _) => only(&[Gate::Identity, Gate::Speed]),
        (Expect::NoGain, _) => refused == [Gate::Speed],
        (Expect::Overfitted, Found::Verdict(_, passes)) => {
            let overfitted = |p: Passes| p.pool < OVERFITTED_MAX && p.seats > FRESH_MIN;
            refused == [Gate::Speed] && passes.is_some_and(overfitted)
        }
        (Expect::Unrepeatable, _) => {
            let one_order = thread::available_parallelism().is_ok_and(|threads| threads.get() == 1);
            refused.contains(&Gate::Quality)
                && !refused.contains(&Gate::Path)
                && (one_order || refused.contains(&Gate::Repeat))
        }
        (Expect::Flagged(kind), Found::Verdict(verdict, _)) => {
            only(&[Gate::Speed]) && verdict.flags.iter().any(|flag| flag.kind == kind)
        }
    };
    Check { name: attack.name.to_owned(), ok, detail: found.summary(&refused) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_unknown_ones_are_refused_with_the_known() {
        let names: BTreeSet<&str> = cheats::ALL.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), cheats::ALL.len());
        let error = chosen(&["no-such".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("no-such") && error.contains("pruned-head"), "{error}");
        assert_eq!(chosen(&["pruned-head".to_owned()]).unwrap().len(), 1);
        assert_eq!(chosen(&[]).unwrap().len(), cheats::ALL.len());
    }

    #[test]
    fn every_cheat_can_be_made() {
        let config = Config::new(false);
        let stop = Arc::new(AtomicBool::new(false));
        let bench = Workbench::new(&config, 1, "assay".into(), stop).unwrap();
        for attack in cheats::ALL {
            let case = (attack.make)(&bench).unwrap_or_else(|e| panic!("{}: {e:#}", attack.name));
            for files in [&case.base, &case.parent, &case.child] {
                let opened = assay_kernels::Checkpoint::open(&files.checkpoint);
                let damaged = matches!(attack.expect, Expect::Unloadable(_));
                let told = diagnose::loadable(files);
                assert!(told.is_ok() || damaged, "{}: {told:?}", attack.name);
                if damaged && files.checkpoint == case.child.checkpoint {
                    assert!(told.is_err());
                    continue;
                }
                opened.unwrap_or_else(|e| panic!("{}: {e}", attack.name));
                if let Some(folder) = &files.bundle {
                    assay_node::measure::files::bundle(Some(folder))
                        .unwrap_or_else(|e| panic!("{}: {e}", attack.name));
                }
            }
        }
    }
}
