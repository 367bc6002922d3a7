//! Audits that keep closed claims outside of memory: every scenario is also one.

use super::world::{World, honest};
use crate::audit::Auditor;
use crate::fixtures;
use crate::state::{Archive, ArchiveError};
use prost::Message;
use std::sync::{Arc, Mutex};

/// Keeps everything, until it breaks.
#[derive(Debug, Default)]
struct Pile {
    kept: Mutex<Vec<Vec<u8>>>,
    /// How many claims it takes before it breaks, for good.
    lasts: Option<usize>,
}

impl Pile {
    fn holds(&self, kept: usize) -> Result<(), ArchiveError> {
        match self.lasts {
            Some(lasts) if kept >= lasts => Err(ArchiveError("no space left".to_owned())),
            _ => Ok(()),
        }
    }
}

impl Archive for Pile {
    fn keep(&self, bytes: &[u8]) -> Result<u64, ArchiveError> {
        let mut kept = self.kept.lock().unwrap();
        self.holds(kept.len())?;
        kept.push(bytes.to_vec());
        Ok(kept.len() as u64 - 1)
    }

    fn read(&self, place: u64) -> Result<Vec<u8>, ArchiveError> {
        let kept = self.kept.lock().unwrap();
        self.holds(kept.len())?;
        Ok(kept[usize::try_from(place).unwrap()].clone())
    }
}

fn audit(world: &World, archive: Arc<Pile>) -> Auditor {
    let genesis = world.state().genesis().clone();
    let mut auditor = Auditor::new(genesis).with_archive(archive, 0);
    for item in &world.items {
        if auditor.feed(&item.encode_to_vec()).is_err() {
            assert!(
                auditor.archive_error().is_some(),
                "a fault that is the archive's is said to be"
            );
            break;
        }
    }
    auditor
}

impl Drop for World {
    /// Replays the scenario with no closed claim in memory, whatever it was about.
    fn drop(&mut self) {
        if std::thread::panicking() || self.items.is_empty() {
            return;
        }
        let auditor = audit(self, Arc::default());
        assert_eq!(auditor.archive_error(), None);
        let state = auditor.state();
        let same = self.peers.iter().find(|peer| peer.state().head() == state.head());
        let same = same.expect("some peer ends where the items do");
        assert_eq!(same.state(), state);
    }
}

#[test]
fn closed_claims_leave_memory_and_come_back_as_they_were() {
    let mut world = honest(1.3);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(20);
    let pile = Arc::new(Pile::default());
    let auditor = audit(&world, pile.clone());
    assert_eq!(auditor.archive_error(), None);
    assert!(!pile.kept.lock().unwrap().is_empty());
    let found = auditor.state().claim(claim).unwrap();
    assert_eq!(Some(found), world.state().claim(claim));
    assert!(std::ptr::eq(found, auditor.state().claim(claim).unwrap()), "read once");
    assert_eq!(&auditor.state().clone(), world.state());
}

#[test]
fn an_archive_that_breaks_is_told_and_nothing_is_said_of_the_ledger() {
    let mut world = honest(1.3);
    let claim = world.claim(0, fixtures::child_recipe(9));
    world.run(20);
    world.claim_on(claim, 1, fixtures::child_recipe(10));
    world.run(20);
    for lasts in 0..3 {
        let auditor = audit(&world, Arc::new(Pile { lasts: Some(lasts), ..Pile::default() }));
        assert_eq!(auditor.archive_error(), Some(&ArchiveError("no space left".to_owned())));
    }
}
