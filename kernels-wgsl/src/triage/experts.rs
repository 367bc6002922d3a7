//! Experts: the configuration's numbers against the tensors.

use super::Code;
use super::config::{Config, Family};
use super::observed::Observed;
use super::report::Findings;

pub(super) fn check(config: &Config, seen: &Observed, findings: &mut Findings) {
    if config.family != Family::Gemma4 || seen.layers.is_empty() {
        return;
    }
    let experts = seen.agreed(|_, l| l.experts.map(|(count, _)| count));
    let inner = seen.agreed(|_, l| l.experts.map(|(_, inner)| inner));
    let claimed = config.flag("enable_moe_block");
    let place = config.place("enable_moe_block");
    let (Some(experts), Some(inner)) = (experts, inner) else {
        if claimed {
            let message = "is true, and no layer has experts";
            let mend = "write false, or fetch the shards with the experts";
            findings
                .error(Code::Experts, place, message, mend)
                .push(config.edit("enable_moe_block", false));
        }
        return;
    };
    if !claimed {
        let message = format!("is false or missing (false), and the layers have {experts} experts");
        findings
            .error(Code::Experts, place, message, "write true")
            .push(config.edit("enable_moe_block", true));
    }
    for (key, right, from) in [
        ("num_experts", experts, "expert tensors"),
        ("moe_intermediate_size", inner, "gate_up_proj"),
    ] {
        let found = config.count(key);
        if found != Some(right) {
            let found = found.map_or("missing".into(), |n| format!("is {n}"));
            let message = format!("{found}; the {from} say {right}");
            findings
                .error(Code::Experts, config.place(key), message, format!("write {right}"))
                .push(config.edit(key, right));
        }
    }
    if let Some(routed) = seen.agreed(|_, l| l.router).filter(|routed| *routed != experts) {
        let message = format!("routes to {routed} experts; there are {experts}");
        let mend = "the router is of another model; fetch the right file";
        findings.error(Code::Experts, "router.proj.weight", message, mend);
    }
    match config.count("top_k_experts") {
        Some(k) if (1..=experts).contains(&k) => {}
        found => {
            let found = found.map_or("missing".into(), |n| format!("is {n}"));
            let message = format!("{found}; it must be 1 to {experts}");
            let fix = findings.error(
                Code::Experts,
                config.place("top_k_experts"),
                message,
                "write the number the model was trained with (8 in the published one)",
            );
            if experts == 128 {
                fix.push(config.edit("top_k_experts", 8));
            }
        }
    }
}
