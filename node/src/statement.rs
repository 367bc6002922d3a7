//! What an operator says in the node's name about who takes part and by which rules.

use crate::api::{PostRequest, Said, Statement, SubmitError};
use crate::author::Author;
use assay_protocol::ids::{ClaimId, PeerId};
use assay_protocol::membership::{Disclosure, Leave, Vouch};
use assay_protocol::parameter::{Proposal, Voice};
use assay_protocol::peer::Input;
use assay_protocol::pool::applies;
use assay_protocol::post::{Detail, PostBody};
use assay_protocol::record::{Body, Challenge};
use assay_protocol::ruling::{Appeal, Offence};
use assay_protocol::sighting::Sighting;
use assay_protocol::state::State;
use assay_protocol::wire;
use prost::Message;

impl Author {
    /// Signs and publishes a statement, if the ledger would take it as it stands.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Refused`] with the ledger's reason.
    pub fn say(&self, statement: Statement) -> Result<Said, SubmitError> {
        let me = PeerId(self.key.verifying_key().to_bytes());
        let state = self.ledger.state();
        let body = body(&state, me, statement)?;
        let record = wire::sign(state.network(), &self.key, body);
        let refused = |reason: String| SubmitError::Refused(reason);
        // The network refuses malformed fields at its door; the operator is told before that.
        wire::open(state.network(), &record.signed.encode_to_vec())
            .and_then(|record| applies(&state, &record))
            .map_err(|reject| refused(reject.to_string()))?;
        let id = record.id;
        self.ledger.step(Input::Own(Box::new(record)));
        Ok(Said { record: id })
    }
}

impl Author {
    /// Signs and publishes a post, if the ledger would take it as it stands.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Refused`] with the reason, [`SubmitError::Unavailable`] when it cannot be stored
    /// or too many wait.
    pub fn post(&self, request: PostRequest) -> Result<Said, SubmitError> {
        let state = self.ledger.state();
        let PostRequest { mut body, forecast } = request;
        add_figures(&state, &mut body)?;
        body.thread = body.thread.map(|thread| self.ledger.board().thread_of(thread));
        let epoch = state.epoch_of(state.height() + 1);
        let record = wire::sign_post(state.network(), &self.key, &body, epoch, forecast);
        // The network refuses malformed fields at its door; the operator is told before that.
        wire::open(state.network(), &record.to_gossip())
            .and_then(|record| applies(&state, &record))
            .map_err(|reject| SubmitError::Refused(reject.to_string()))?;
        let id = record.id;
        // On disk before anybody hears of it: blocks name bodies that the author must have.
        let store = self.ledger.store();
        store.put_post(&record).and_then(|()| store.flush_posts()).map_err(|error| {
            SubmitError::Unavailable(format!("the post is not stored: {error}"))
        })?;
        self.ledger.step(Input::Own(Box::new(record)));
        // What the ledger takes is on the board at once.
        if !self.ledger.board().has(id) {
            return Err(SubmitError::Unavailable(
                "too many of this node's posts wait to be ordered; try again in a moment"
                    .to_owned(),
            ));
        }
        Ok(Said { record: id })
    }
}

/// Adds the ledger's own figures to a flag under the rule physics that brings none.
fn add_figures(state: &State, body: &mut PostBody) -> Result<(), SubmitError> {
    let Some(Detail::Flag(flag)) = &mut body.detail else { return Ok(()) };
    if Offence::of(&flag.rule) != Some(Offence::Physics) || flag.sighting.is_some() {
        return Ok(());
    }
    let excess = state.excess(ClaimId(flag.subject.0));
    let refused = || {
        SubmitError::Refused(
            "it is no accepted claim that is faster than memory, as the ledger knows its class"
                .to_owned(),
        )
    };
    flag.sighting = Some(Sighting::Excess(excess.ok_or_else(refused)?));
    Ok(())
}

fn body(state: &State, me: PeerId, statement: Statement) -> Result<Body, SubmitError> {
    Ok(match statement {
        Statement::Vouch { peer, operator, name } => {
            let epoch = state.epoch_of(state.height() + 1);
            Body::Vouch(Vouch { peer, operator, name, epoch })
        }
        Statement::Leave => {
            let member = state.active_member(me);
            let member = member.ok_or_else(|| {
                SubmitError::Refused("this node is not a member of the network".to_owned())
            })?;
            Body::Leave(Leave { joined_at: member.joined_at() })
        }
        Statement::Challenge { claim, reason } => Body::Challenge(Challenge { claim, reason }),
        Statement::Appeal { ruling } => Body::Appeal(Appeal { charge: ruling }),
        Statement::Propose { parameter, value, why } => {
            let epoch = state.epoch_of(state.height() + 1);
            Body::Proposal(Proposal { parameter, value, why, epoch })
        }
        Statement::Vote { proposal, yes } => Body::Voice(Voice { proposal, yes }),
        Statement::Disclose { claim, text, evidence } => {
            Body::Disclosure(Disclosure { claim, text, evidence })
        }
    })
}
