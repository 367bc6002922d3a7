//! A peer: its standing added up, how it came in, and with what weight it is drawn.

use super::{Explanation, Step, name_of};
use assay_protocol::ids::PeerId;
use assay_protocol::standing::Rule;
use assay_protocol::state::{MemberState, Membership, State};
use serde_json::json;

const RULE: &str = "standing = start + the points of every rule. Gains are capped per epoch and stop \
    for an epoch after misbehaviour, standing stays at 1 or more while the key is a member, and an \
    ended key has 0; the points column says what counted after that";

pub(super) fn explain(state: &State, peer: PeerId) -> Result<Explanation, String> {
    let member = state.members().get(&peer).ok_or("this peer was never a member")?;
    let steps = vec![
        admission(state, member),
        sum(member),
        latest(member),
        rulings(state, peer),
        draws(state, peer, member),
        turns(state, peer),
    ];
    let rules = &state.parameters().membership;
    Ok(Explanation {
        id: peer.to_string(),
        kind: "peer".to_owned(),
        inputs: json!({
            "name": member.name,
            "operator": member.operator,
            "height": state.height(),
            "epoch": state.epoch_of(state.height()),
            "epoch_blocks": rules.epoch_blocks,
            "gain_per_epoch_max": rules.gain_per_epoch_max,
        }),
        rule: RULE.to_owned(),
        steps,
        result: json!({
            "standing": member.standing,
            "weight": state.draw_weight(peer),
            "membership": member.membership,
            "validator": state.validators().contains_key(&peer),
        }),
    })
}

fn admission(state: &State, member: &MemberState) -> Step {
    let came = match member.admission {
        None => "named in the genesis".to_owned(),
        Some(admission) => format!(
            "vouched for by {} (record {}), joined at height {}",
            name_of(state, admission.by),
            admission.vouch.short(),
            admission.joined_at
        ),
    };
    let now = match member.membership {
        Membership::Probation { agreements } => format!(
            "on probation: {agreements} of {} measurements that must agree in a row",
            state.parameters().membership.probation_rounds
        ),
        Membership::Full => "a full member".to_owned(),
        Membership::Left => "has left".to_owned(),
        Membership::Ended => "ended: its key contradicted itself".to_owned(),
    };
    let values = json!({ "admission": member.admission, "membership": member.membership });
    Step::new("admission", vec![came, now], values)
}

fn turns(state: &State, peer: PeerId) -> Step {
    let heard_at = state.turns().heard_at.get(&peer).copied();
    let silent_since = state.turns().silent.get(&peer).copied();
    let limit = state.parameters().membership.silent_blocks;
    let line = match (silent_since, heard_at) {
        (Some(since), _) => format!(
            "silent since height {since}: it had proposed nothing for {limit} blocks, and has its place \
             as a validator again once it says that it is back"
        ),
        (None, Some(height)) => format!(
            "a validator that proposed last, or took its place, at height {height}; after {limit} blocks \
             without a proposal it loses the place, if the network can spare it or another can take it"
        ),
        (None, None) => "not a validator".to_owned(),
    };
    let values = json!({
        "heard_at": heard_at, "silent_since": silent_since, "silent_blocks": limit,
    });
    Step::new("turns", vec![line], values)
}

fn sum(member: &MemberState) -> Step {
    let start = member.account.start();
    let mut lines = vec![format!("start: {start}")];
    let mut rows = Vec::new();
    for (rule, tally) in member.tallies() {
        let each = rule.delta().map_or_else(|| "all of it".to_owned(), |each| format!("{each:+}"));
        let plain = rule.delta().map(|each| each.saturating_mul(tally.count.cast_signed()));
        let word = rule.word();
        let note = match plain {
            Some(plain) if plain != tally.points => " (after floor and cap)",
            _ => "",
        };
        let (count, points) = (tally.count, tally.points);
        lines.push(format!("{word}: {count} × {each} counts {points:+}{note}"));
        rows.push(json!({
            "rule": rule, "word": word, "count": count, "each": rule.delta(), "points": points,
        }));
    }
    let points: i64 = member.tallies().values().map(|tally| tally.points).sum();
    lines.push(format!("{start} {points:+} = {}", member.standing));
    let values = json!({
        "start": start, "rules": rows, "points": points, "standing": member.standing,
    });
    Step::new("standing", lines, values)
}

fn latest(member: &MemberState) -> Step {
    let lines = member.recent_events().map(|event| {
        let over = match (event.occasion.claim, event.occasion.round) {
            (Some(claim), Some(round)) => format!(", claim {} round {round}", claim.short()),
            (Some(claim), None) => format!(", claim {}", claim.short()),
            (None, _) => String::new(),
        };
        let (height, delta, word) = (event.occasion.height, event.delta, event.rule.word());
        format!("height {height}: {delta:+} {word}{over}")
    });
    let events: Vec<_> = member.recent_events().collect();
    Step::new("latest events", lines.collect(), json!(events))
}

/// The rulings in which the peer was a side or held a seat, with the heights at which they were decided.
fn rulings(state: &State, peer: PeerId) -> Step {
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    for ruling in state.rulings() {
        let judged = ruling.hearings.iter().any(|hearing| hearing.seats.contains(&peer));
        let role = match () {
            () if ruling.accused == peer => "accused",
            () if ruling.by == peer => "flagged",
            () if judged => "judged",
            () => continue,
        };
        let rule = ruling.charge.rule.word();
        let heard = ruling.hearings.iter().filter_map(|one| one.decided_at);
        let measured = ruling.measured.and_then(|measured| measured.decided_at);
        let decided: Vec<u64> = heard.chain(measured).collect();
        let heights: Vec<String> = decided.iter().map(u64::to_string).collect();
        let at = match heights.as_slice() {
            [] => String::new(),
            heights => format!(", decided at height {}", heights.join(" and ")),
        };
        lines.push(format!(
            "{role}: ruling {} on {rule} is {}{at}",
            ruling.id.short(),
            ruling.word()
        ));
        rows.push(json!({
            "ruling": ruling.id, "role": role, "rule": rule, "state": ruling.word(), "decided_at": decided,
        }));
    }
    Step::new("rulings", lines, json!(rows))
}

fn draws(state: &State, peer: PeerId, member: &MemberState) -> Step {
    let weight = state.draw_weight(peer);
    let total: u64 = state.members().keys().map(|other| state.draw_weight(*other)).sum();
    let mut lines = vec![format!(
        "weight {weight} of {total}: drawn first for a round, where no operator is excluded, with \
         probability {weight}/{total}"
    )];
    if let Some(until) = member.account.suspended_until(state.height()) {
        lines.push(format!("caught: not drawn before height {until}"));
    }
    let caught = member.tallies().get(&Rule::NullTrap).map_or(0, |tally| tally.count);
    let values = json!({
        "weight": weight,
        "total": total,
        "suspended_until": member.account.suspended_until(state.height()),
        "caught": caught,
    });
    Step::new("draws", lines, values)
}
