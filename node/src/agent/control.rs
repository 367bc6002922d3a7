//! The kill switch, and what the agent says it is doing.

use super::budget::{Limits, Spent};
use super::settings::{PolicyKind, Settings};
use super::view::Start;
use crate::home::HomeError;
use assay_protocol::ids::{ClaimId, RecordId};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Lines of what the agent did that are kept.
const NOTES_MAX: usize = 64;

/// Something that the agent did, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its number, from 1: readers tell by it what they have seen.
    pub number: u64,
    /// When, in Unix milliseconds.
    pub time_ms: u64,
    /// What, in the node's own words.
    pub text: String,
}

/// How a search ended that was to be the only one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Whether something came of it that was published.
    pub published: bool,
    /// Why it ended.
    pub why: String,
}

/// What the agent is and does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Who decides.
    pub policy: PolicyKind,
    /// Whether it acts; not while its policy is off or it is stopped.
    pub running: bool,
    /// What it is doing.
    pub doing: String,
    /// Why.
    pub why: String,
    /// What its search starts from.
    pub start: Option<Start>,
    /// Trials of this search.
    pub trials: usize,
    /// Its announced plan.
    pub plan: Option<RecordId>,
    /// Its claim.
    pub claim: Option<ClaimId>,
    /// What it may spend a day.
    pub limits: Limits,
    /// What it spent today.
    pub spent: Spent,
    /// What it did, oldest first.
    pub notes: Vec<Note>,
    /// How the search ended after which it was to stop; none before it does.
    #[serde(default)]
    pub ended: Option<Ended>,
}

impl AgentStatus {
    /// It in one line.
    #[must_use]
    pub fn line(&self) -> String {
        match (self.policy, self.running) {
            (PolicyKind::Off, _) => "off".to_owned(),
            (policy, false) => match &self.ended {
                Some(ended) => format!("{}, ended: {}", policy.word(), ended.why),
                None => format!("{}, stopped", policy.word()),
            },
            (policy, true) if self.doing.is_empty() => {
                format!("{}: bringing what it starts from here", policy.word())
            }
            (policy, true) => format!("{}: {} ({})", policy.word(), self.doing, self.why),
        }
    }
}

/// What an operator tells the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Act.
    Start {
        /// Who decides from now on; none leaves it as it is.
        #[serde(default)]
        policy: Option<PolicyKind>,
        /// Stop by itself when one search is over.
        #[serde(default)]
        once: bool,
    },
    /// Do nothing, and let go of whatever is being measured.
    Stop,
}

/// Why an order is not followed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Nobody would decide.
    #[error("this agent has no policy; name one, as in `assay agent start --policy searcher`")]
    NoPolicy,
    /// It could not be kept.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// The operator's hold on the agent.
#[derive(Debug)]
pub struct Control {
    folder: PathBuf,
    settings: Mutex<(Settings, bool)>,
    runs: watch::Sender<bool>,
    status: watch::Sender<AgentStatus>,
}

impl Control {
    /// A hold on the agent of a folder, as it was left.
    #[must_use]
    pub fn new(folder: PathBuf, settings: Settings) -> Self {
        let status = AgentStatus {
            policy: settings.policy,
            running: settings.runs(),
            limits: settings.limits,
            ..AgentStatus::default()
        };
        Self {
            folder,
            runs: watch::Sender::new(settings.runs()),
            status: watch::Sender::new(status),
            settings: Mutex::new((settings, false)),
        }
    }

    fn held(&self) -> MutexGuard<'_, (Settings, bool)> {
        // Every change replaces whole values, so that a panic elsewhere leaves them whole.
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the operator decided.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.held().0.clone()
    }

    /// Whether the agent acts; changes with the switch.
    #[must_use]
    pub fn runs(&self) -> watch::Receiver<bool> {
        self.runs.subscribe()
    }

    /// What the agent is and does.
    #[must_use]
    pub fn status(&self) -> AgentStatus {
        self.status.borrow().clone()
    }

    /// Follows an order. A stop holds at once, even where it cannot be kept for the next start.
    ///
    /// # Errors
    ///
    /// [`OrderError`].
    pub fn order(&self, order: Order) -> Result<AgentStatus, OrderError> {
        self.follow(order, None)
    }

    fn follow(&self, order: Order, ended: Option<Ended>) -> Result<AgentStatus, OrderError> {
        let mut held = self.held();
        let mut settings = held.0.clone();
        let once = match order {
            Order::Start { policy, once } => {
                settings.policy = policy.unwrap_or(settings.policy);
                if settings.policy == PolicyKind::Off && policy.is_none() {
                    return Err(OrderError::NoPolicy);
                }
                settings.stopped = false;
                settings.write(&self.folder)?;
                once
            }
            Order::Stop => {
                settings.stopped = true;
                false
            }
        };
        let (runs, policy) = (settings.runs(), settings.policy);
        *held = (settings, once);
        self.runs.send_replace(runs);
        self.status.send_modify(|status| {
            (status.running, status.policy) = (runs, policy);
            if !runs {
                let why = ended.as_ref().map_or("stopped", |ended| &ended.why);
                (status.doing, status.why) = ("nothing".to_owned(), why.to_owned());
            }
            status.ended = ended;
        });
        if order == Order::Stop {
            held.0.write(&self.folder)?;
        }
        Ok(self.status())
    }

    /// Ends the agent's work where it was asked to do one search only.
    pub(super) fn search_is_over(&self, ended: Ended) {
        if !self.held().1 {
            return;
        }
        if let Err(error) = self.follow(Order::Stop, Some(ended)) {
            tracing::warn!(%error, "the agent stopped, but would start again with the node");
        }
    }

    /// Changes what the agent says of itself.
    pub(super) fn tell(&self, change: impl FnOnce(&mut AgentStatus)) {
        self.status.send_modify(change);
    }

    /// Notes what the agent did.
    pub(super) fn note(&self, time_ms: u64, text: String) {
        tracing::info!("agent: {text}");
        self.status.send_modify(|status| {
            let number = status.notes.last().map_or(1, |note| note.number + 1);
            status.notes.push(Note { number, time_ms, text });
            if status.notes.len() > NOTES_MAX {
                status.notes.remove(0);
            }
        });
    }

    /// What the agent did last.
    pub(super) fn last_note(&self) -> Option<Note> {
        self.status.borrow().notes.last().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_kept_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let settings = Settings::read(folder.path()).unwrap();
            Control::new(folder.path().to_owned(), settings)
        };
        let start = |policy| Order::Start { policy, once: false };
        let control = open();
        assert!(!control.status().running, "no machine is loaded unasked");
        assert!(matches!(control.order(start(None)), Err(OrderError::NoPolicy)));
        assert!(control.order(start(Some(PolicyKind::Searcher))).unwrap().running);
        assert!(*open().runs().borrow());
        assert!(!control.order(Order::Stop).unwrap().running);
        let stopped = open();
        assert!(!*stopped.runs().borrow() && stopped.status().policy == PolicyKind::Searcher);
        assert!(stopped.order(start(None)).unwrap().running);
    }

    #[test]
    fn a_stop_holds_even_where_it_cannot_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let settings = Settings { policy: PolicyKind::Searcher, ..Settings::default() };
        let control = Control::new(file.join("no-folder"), settings);
        assert!(*control.runs().borrow());
        assert!(control.order(Order::Stop).is_err());
        assert!(!*control.runs().borrow());
    }

    #[test]
    fn settings_that_cannot_be_read_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settings.json"), "{\"policy\": \"whatever\"}").unwrap();
        assert!(Settings::read(folder.path()).is_err());
    }
}
