//! This machine: what it is, what it does and why, and how to stop it.

use super::format::{duration, moment, quoted, significant, summary};
use super::listed::Listed;
use super::plot::Mark;
use super::{Place, Snapshot, badge, document};
use crate::agent::{AgentStatus, PolicyKind};
use assay_protocol::measurement::Environment;
use assay_protocol::state::{ClaimState, Phase, Round};
use indicatif::HumanBytes;
use maud::{Markup, html};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// The page.
pub(in crate::api) fn node(snapshot: &Snapshot, agent: &AgentStatus) -> Markup {
    let main = html! {
        (doing(snapshot))
        div.columns {
            (machine(snapshot))
            (budget(snapshot, agent))
        }
        (seats(snapshot))
        (log(snapshot, agent))
        (control(agent))
    };
    document(snapshot, Place::Node, "This node · Assay", &main)
}

fn doing(snapshot: &Snapshot) -> Markup {
    let status = &snapshot.status;
    html! {
        section #node data-live aria-labelledby="node-title" {
            h1 #node-title { (quoted(&status.name)) }
            p.sub { code.id { (status.peer) } }
            dl.figures.large {
                div { dt { "Doing" } dd { (quoted(&status.doing)) } }
                div { dt { "Why" } dd { (quoted(&status.reason)) } }
                div { dt { "Measuring lock" } dd { (status.measuring_lock.word()) } }
                div { dt { "Standing" } dd {
                    @match status.standing {
                        Some(standing) => a href={ "/peers/" (status.peer) } { (standing) },
                        None => "not a member",
                    }
                } }
                div { dt { "Peers" } dd { a href="/peers" { (status.peers) " connected" } } }
                div { dt { "Height" } dd { a href="/ledger" { (status.height) } } }
                div { dt { "Version" } dd { (status.version) } }
            }
            @if status.standing.is_none() {
                p {
                    "This node follows and serves the ledger. To take part, send a member the line that "
                    code { "assay init" } " printed: " code { "assay vouch " (status.peer.short()) "… --operator … --name …" }
                }
            }
        }
    }
}

/// Where this machine's last measurement on the ledger was taken.
fn environment(snapshot: &Snapshot) -> Option<(&ClaimState, &Environment)> {
    let me = snapshot.status.peer;
    let rounds = snapshot.state.claims().flat_map(|claim| {
        let own =
            claim.rounds.iter().filter_map(move |round| Some((round, round.reveals.get(&me)?)));
        own.map(move |(round, found)| (round.opened_at, claim, &found.environment))
    });
    let (_, claim, found) = rounds.max_by_key(|(opened_at, claim, _)| (*opened_at, claim.id))?;
    Some((claim, found))
}

fn machine(snapshot: &Snapshot) -> Markup {
    let status = &snapshot.status;
    let measured = environment(snapshot);
    html! {
        section #machine data-live aria-labelledby="machine-title" {
            h2 #machine-title { "Machine" }
            dl.rows {
                div { dt { "Hardware class" } dd { @match &status.class {
                    Some(class) => (quoted(class)),
                    None => "not known before the first measurement",
                } } }
                @if let Some((claim, found)) = measured {
                    div { dt { "Adapter" } dd { (quoted(&found.adapter)) } }
                    div { dt { "Driver" } dd { (quoted(&found.backend)) " " (quoted(&found.driver)) } }
                    div { dt { "Bandwidth, as probed" } dd { (significant(found.bandwidth_mb_s as f64 / 1e3)) " GB/s" } }
                    div { dt { "Arithmetic, as probed" } dd { (significant(found.compute_mflop_s as f64 / 1e3)) " GFLOP/s" } }
                    div { dt { "As attested for" } dd {
                        a.id href={ "/claims/" (claim.id) } { (claim.id.short()) } " " (summary(&claim.summary))
                    } }
                }
                div { dt { "Stored files" } dd { (HumanBytes(status.disk_bytes)) } }
                div { dt { "Null claims by lot" } dd { @if status.null_claims { "yes" } @else { "no" } } }
            }
            @if measured.is_none() {
                p.empty { "Adapter and probes are shown once the ledger has a measurement of this node. "
                    code { "assay doctor" } " looks at them at once." }
            }
            h3 { "Good for" }
            @if status.roles.is_empty() { p.empty { "Not known yet." } }
            ul.plain {
                @for duty in &status.roles { li { strong { (duty.role.word()) } ": " (quoted(&duty.reason)) } }
            }
        }
    }
}

/// One line of the budget: how much of what is spent.
fn share(name: &str, spent: u64, limit: u64, words: &str) -> Markup {
    html! {
        div {
            dt { (name) }
            dd {
                (words)
                progress max=(limit.max(1)) value=(spent.min(limit)) aria-label={ (name) ", spent" } {}
            }
        }
    }
}

fn budget(snapshot: &Snapshot, agent: &AgentStatus) -> Markup {
    let (limits, spent) = (&agent.limits, &agent.spent);
    let today = spent.day == snapshot.now_ms / DAY_MS;
    let of_today = |value: u64| if today { value } else { 0 };
    let (measuring_ms, messages) = (of_today(spent.measuring_ms), of_today(spent.messages));
    let energy = if today { spent.milliwatt_hours(limits) } else { 0 };
    html! {
        section #agent data-live aria-labelledby="agent-title" {
            h2 #agent-title { "Agent" }
            p { (standing_of(agent)) }
            @if agent.policy != PolicyKind::Off {
                @if agent.running && !agent.doing.is_empty() {
                    p { (quoted(&agent.doing)) " " span.why { (quoted(&agent.why)) } }
                }
                dl.rows {
                    @if let Some(start) = &agent.start {
                        div { dt { "Starts from" } dd {
                            @if start.claim == snapshot.state.base_claim() { "the base recipe" }
                            @else { a.id href={ "/claims/" (start.claim) } { (start.claim.short()) } }
                            ", " (super::format::ratio(start.ratio_to_base_ppm)) " the base"
                        } }
                    }
                    div { dt { "Trials" } dd { (agent.trials) } }
                    @if let Some(plan) = agent.plan {
                        div { dt { "Plan" } dd { a.id href={ "/board/threads/" (plan) } { (plan.short()) } } }
                    }
                    @if let Some(claim) = agent.claim {
                        div { dt { "Claim" } dd { a.id href={ "/claims/" (claim) } { (claim.short()) } } }
                    }
                }
                h3 { "Budget, a day of UTC" }
                dl.rows {
                    (share("Measuring", measuring_ms / 1_000, limits.measuring_s,
                        &format!("{} of {}", duration(measuring_ms), duration(limits.measuring_s.saturating_mul(1_000)))))
                    (share("Energy, estimated", energy, limits.watt_hours.saturating_mul(1_000),
                        &format!("{} of {} Wh at {} W", significant(energy as f64 / 1e3), limits.watt_hours, limits.watts)))
                    (share("Posts and claims", messages, limits.messages,
                        &format!("{messages} of {}", limits.messages)))
                    (share("Disk, in all", spent.disk_bytes, limits.disk_bytes,
                        &format!("{} of {}", HumanBytes(spent.disk_bytes), HumanBytes(limits.disk_bytes))))
                }
            }
        }
    }
}

fn standing_of(agent: &AgentStatus) -> Markup {
    match (agent.policy, agent.running) {
        (PolicyKind::Off, _) => html! {
            "No agent. " code { "assay agent start --policy searcher" }
            " lets this node look for improvements when no seat needs it."
        },
        (policy, false) => badge(Mark::Inconclusive, &format!("{}, stopped", policy.word())),
        (policy, true) => badge(Mark::Accepted, &format!("{}, running", policy.word())),
    }
}

/// The rounds in which this node holds a seat that is not done.
fn seats(snapshot: &Snapshot) -> Markup {
    let me = snapshot.status.peer;
    let own: Vec<(&ClaimState, &Round)> = snapshot
        .state
        .open_rounds()
        .filter(|(_, round)| round.seats(me) || round.shadows.contains_key(&me))
        .collect();
    html! {
        section #duties data-live aria-labelledby="duties-title" {
            h2 #duties-title { "Seats now " span.muted { (own.len()) } }
            @if own.is_empty() {
                p.empty { "No open round drew this node. Seats are drawn by standing when a claim's turn comes." }
            }
            ul.plain {
                @for (claim, round) in &own {
                    li {
                        a.id href={ "/claims/" (claim.id) } { (claim.id.short()) } " " (summary(&claim.summary))
                        ", round " (round.number) ": " (stage(snapshot, round))
                    }
                }
            }
        }
    }
}

fn stage(snapshot: &Snapshot, round: &Round) -> Markup {
    let me = snapshot.status.peer;
    match round.phase {
        Phase::Sealing { until_ms, .. } if !round.seals.contains_key(&me) => {
            html! { "to be measured and sealed, time ends " (moment(snapshot.now_ms, until_ms)) }
        }
        Phase::Revealing { until_ms } if !round.reveals.contains_key(&me) => {
            html! { "to be revealed, time ends " (moment(snapshot.now_ms, until_ms)) }
        }
        _ => html! { "done; waits for the others" },
    }
}

fn log(snapshot: &Snapshot, agent: &AgentStatus) -> Markup {
    let table = html! {
        table {
            thead { tr { th scope="col" { "When" } th scope="col" { "What the agent did" } } }
            tbody {
                @for note in agent.notes.iter().rev() {
                    tr { td { (moment(snapshot.now_ms, note.time_ms)) } td { (quoted(&note.text)) } }
                }
            }
        }
    };
    Listed {
        id: "log",
        title: "Log",
        rows: agent.notes.len(),
        empty: html! {
            "The agent has done nothing since the node started. The node's own log goes to the standard "
            "error output of " code { "assay run" } "; it may name null claims before they are opened, so "
            "that it is not shown to whoever opens this page. " code { "RUST_LOG=assay_node=debug" }
            " says more."
        },
        table,
        json: "/api/agent",
    }
    .section()
}

/// Pages change nothing: they say what to type.
fn control(agent: &AgentStatus) -> Markup {
    html! {
        section #control data-live aria-labelledby="control-title" {
            h2 #control-title { "Pause and stop" }
            p {
                "This page is open to every program on this machine, so it changes nothing. The commands take the "
                "token from the node's home folder:"
            }
            dl.rows.commands {
                @if agent.policy == PolicyKind::Off || !agent.running {
                    div { dt { code { "assay agent start" } } dd { "lets the agent work" } }
                } @else {
                    div { dt { code { "assay agent stop" } } dd { "pauses the agent at once, until " code { "assay agent start" } } }
                }
                div { dt { "Ctrl-C in " code { "assay run" } } dd {
                    "stops the node; a seat that it holds counts as missed unless it is back in time"
                } }
                div { dt { code { "assay leave" } } dd { "leaves the network; nothing of what was measured is taken back" } }
            }
        }
    }
}
