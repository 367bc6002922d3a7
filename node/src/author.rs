//! The author's side of a claim: measure it oneself, seal the result, publish.

use crate::api::{ClaimAccepted, ClaimRequest, MeasureRequest, SubmitError};
use crate::ledger::Ledger;
use crate::seat::{OWN_ROUND, Seat};
use assay_protocol::error::Reject;
use assay_protocol::gates::{Evidence, Gate, GateResult};
use assay_protocol::genesis::{Genesis, Quorum};
use assay_protocol::ids::{Beacon, ClaimId, PeerId};
use assay_protocol::measurement::Measurement;
use assay_protocol::peer::{Input, Secret};
use assay_protocol::plan::{Plan, Subject, plan};
use assay_protocol::pool::applies;
use assay_protocol::record::{Body, Claim, Opening, Recipe, Record, opening_seal};
use assay_protocol::state::State;
use assay_protocol::verdict::{SpeedClass, Verdict, decide};
use assay_protocol::wire;
use ed25519_dalek::SigningKey;
use std::sync::Arc;

/// Makes claims in this node's name.
#[derive(Clone)]
pub struct Author {
    /// State, pool and store.
    pub ledger: Arc<Ledger>,
    /// What measures.
    pub seat: Arc<Seat>,
    /// This peer's key.
    pub key: SigningKey,
}

impl Author {
    /// Measures a claim unless the request brings a result, seals the result, and publishes.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] when the ledger would refuse the claim, when the own measurement fails, or
    /// when it leaves no hope of another verdict, or the recipe cannot be loaded, and the request does
    /// not insist.
    pub async fn submit(&self, request: ClaimRequest) -> Result<ClaimAccepted, SubmitError> {
        request.check()?;
        let me = self.me();
        let state = self.ledger.state();
        let parent = request.parent.unwrap_or_else(|| state.base_claim());
        let parent_recipe = recipe_of(&state, parent)?;
        let ClaimRequest { recipe, summary, ratio_ppm, insist, null, cites, .. } = request;
        // The parent's class until this machine's own is known, for which the adapter is opened only if
        // nothing else speaks against the claim.
        let hardware_class =
            state.claim(parent).map(|claim| claim.hardware_class.clone()).unwrap_or_default();
        let mut claim =
            Claim { recipe, parent, result_seal: [0; 32], summary, hardware_class, cites };
        // Refused claims are refused before minutes are spent on measuring them.
        self.check(&claim)?;
        if !insist {
            self.check_files(&recipe).await?;
        }
        claim.hardware_class =
            self.seat.identify().await.map_err(|e| SubmitError::Unavailable(e.to_string()))?;
        self.check(&claim)?;

        let (ratio_ppm, own_verdict) = match ratio_ppm {
            Some(ratio_ppm) => (ratio_ppm, None),
            None => {
                let verdict = self.own_verdict(state.parameters(), parent_recipe, recipe).await?;
                let hopeless = hopeless_gates(state.parameters(), &verdict).into_iter();
                let hopeless: Vec<String> = hopeless
                    .map(|gate| format!("{:?}: {}", gate.gate, gate.detail).to_lowercase())
                    .collect();
                if !hopeless.is_empty() && !insist {
                    return Err(SubmitError::Refused(format!(
                        "by your own measurement a committee would refute this ({}); repeat with \
                         --insist to claim it all the same",
                        hopeless.join("; ")
                    )));
                }
                (verdict.ratio.map_or(0, |ratio| ratio.ppm), Some(verdict))
            }
        };

        let salt = random().map_err(SubmitError::Unavailable)?;
        claim.result_seal = opening_seal(me, recipe.id(), &salt, ratio_ppm, null);
        let record = self.check(&claim)?;
        let claim = ClaimId(record.id.0);
        let secret = Secret::Result(Opening { claim, salt, ratio_ppm, null });
        self.ledger
            .store()
            .put_secret(&secret)
            .map_err(|e| SubmitError::Unavailable(e.to_string()))?;
        self.ledger.step(Input::Restore(secret));
        self.ledger.step(Input::Own(Box::new(record)));
        Ok(ClaimAccepted { claim, ratio_ppm, own_verdict })
    }

    /// Measures a recipe against its parent as its author would, and publishes nothing.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] when the recipe or its parent cannot be loaded or measured.
    pub async fn measure(&self, request: MeasureRequest) -> Result<Verdict, SubmitError> {
        request.check()?;
        let state = self.ledger.state();
        let parent = request.parent.unwrap_or_else(|| state.base_claim());
        let parent_recipe = recipe_of(&state, parent)?;
        self.check_files(&request.recipe).await?;
        self.own_verdict(state.parameters(), parent_recipe, request.recipe).await
    }

    pub(crate) fn me(&self) -> PeerId {
        PeerId(self.key.verifying_key().to_bytes())
    }

    /// What a committee of this author alone would decide, measured on prompts that nobody drew.
    async fn own_verdict(
        &self,
        genesis: &Genesis,
        parent: Recipe,
        child: Recipe,
    ) -> Result<Verdict, SubmitError> {
        let me = self.me();
        let plan = own_plan(genesis, parent, child, me, genesis.measurement.pairs)?;
        let measured = self.seat.raw_data(plan.clone(), "as its author").await;
        let measured = measured.map_err(|e| SubmitError::Unavailable(e.to_string()))?;
        Ok(verdict_alone(genesis, me, &plan, &measured))
    }

    /// The signed claim, if the ledger takes it as it stands, or will in a while.
    fn check(&self, claim: &Claim) -> Result<Record, SubmitError> {
        let body = Body::Claim(claim.clone());
        let record = wire::sign(self.ledger.with(|peer| peer.network()), &self.key, body);
        self.ledger.with(|peer| match applies(peer.state(), &record) {
            // A null claim made by lot must not stand in the way of what its node has to say: the
            // claim waits to be ordered until the null claim is settled.
            Err(Reject::OpenClaim(_) | Reject::OperatorDocketFull(_)) if peer.has_open_null() => {
                Ok(())
            }
            Err(
                reject @ (Reject::OpenClaim(_)
                | Reject::OperatorDocketFull(_)
                | Reject::DocketFull(_)),
            ) => Err(SubmitError::Later(reject.to_string())),
            Err(reject) => Err(SubmitError::Refused(reject.to_string())),
            Ok(()) => Ok(()),
        })?;
        Ok(record)
    }

    /// Whether anybody can load what the recipe names: every seat would fetch it, fail, and be replaced
    /// until the round comes to nothing.
    async fn check_files(&self, recipe: &Recipe) -> Result<(), SubmitError> {
        let found = self.seat.diagnose(recipe).await;
        found.map_err(|e| SubmitError::Unavailable(e.to_string()))?.map_err(|faults| {
            SubmitError::Refused(format!(
                "no seat can load this recipe; mend it, or repeat with --insist to claim it all the \
                 same:\n{faults}"
            ))
        })
    }
}

/// The recipe of a claim on the ledger.
fn recipe_of(state: &State, claim: ClaimId) -> Result<Recipe, SubmitError> {
    let refused = || SubmitError::Refused(format!("claim {claim} is not on the ledger"));
    state.recipe(claim).ok_or_else(refused)
}

/// A plan like a seat's, on prompts that nobody drew for this claim.
pub(crate) fn own_plan(
    genesis: &Genesis,
    parent: Recipe,
    child: Recipe,
    me: PeerId,
    pairs: u32,
) -> Result<Plan, SubmitError> {
    let beacon = Beacon(random().map_err(SubmitError::Unavailable)?);
    Ok(plan(genesis, &Subject { beacon, round: OWN_ROUND, pairs, parent, child }, me))
}

/// What a committee of this author alone would decide.
pub(crate) fn verdict_alone(
    genesis: &Genesis,
    me: PeerId,
    plan: &Plan,
    measurement: &Measurement,
) -> Verdict {
    let alone = Quorum { seats: 1, quorum: 1 };
    let name = &measurement.environment.hardware_class;
    let class = SpeedClass::unmeasured(name);
    decide(genesis, alone, &class, &[(me, Evidence { plan, measurement })])
}

/// The gates that a committee is sure to fail as well. A committee has several
/// times the pairs of its author, so that a gain which is there but not yet significant is no
/// reason against a claim.
pub(crate) fn hopeless_gates<'a>(genesis: &Genesis, verdict: &'a Verdict) -> Vec<&'a GateResult> {
    let needed_ppm = 1_000_000 + genesis.significance.eta_ppm;
    let gains = verdict.ratio.is_some_and(|ratio| ratio.ppm > needed_ppm);
    let hopeless = verdict.gates.iter().filter(|gate| match gate.gate {
        // Losing identity makes a recipe lossy; whether it may be is the quality gate's matter.
        Gate::Identity => false,
        // Its bounds are wide with one seat's prompts; the figures themselves are not.
        Gate::Quality => {
            let bounds = &genesis.challenge;
            let over = |figure: Option<u64>, most| figure.is_none_or(|figure| figure > most);
            over(verdict.kl_micronats, bounds.kl_max_micronats)
                || over(verdict.perplexity_ratio_ppm, bounds.perplexity_ratio_max_ppm)
        }
        Gate::Speed => !gains,
        _ => !gate.pass,
    });
    hopeless.collect()
}

fn random() -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| format!("no randomness: {e}"))?;
    Ok(bytes)
}
