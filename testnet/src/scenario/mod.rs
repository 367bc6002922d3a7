//! `assay-testnet up --scenario relay`: what a network does for itself, from typed commands alone.
//!
//! On five nodes at once: four peers build, try, diagnose and ship a checkpoint whose configuration
//! contradicts its weights; an agent from outside follows its own spec to an entry; a limit is debunked by
//! the entry that goes beyond it; and a post that leads off the public channel is flagged and ruled on.

mod desk;
mod outside;
mod relay;

pub use desk::Desk;

use crate::layout;
use anyhow::bail;
use assay_node::api::ClaimRow;
use assay_node::cli::output::table;
use assay_protocol::genesis::{Genesis, Member};
use assay_protocol::ids::ClaimId;
use assay_protocol::verdict::Outcome;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Who does what, as places among the testnet's nodes.
const BUILDER: usize = 0;
const RUNNER: usize = 1;
const DIAGNOSER: usize = 2;
const SHIPPER: usize = 3;
/// The node that the agent from outside speaks through, and that somebody solicits from.
const HOST: usize = 4;

/// Tokens that are timed of each prompt.
const DECODE_TOKENS: u32 = 32;
/// Tokens that every seat scores of each prompt.
const SCORED_TOKENS: u32 = 32;
/// Prompts of that length that the embedded text has.
const PROMPTS: u32 = 800;
/// How far the sceptic holds int4 to go on this class, as a ratio to the base.
const LIMIT: &str = "1.03";
/// What leads off the public channel.
const SOLICITATION: &str = "The good kernels are on our private Telegram: https://t.me/+fastgemma";
/// Longest time for a ruling after everything else is done.
const RULING_TIMEOUT: Duration = Duration::from_secs(180);
pub(crate) const POLL: Duration = Duration::from_millis(500);

/// What the demonstration shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// An honest claim, a dishonest one, and one without a gain
    #[default]
    Claims,
    /// A relay of four peers, a debunked limit, a ruling on solicitation, and an agent from outside
    Relay,
}

impl Scenario {
    /// The network's rules. A lossy checkpoint needs more tokens than a lossless bundle, timed and scored:
    /// the bounds on its agreement and perplexity are as wide as these are few.
    #[must_use]
    pub fn genesis(self, members: Vec<Member>) -> Genesis {
        let mut genesis = layout::genesis(members);
        if self == Self::Relay {
            genesis.measurement.decode_tokens = DECODE_TOKENS;
            let pool = &mut genesis.challenge.pool;
            (pool.prompts, pool.scored_tokens) = (PROMPTS, SCORED_TOKENS);
        }
        genesis
    }
}

/// One thing that should come about.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it did.
    pub ok: bool,
    /// Who and how.
    pub detail: String,
}

/// The checks as a table.
#[must_use]
pub fn checks_table(checks: &[Check]) -> String {
    let word = |ok: bool| if ok { "yes" } else { "NO" }.to_owned();
    let rows = checks.iter().map(|c| vec![c.name.to_owned(), word(c.ok), c.detail.clone()]);
    table(&["what", "came about", "how"], rows)
}

/// The peers at work, each by the commands that a person would type.
pub struct Play {
    desks: Vec<Desk>,
    relay: Option<JoinHandle<anyhow::Result<ClaimId>>>,
    outside: Option<JoinHandle<anyhow::Result<ClaimId>>>,
    shipped: Option<ClaimId>,
    agents: Option<ClaimId>,
    limit: Option<String>,
    solicitation: String,
}

impl Play {
    /// Sets everybody to work; what they do is said through `news`.
    ///
    /// # Errors
    ///
    /// When a command fails that takes no time.
    pub fn begin(
        desks: Vec<Desk>,
        folder: &Path,
        bundles: &Path,
        news: &SyncSender<String>,
    ) -> anyhow::Result<Self> {
        let solicitation = desks[HOST].say(&["board", "post", SOLICITATION])?;
        news.send(format!("{} posts: {SOLICITATION}", desks[HOST].name))?;
        let bundle = bundles.join("serial-rows");
        let (four, folder, told) = (desks.clone(), folder.to_owned(), news.clone());
        let kernels = bundle.clone();
        let relay = std::thread::spawn(move || relay::play(&four, &folder, &kernels, &told));
        let (host, told) = (desks[HOST].clone(), news.clone());
        let outside = std::thread::spawn(move || outside::play(&host, &bundle, &told));
        Ok(Self {
            desks,
            relay: Some(relay),
            outside: Some(outside),
            shipped: None,
            agents: None,
            limit: None,
            solicitation,
        })
    }

    /// Takes note of what is done, and has the sceptic set its limit as soon as the relay's claim shows its
    /// class and checkpoint. True when both claims are made.
    ///
    /// # Errors
    ///
    /// When a peer's command failed.
    pub fn advance(
        &mut self,
        rows: &[ClaimRow],
        news: &SyncSender<String>,
    ) -> anyhow::Result<bool> {
        if let Some(claim) = finished(&mut self.relay)? {
            self.shipped = Some(claim);
        }
        if let Some(claim) = finished(&mut self.outside)? {
            self.agents = Some(claim);
        }
        let shipped = rows.iter().find(|row| Some(row.id) == self.shipped);
        if let (Some(row), None) = (shipped, &self.limit) {
            let sceptic = &self.desks[RUNNER];
            let class = row.hardware_class.as_str();
            let entry: Value = sceptic.run(&["claim", "show", &row.id.to_string()])?;
            let checkpoint = text(&entry["ledger"]["recipe"]["checkpoint"]);
            let words = ["limit", "new", "--lever", "int4", "--class", class, "--ratio", LIMIT];
            let of = ["--checkpoint", checkpoint, "Int4 brings no more than 3 % here"];
            let said = [&words[..], &of].concat();
            self.limit = Some(sceptic.say(&said)?);
            news.send(format!(
                "{} sets a limit: int4 goes no further than {LIMIT}×",
                sceptic.name
            ))?;
        }
        Ok(self.shipped.is_some() && self.agents.is_some() && self.limit.is_some())
    }

    /// Whether everything came about, once every claim is settled.
    ///
    /// # Errors
    ///
    /// When a node does not answer.
    pub fn checks(&self, rows: &[ClaimRow]) -> anyhow::Result<Vec<Check>> {
        let (Some(shipped), Some(agents)) = (self.shipped, self.agents) else {
            bail!("not every claim was made");
        };
        Ok(vec![
            accepted("the relay's claim is accepted and confirmed", rows, shipped),
            self.credited(shipped)?,
            self.debunked()?,
            self.flagged()?,
            self.ruled()?,
            accepted("the outside agent's claim is accepted and confirmed", rows, agents),
        ])
    }

    /// Everybody in the relay's lineage is credited, as any node's ledger says.
    fn credited(&self, claim: ClaimId) -> anyhow::Result<Check> {
        let entry: Value = self.desks[HOST].run(&["claim", "show", &claim.to_string()])?;
        let parts = entry["relay"].as_array().cloned().unwrap_or_default();
        let credited = parts.iter().filter(|part| part["credited"] == true).count();
        let words = parts
            .iter()
            .map(|part| format!("{} by {}", text(&part["role"]), text(&part["by"]["name"])));
        let detail = words.collect::<Vec<_>>().join(", ");
        Ok(Check { name: "all four of the relay are credited", ok: credited == 4, detail })
    }

    /// The limit is debunked by an entry beyond it.
    fn debunked(&self) -> anyhow::Result<Check> {
        let limit = self.limit.as_deref().unwrap_or_default();
        let row = self.desks[BUILDER].run(&["limit", "show", limit])?;
        let by = &row["debunked_by"];
        let detail = match by["claim"].as_str() {
            Some(claim) => {
                format!("by {} of {}", claim.get(..8).unwrap_or(claim), text(&by["author"]["name"]))
            }
            None => "it holds".to_owned(),
        };
        Ok(Check { name: "the limit is debunked", ok: !by.is_null(), detail })
    }

    /// Every node finds the solicitation by itself.
    fn flagged(&self) -> anyhow::Result<Check> {
        let mut found = Vec::new();
        for desk in &self.desks[..HOST] {
            let post = desk.post(&self.solicitation)?;
            found.extend(post["solicits"].as_str().map(ToOwned::to_owned));
        }
        let ok = found.len() == HOST;
        let detail = found.first().map_or_else(|| "nobody did".to_owned(), |what| what.clone());
        Ok(Check { name: "every node flags the solicitation", ok, detail })
    }

    /// A drawn committee upholds the flag.
    fn ruled(&self) -> anyhow::Result<Check> {
        let name = "a drawn committee upholds the flag";
        let deadline = Instant::now() + RULING_TIMEOUT;
        loop {
            let rulings = match self.desks[BUILDER].run(&["ruling", "list"]) {
                Ok(rulings) => rulings,
                Err(error) => return Ok(Check { name, ok: false, detail: error.to_string() }),
            };
            let mut rulings = rulings.as_array().cloned().unwrap_or_default().into_iter();
            let ruling = rulings.find(|row| row["subject"] == self.solicitation.as_str());
            let state = ruling.as_ref().map_or("none", |row| row["state"].as_str().unwrap_or("?"));
            if state == "upheld" || Instant::now() > deadline {
                return Ok(Check { name, ok: state == "upheld", detail: state.to_owned() });
            }
            std::thread::sleep(POLL);
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn accepted(name: &'static str, rows: &[ClaimRow], claim: ClaimId) -> Check {
    let Some(row) = rows.iter().find(|row| row.id == claim) else {
        return Check { name, ok: false, detail: "it is not on the ledger".to_owned() };
    };
    let ok = row.outcome == Some(Outcome::Accepted) && row.confirmed;
    let ratio = row.ratio.map_or_else(String::new, |r| format!(", {:.3}×", r.ppm as f64 / 1e6));
    let outcome = row.outcome.map_or("undecided".to_owned(), |o| format!("{o:?}").to_lowercase());
    Check {
        name,
        ok,
        detail: format!("{} by {}: {outcome}{ratio}", claim.short(), row.author.name),
    }
}

/// What a thread made, once.
fn finished(
    work: &mut Option<JoinHandle<anyhow::Result<ClaimId>>>,
) -> anyhow::Result<Option<ClaimId>> {
    if !work.as_ref().is_some_and(JoinHandle::is_finished) {
        return Ok(None);
    }
    match work.take().map(JoinHandle::join) {
        Some(Ok(made)) => made.map(Some),
        Some(Err(_)) => bail!("a peer's thread panicked"),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn scenarios_have_names() {
        assert_eq!(Scenario::from_str("relay", false), Ok(Scenario::Relay));
        assert_eq!(Scenario::from_str("claims", false), Ok(Scenario::default()));
    }

    #[test]
    fn a_check_that_failed_is_seen() {
        let check = |ok| Check { name: "it rains", ok, detail: "by ear".to_owned() };
        let shown = checks_table(&[check(true), check(false)]);
        assert!(shown.contains("yes") && shown.contains("NO"), "{shown}");
    }
}
