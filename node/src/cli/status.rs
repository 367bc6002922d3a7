//! `assay status` and `assay peers`: what the running node is and sees.

use super::client::Client;
use super::output::{Format, fields, print, table};
use crate::api::{PeerRow, Status};
use crate::roles::Duty;
use std::path::Path;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Prints what the node is and does.
///
/// # Errors
///
/// When no node runs in the home folder.
pub fn status(home: &Path, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    let status: Status = client.get("/api/status")?;
    print(format, &status, |status| {
        fields(&[
            ("peer", status.peer.to_string()),
            ("name", status.name.clone()),
            ("network", format!("{} ({})", status.network_name, status.network)),
            ("height", status.height.to_string()),
            ("head", status.head.to_string()),
            ("peers", status.peers.to_string()),
            ("class", status.class.clone().unwrap_or_else(|| "not measured yet".to_owned())),
            (
                "standing",
                status.standing.map_or_else(|| "not a member".to_owned(), |s| s.to_string()),
            ),
            ("good for", duties(&status.roles)),
            ("doing", format!("{} ({})", status.doing, status.reason)),
            ("agent", status.agent.clone()),
            ("measuring lock", status.measuring_lock.word().to_owned()),
            ("null claims", if status.null_claims { "by lot" } else { "none" }.to_owned()),
            ("disk", format!("{:.1} MB", megabytes(status.disk_bytes))),
            ("page", client.url().to_owned()),
        ])
    })
}

/// The roles that follow from what the node measured about itself, each with its reason.
fn duties(roles: &[Duty]) -> String {
    let lines = roles.iter().map(|duty| format!("{}: {}", duty.role.word(), duty.reason));
    lines.collect::<Vec<_>>().join("; ")
}

/// Prints the node's connections.
///
/// # Errors
///
/// When no node runs in the home folder.
pub fn peers(home: &Path, format: Format) -> anyhow::Result<()> {
    let peers: Vec<PeerRow> = Client::find(home, TIMEOUT)?.get("/api/peers")?;
    print(format, &peers, |peers| {
        if peers.is_empty() {
            return "No peers yet. The node goes on looking; is the network's file recent?"
                .to_owned();
        }
        table(
            &["peer", "address", "direction", "round trip", "height"],
            peers.iter().map(|row| {
                let round_trip = row.ping_us.map_or_else(|| "-".to_owned(), milliseconds);
                let height = row.height.map_or_else(|| "-".to_owned(), |height| height.to_string());
                let direction = if row.outbound { "outbound" } else { "inbound" };
                vec![
                    row.peer.short(),
                    row.address.clone(),
                    direction.to_owned(),
                    round_trip,
                    height,
                ]
            }),
        )
    })
}

#[allow(clippy::cast_precision_loss)]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[allow(clippy::cast_precision_loss)]
fn milliseconds(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1e3)
}
