//! What a node is good for, from what it measures about itself.
//!
//! Roles bind nobody: any peer may do anything that the rules let it. They say where this machine is of
//! most use, to its operator and to the agent that runs on it.

use serde::{Deserialize, Serialize};

/// What a peer can be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Makes checkpoints: quantises, converts.
    Builder,
    /// Tries what others made.
    Runner,
    /// Finds out why something does not run.
    Diagnoser,
    /// Claims what is faster.
    Shipper,
    /// Predicts by byte-math what a change would bring.
    Scout,
    /// Measures the claims of others.
    Verifier,
    /// Keeps playbooks and dead ends.
    Curator,
}

impl Role {
    /// The role as a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Runner => "runner",
            Self::Diagnoser => "diagnoser",
            Self::Shipper => "shipper",
            Self::Scout => "scout",
            Self::Verifier => "verifier",
            Self::Curator => "curator",
        }
    }
}

/// What a node knows of itself. Sizes that it cannot find out are none and stand against nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether it is an active member of its network.
    pub is_member: bool,
    /// The hardware class of its adapter; none before it was identified.
    pub class: Option<String>,
    /// Whether it may hold seats that time claims of that class.
    pub times_its_class: bool,
    /// Memory that programs can have, in bytes.
    pub memory_bytes: Option<u64>,
    /// Free bytes on the disk that holds its home folder.
    pub disk_bytes: Option<u64>,
    /// Bytes of the base checkpoint's files.
    pub base_bytes: Option<u64>,
}

/// A role with the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// What the node is good for.
    pub role: Role,
    /// Why, in one sentence.
    pub reason: String,
}

impl Facts {
    /// Whether the adapter is the processor itself: classes of software adapters are named so.
    fn is_software(&self) -> bool {
        self.class.as_deref().is_some_and(|class| class.starts_with("cpu-"))
    }

    /// Whether so many copies of the base checkpoint fit into `bytes`.
    fn holds(&self, bytes: Option<u64>, copies: u64) -> bool {
        match (bytes, self.base_bytes) {
            (Some(bytes), Some(base)) => bytes >= base.saturating_mul(copies),
            _ => true,
        }
    }
}

/// The roles that follow from what a node knows of itself, in the order of [`Role`].
///
/// Building holds the base checkpoint in memory and writes a store's copy, a folder and the result beside
/// it; running holds it in memory; diagnosing reads files only, from the store and a folder. Byte-math is
/// for those whom timing is not: without an adapter of its own, or with a software one.
#[must_use]
pub fn roles(facts: &Facts) -> Vec<Duty> {
    let mut duties = Vec::new();
    let mut add = |role, reason: String| duties.push(Duty { role, reason });
    let class = facts.class.as_deref();
    let in_memory = facts.holds(facts.memory_bytes, 1);
    if in_memory && facts.holds(facts.disk_bytes, 4) {
        add(
            Role::Builder,
            "memory and disk hold the base checkpoint and what is made of it".into(),
        );
    }
    if let Some(class) = class.filter(|_| in_memory) {
        add(Role::Runner, format!("runs the base checkpoint on {class}"));
    }
    if facts.holds(facts.disk_bytes, 2) {
        add(Role::Diagnoser, "fetches and checks checkpoints, which needs no adapter".into());
    }
    if let Some(class) = class.filter(|_| facts.is_member && facts.times_its_class) {
        add(Role::Shipper, format!("measures its own claims on {class}"));
    }
    match class {
        None => add(Role::Scout, "its adapter is not known yet; byte-math needs none".into()),
        Some(class) if facts.is_software() => {
            add(Role::Scout, format!("{class} is a software adapter; byte-math is for any class"));
        }
        Some(_) => {}
    }
    if facts.is_member {
        let what = match class.filter(|_| facts.times_its_class) {
            Some(class) => format!("attests quality of any claim and speed on {class}"),
            None => "attests quality of any claim; speed needs a class of its own".to_owned(),
        };
        add(Role::Verifier, what);
        add(Role::Curator, "may revise and endorse playbooks".into());
    }
    duties
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn gpu() -> Facts {
        Facts {
            is_member: true,
            class: Some("gpu-a10g".to_owned()),
            times_its_class: true,
            memory_bytes: Some(64 * GIB),
            disk_bytes: Some(200 * GIB),
            base_bytes: Some(10 * GIB),
        }
    }

    fn of(facts: &Facts) -> Vec<Role> {
        roles(facts).into_iter().map(|duty| duty.role).collect()
    }

    #[test]
    fn a_large_machine_does_everything_but_scout() {
        use Role::{Builder, Curator, Diagnoser, Runner, Shipper, Verifier};
        assert_eq!(of(&gpu()), [Builder, Runner, Diagnoser, Shipper, Verifier, Curator]);
    }

    #[test]
    fn whoever_has_no_fast_adapter_scouts() {
        let software = Facts { class: Some("cpu-llvmpipe-8wide".to_owned()), ..gpu() };
        assert!(of(&software).contains(&Role::Scout) && of(&software).contains(&Role::Runner));
        let unknown = Facts { class: None, ..gpu() };
        let found = of(&unknown);
        assert!(found.contains(&Role::Scout) && found.contains(&Role::Verifier));
        assert!(!found.contains(&Role::Runner) && !found.contains(&Role::Shipper));
    }

    #[test]
    fn sizes_decide_who_builds_and_runs() {
        let little = Facts { memory_bytes: Some(4 * GIB), ..gpu() };
        assert!(!of(&little).contains(&Role::Runner) && !of(&little).contains(&Role::Builder));
        assert!(of(&little).contains(&Role::Diagnoser));
        let full = Facts { disk_bytes: Some(30 * GIB), ..gpu() };
        assert!(of(&full).contains(&Role::Diagnoser) && !of(&full).contains(&Role::Builder));
        let fuller = Facts { disk_bytes: Some(GIB), ..gpu() };
        assert!(!of(&fuller).contains(&Role::Diagnoser));
        let unknown = Facts { memory_bytes: None, disk_bytes: None, ..gpu() };
        assert_eq!(of(&unknown), of(&gpu()));
    }

    #[test]
    fn an_observer_neither_verifies_nor_ships() {
        let found = of(&Facts { is_member: false, ..gpu() });
        assert_eq!(found, [Role::Builder, Role::Runner, Role::Diagnoser]);
        assert!(roles(&Facts::default()).iter().all(|duty| !duty.reason.is_empty()));
    }
}
