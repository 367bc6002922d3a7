//! `assay init`: a home folder with a fresh identity.

use super::output::{Format, fields, print};
use crate::home::Home;
use assay_protocol::ids::PeerId;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Made {
    home: PathBuf,
    peer: PeerId,
    vrf: PeerId,
}

/// Makes the home folder and prints the keys that a genesis or a vouching member needs.
///
/// # Errors
///
/// When there is a key already or the folder cannot be written.
pub fn run(home: &Path, format: Format) -> anyhow::Result<()> {
    let made = Home::create(home)?;
    let made = Made { home: home.to_owned(), peer: made.peer(), vrf: made.vrf() };
    print(format, &made, |made| {
        let table = fields(&[
            ("home", made.home.display().to_string()),
            ("peer", made.peer.to_string()),
            ("vrf", made.vrf.to_string()),
        ]);
        let (home, peer) = (made.home.display(), made.peer);
        format!(
            "{table}\n\nThe key in {home}/key is this peer's identity: keep a copy of it.\n\
             Next: assay run --home {home} --network FILE\n\n\
             A network that did not begin with this peer lets it in when a member vouches for it.\n\
             Keep the node running and send a member this line, with names of your choice:\n  \
             assay vouch {peer} --operator YOU --name THIS-PEER"
        )
    })
}
