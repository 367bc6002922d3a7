//! Folders, keys, ports and the genesis of a local network.

use anyhow::Context;
use assay_node::embedded::Embedded;
use assay_node::home::{Home, NetworkFile};
use assay_node::ledger::now_ms;
use assay_protocol::genesis::{
    Challenge, CommitteeRules, Genesis, MeasurementRules, Member, MembershipRules, PromptPool,
    Quorum, SignificanceRules, VotingRules,
};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

/// Nodes of the local network; also its validators.
pub const NODES: usize = 5;

/// One node before it runs.
#[derive(Debug, Clone)]
pub struct NodeLayout {
    /// Its name for people.
    pub name: String,
    /// Its home folder.
    pub home: PathBuf,
    /// Addresses that it listens on.
    pub listen: Vec<String>,
}

/// A whole network before it runs.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The folder of everything.
    pub root: PathBuf,
    /// The file that people join with.
    pub network: PathBuf,
    /// The nodes.
    pub nodes: Vec<NodeLayout>,
}

/// Makes homes with fresh keys and a network whose `genesis` names them.
///
/// # Errors
///
/// When the folder exists already or cannot be written.
pub fn create(root: &Path, genesis: impl FnOnce(Vec<Member>) -> Genesis) -> anyhow::Result<Layout> {
    std::fs::create_dir(root).with_context(|| {
        format!("cannot create {}; choose a folder that does not exist with --dir", root.display())
    })?;
    let mut nodes = Vec::new();
    let mut members = Vec::new();
    let mut bootstrap = Vec::new();
    let ports = free_ports(NODES)?;
    for (index, (tcp, udp)) in ports.into_iter().enumerate() {
        let name = format!("node-{}", index + 1);
        let home = Home::create(&root.join(&name))?;
        members.push(Member {
            name: name.clone(),
            operator: format!("operator-{}", index + 1),
            peer: home.peer(),
            vrf: home.vrf(),
            standing: 10,
        });
        let listen =
            vec![format!("/ip4/127.0.0.1/tcp/{tcp}"), format!("/ip4/127.0.0.1/udp/{udp}/quic-v1")];
        for address in &listen {
            bootstrap.push(address.parse().context("a listen address")?);
        }
        nodes.push(NodeLayout { name, home: home.path().to_owned(), listen });
    }
    let network = root.join("network.json");
    NetworkFile { genesis: genesis(members), bootstrap }.write(&network)?;
    Ok(Layout { root: root.to_owned(), network, nodes })
}

/// The rules of a local network: small committees, short deadlines, the embedded model.
#[must_use]
pub fn genesis(members: Vec<Member>) -> Genesis {
    let embedded = Embedded::names();
    Genesis {
        name: "local-testnet".to_owned(),
        time_ms: now_ms(),
        members,
        challenge: Challenge {
            name: "gemma4-nano, batch 1".to_owned(),
            base: embedded.base(),
            pool: PromptPool {
                text: embedded.text,
                prompts: 1000,
                prompt_tokens: 24,
                scored_tokens: 8,
            },
            kl_max_micronats: 50_000,
            agreement_min_ppm: 900_000,
            perplexity_ratio_max_ppm: 1_050_000,
        },
        // Five peers less the author leave four to draw from: three seats and a reserve.
        committee: CommitteeRules {
            seats: 3,
            reserves: 2,
            quorum: 3,
            frontier: Quorum { seats: 3, quorum: 3 },
            seats_max: 3,
            seal_ms: 600_000,
            reveal_ms: 60_000,
            measuring_max: 1,
            docket_max: 32,
            open_per_operator: 4,
            audit_ppm: 0,
            null_ppm: 0,
            assumed_dishonest_ppm: 200_000,
        },
        measurement: MeasurementRules {
            pairs: 12,
            pairs_min: 8,
            decode_tokens: 16,
            reach_tokens: 16,
            context_tokens: 160,
        },
        significance: SignificanceRules {
            alpha_ppm: 1_000,
            eta_ppm: 10_000,
            gain_ppm: 30_000,
            tau_ppm: 10_000,
            tau_df: 20,
        },
        membership: MembershipRules {
            epoch_blocks: 200,
            vouches_per_epoch: 2,
            vouch_standing_min: 5,
            probation_rounds: 3,
            gain_per_epoch_max: 4,
            silent_blocks: 1_000,
        },
        voting: VotingRules { window_ms: 120_000, delay_blocks: 4 },
    }
}

/// Pairs of a free TCP and a free UDP port. All are held until all are known, so that none is
/// handed out twice.
fn free_ports(count: usize) -> anyhow::Result<Vec<(u16, u16)>> {
    let mut held = Vec::new();
    for _ in 0..count {
        let tcp = TcpListener::bind(("127.0.0.1", 0)).context("no free TCP port")?;
        let udp = UdpSocket::bind(("127.0.0.1", 0)).context("no free UDP port")?;
        held.push((tcp, udp));
    }
    held.iter().map(|(tcp, udp)| Ok((tcp.local_addr()?.port(), udp.local_addr()?.port()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_makes_a_valid_network_with_five_identities() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("net");
        let layout = create(&root, genesis).unwrap();
        let network = NetworkFile::read(&layout.network).unwrap();
        assert_eq!(network.genesis.members.len(), NODES);
        assert_eq!(network.bootstrap.len(), 2 * NODES);
        assert!(create(&root, genesis).is_err(), "an existing folder is left alone");
    }
}
