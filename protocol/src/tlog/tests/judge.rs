//! Submissions, and what a witness may cosign.

use super::{key, secret};
use crate::ids::{BlockHash, NetworkId};
use crate::tlog::{
    Algorithm, Checkpoint, LogTree, Note, NoteKey, PROOF_HASHES_MAX, Refusal, SUBMISSION_BYTES_MAX,
    Submission, judge, origin,
};
use proptest::prelude::*;

const NETWORK: NetworkId = NetworkId([7; 32]);

/// A tree whose blocks from `fork` on are others than those of the tree without one.
fn tree(size: u8, fork: u8) -> LogTree {
    let mut tree = LogTree::default();
    for index in 0..size {
        tree.push(BlockHash([if index < fork { index } else { 200 - index }; 32]));
    }
    tree
}

fn node() -> NoteKey {
    key(&origin(NETWORK), Algorithm::Ed25519, &secret(1))
}

/// What a node sends of a tree, with the proof from `old` on.
fn submission(tree: &LogTree, old: u64) -> Submission {
    let mut note = Note::new(Checkpoint::of(NETWORK, tree).to_string()).unwrap();
    note.add(node().sign(&secret(1), note.text(), 0));
    Submission { old_size: old, proof: tree.consistency(old).unwrap_or_default(), note }
}

fn judged(submission: &Submission, kept: Option<&LogTree>) -> Result<(), Refusal> {
    // What travels is the text.
    let read = Submission::read(submission.to_string().as_bytes()).unwrap();
    assert_eq!(&read, submission);
    let kept = kept.map(|tree| Checkpoint::of(NETWORK, tree));
    let checkpoint = Checkpoint::read(&read.note).unwrap();
    judge(&read, &checkpoint, &[node()], kept.as_ref())
}

#[test]
fn a_ledger_that_grows_is_cosigned() {
    assert_eq!(judged(&submission(&tree(5, 99), 0), None), Ok(()), "the first time");
    assert_eq!(judged(&submission(&tree(9, 99), 5), Some(&tree(5, 99))), Ok(()));
    assert_eq!(judged(&submission(&tree(9, 99), 9), Some(&tree(9, 99))), Ok(()), "again");
    assert_eq!(judged(&submission(&tree(0, 0), 0), None), Ok(()), "before the first block");
}

#[test]
fn a_ledger_that_went_back_or_changed_is_not() {
    let kept = tree(9, 99);
    let judged = |submission: &Submission| judged(submission, Some(&kept)).unwrap_err();
    assert_eq!(judged(&submission(&tree(7, 99), 7)), Refusal::OtherSize { kept: 9 });
    assert_eq!(judged(&submission(&tree(7, 99), 0)), Refusal::OtherSize { kept: 9 });
    assert_eq!(judged(&submission(&tree(12, 99), 0)), Refusal::OtherSize { kept: 9 });
    let back = submission(&tree(7, 99), 9);
    assert_eq!(judged(&back), Refusal::Backwards { old: 9, size: 7 });
    // Another block 6, with a proof that is right for that ledger.
    assert_eq!(judged(&submission(&tree(12, 5), 9)), Refusal::Unproven { kept: 9 });
    for old in [0, 4, 9] {
        assert_eq!(judged(&submission(&tree(9, 5), old)), Refusal::SplitView { kept: 9 });
    }
    let mut idle = submission(&tree(9, 99), 9);
    idle.proof.push([0; 32]);
    assert_eq!(judged(&idle), Refusal::Unproven { kept: 9 });
}

#[test]
fn only_the_keys_of_the_log_count() {
    let stranger = key(&origin(NETWORK), Algorithm::Ed25519, &secret(2));
    let mut foreign = submission(&tree(5, 99), 0);
    let text = foreign.note.text().to_owned();
    foreign.note = Note::new(text).unwrap();
    foreign.note.add(stranger.sign(&secret(2), foreign.note.text(), 0));
    assert_eq!(judged(&foreign, None), Err(Refusal::NotSigned));
    let cosigner = key(&origin(NETWORK), Algorithm::Cosignature, &secret(1));
    foreign.note.add(cosigner.sign(&secret(1), foreign.note.text(), 5));
    assert_eq!(judged(&foreign, None), Err(Refusal::NotSigned), "another kind of signature");
    foreign.note.add(node().sign(&secret(1), "something else\n", 0));
    assert_eq!(judged(&foreign, None), Err(Refusal::NotSigned), "of another text");
    foreign.note.add(node().sign(&secret(1), foreign.note.text(), 0));
    assert_eq!(judged(&foreign, None), Ok(()), "beside the others");
}

#[test]
fn what_is_no_submission_is_refused() {
    let good = submission(&tree(9, 99), 5).to_string();
    assert!(Submission::read(good.as_bytes()).is_ok());
    let hash = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let bad = [
        String::new(),
        "old 5\n".to_owned(),
        good.replacen("old 5", "old 05", 1),
        good.replacen("old 5", "old +5", 1),
        good.replacen("old 5", "old", 1),
        good.replacen("old 5", "new 5", 1),
        good.replacen("old 5", "old 18446744073709551616", 1),
        good.replacen("old 5\n", "old 5\r\n", 1),
        good.replacen("old 5\n", &format!("old 5\n{}", &hash[1..]), 1),
        good.replacen("old 5\n", "old 5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n", 1),
        good.replacen("old 5\n", &format!("old 5\n{}", hash.repeat(PROOF_HASHES_MAX + 1)), 1),
        good.trim_end().to_owned(),
        format!("{good}{}", "x".repeat(SUBMISSION_BYTES_MAX)),
    ];
    for text in bad {
        let shown: String = text.chars().take(80).collect();
        assert!(Submission::read(text.as_bytes()).is_err(), "{shown:?}");
    }
    assert!(Submission::read(&[0xff; 80]).is_err());
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let text = Checkpoint::of(NETWORK, &tree(12, 99)).to_string();
    let read = |text: &str| Checkpoint::read(&Note::new(text.to_owned()).unwrap());
    assert_eq!(read(&text), Ok(Checkpoint::of(NETWORK, &tree(12, 99))));
    let extended = format!("{text}an extension\n");
    assert_eq!(read(&extended).unwrap().to_string(), extended, "kept, because it is signed");
    let bad = [
        text.replace("\n12\n", "\n012\n"),
        text.replace("\n12\n", "\n+12\n"),
        text.replace("\n12\n", "\n-1\n"),
        text.replace("\n12\n", "\n18446744073709551616\n"),
        text.replace("\n12\n", "\n"),
        text.replace("assay/", &"x".repeat(300)),
        text.replace(&origin(NETWORK), ""),
        text.replace("=\n", "\n"),
        text.replace("=\n", "==\n"),
        format!("{text}\n"),
        format!("{text}an extension\n\nanother\n"),
        "\n".to_owned(),
    ];
    for text in bad {
        assert!(read(&text).is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn nothing_that_arrives_makes_a_witness_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400), head in "old [0-9]{1,3}\n([A-Za-z/+]{43}=\n){0,3}\n",
        size in 0..20_u8, at in 0..500_usize, flip in 1..255_u8,
    ) {
        let _ = Submission::read(&bytes);
        let note = submission(&tree(size, 99), 0).note.to_string();
        let mut text = format!("{head}{note}").into_bytes();
        if let Some(byte) = text.get_mut(at) {
            *byte ^= flip;
        }
        if let Ok(read) = Submission::read(&text) {
            prop_assert_eq!(read.to_string().into_bytes(), text);
            if let Ok(checkpoint) = Checkpoint::read(&read.note) {
                let kept = Checkpoint::of(NETWORK, &tree(9, 99));
                let judged = judge(&read, &checkpoint, &[node()], Some(&kept));
                // Random hashes are no proof, so that only the same checkpoint passes.
                prop_assert!(judged.is_err() || checkpoint == kept);
            }
        }
    }
}
