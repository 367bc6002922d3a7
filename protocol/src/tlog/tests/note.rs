//! Notes and keys, against notes that others made and against the crate `signed_note`.

use super::{key, secret};
use crate::ids::NetworkId;
use crate::tlog::{
    Algorithm, Checkpoint, LogTree, NOTE_BYTES_MAX, Note, NoteKey, SIGNATURES_MAX, origin,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use signed_note::{StandardVerifier, VerifierList};

/// Key and note of the example in the documentation of `golang.org/x/mod/sumdb/note`, the format's first
/// implementation.
const GO_SEED: &str = "EKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,
then you don't know what your problem is.

\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
";
/// A tree head of the public log of Go modules, with its key.
const SUM_KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
const SUM_NOTE: &str = "go.sum database tree
13485
/ZWur4obeiqK+ASdnPK+/Rmz6LPQMUeSmHh0+UkL54Y=

\u{2014} sum.golang.org Az3grnQReYTvpCrRxT+w50vixbqBlB/aPS8bL8f8KW4HHP+UjLSXOJgCh4f54n8hO6lrESglzyRXMXnhaWzaeY3zqw8=
";

/// The example of `tlog-cosignature`, which the specification gives without the keys.
const COSIGNED: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
";

#[test]
fn others_notes_verify_and_are_made_alike() {
    for (text, note) in [(GO_KEY, GO_NOTE), (SUM_KEY, SUM_NOTE)] {
        let (key, read): (NoteKey, _) =
            (text.parse().unwrap(), Note::read(note.as_bytes()).unwrap());
        assert_eq!(key.to_string(), text);
        assert_eq!(read.to_string(), note);
        assert_eq!(read.signed_by(&key), Some(0));
        let changed = Note::read(note.replacen('e', "f", 1).as_bytes()).unwrap();
        assert_eq!(changed.signed_by(&key), None);
    }
    // The secret half is published without the letters of its algorithm byte.
    let seed = STANDARD.decode(format!("AY{GO_SEED}")).unwrap();
    let signer = SigningKey::from_bytes(seed[1..].try_into().unwrap());
    let key: NoteKey = GO_KEY.parse().unwrap();
    let mut note = Note::new(Note::read(GO_NOTE.as_bytes()).unwrap().text().to_owned()).unwrap();
    note.add(key.sign(&signer, note.text(), 0));
    assert_eq!(note.to_string(), GO_NOTE);
    note.add(key.sign(&signer, note.text(), 0));
    assert_eq!(note.signatures().len(), 1, "a signature replaces that of the same key");
}

#[test]
fn a_cosignature_has_a_time_and_is_no_signature() {
    let network = NetworkId([7; 32]);
    let (node, witness) = (secret(1), secret(2));
    let log = key(&origin(network), Algorithm::Ed25519, &node);
    let cosigner = key("witness.example/1", Algorithm::Cosignature, &witness);
    let text = Checkpoint::of(network, &LogTree::default()).to_string();
    let mut note = Note::new(text).unwrap();
    note.add(log.sign(&node, note.text(), 0));
    note.add(cosigner.sign(&witness, note.text(), 1_679_315_147));
    let read = Note::read(note.to_string().as_bytes()).unwrap();
    assert_eq!(read, note);
    assert_eq!((read.signed_by(&log), read.signed_by(&cosigner)), (Some(0), Some(1_679_315_147)));
    // The same key under another name or algorithm is another key.
    assert_eq!(read.signed_by(&key("witness.example/2", Algorithm::Cosignature, &witness)), None);
    assert_eq!(read.signed_by(&key("witness.example/1", Algorithm::Ed25519, &witness)), None);
    let mut later = note.signatures()[1].clone();
    later.bytes[7] ^= 1;
    assert_eq!(cosigner.verify(note.text(), &later), None, "the time is signed");
    let never = cosigner.sign(&witness, note.text(), 1 << 63);
    assert_eq!(cosigner.verify(note.text(), &never), None, "no time is so late");
    later.bytes.truncate(7);
    assert_eq!(cosigner.verify(note.text(), &later), None);
}

#[test]
fn the_example_of_the_specification_reads_and_is_written_alike() {
    let note = Note::read(COSIGNED.as_bytes()).unwrap();
    assert_eq!(note.to_string(), COSIGNED);
    let checkpoint = Checkpoint::read(&note).unwrap();
    assert_eq!(
        (checkpoint.origin.as_str(), checkpoint.size),
        ("example.com/behind-the-sofa", 20_852_163)
    );
    assert_eq!(checkpoint.to_string(), note.text());
    let time = &note.signatures()[1].bytes[..8];
    assert_eq!(u64::from_be_bytes(time.try_into().unwrap()), 1_679_315_147);
}

#[test]
fn another_implementation_verifies_what_a_node_signs() {
    let network = NetworkId([3; 32]);
    let node = secret(5);
    let log = key(&origin(network), Algorithm::Ed25519, &node);
    let mut tree = LogTree::default();
    tree.push(crate::ids::BlockHash([9; 32]));
    let mut note = Note::new(Checkpoint::of(network, &tree).to_string()).unwrap();
    note.add(log.sign(&node, note.text(), 0));
    let theirs = signed_note::Note::from_bytes(note.to_string().as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&log.to_string()).unwrap();
    let (verified, others) = theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((verified.len(), others.len()), (1, 0));
    assert_eq!(theirs.to_bytes(), note.to_string().into_bytes());
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!((checkpoint.origin(), checkpoint.size()), (origin(network).as_str(), 1));
    assert_eq!(checkpoint.hash().0, tree.root());
    assert_eq!(checkpoint.extension(), "");
}

#[test]
fn what_is_no_note_is_refused() {
    let line = GO_NOTE.rsplit("\n\n").next().unwrap();
    let bad = [
        String::new(),
        "\n\n".to_owned(),
        "text\n".to_owned(),
        "text\n\n".to_owned(),
        format!("text\n{line}"),
        format!("a\tb\n\n{line}"),
        format!("text\n\n{line}x"),
        format!("text\n\n{}", line.trim_end()),
        format!("text\n\n{}", line.replace("\u{2014} ", "- ")),
        format!("text\n\n{}", line.replace("PeterNeumann ", "Peter+Neumann ")),
        format!("text\n\n{}", line.replace("PeterNeumann ", "")),
        "text\n\n\u{2014} a AAAA\n".to_owned(),
        "text\n\n\u{2014} a !!!!\n".to_owned(),
        format!("text\n\n{}", line.repeat(SIGNATURES_MAX + 1)),
        format!("{}\n\n{line}", "x".repeat(NOTE_BYTES_MAX)),
    ];
    for text in bad {
        assert!(
            Note::read(text.as_bytes()).is_err(),
            "{:?}",
            text.chars().take(60).collect::<String>()
        );
    }
    assert!(Note::read(&[0xff; 8]).is_err());
    for text in
        ["", "a+b", "a+00000000+ARpc", "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]
    {
        assert!(text.parse::<NoteKey>().is_err(), "{text}");
    }
    assert!(GO_KEY.replace("c74f", "c74e").parse::<NoteKey>().is_err());
}

proptest! {
    /// Whatever reads here also reads there, and is written as it was read.
    #[test]
    fn nothing_makes_the_reader_panic_or_differ(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(note) = Note::read(&bytes) {
            prop_assert!(signed_note::Note::from_bytes(&bytes).is_ok());
            prop_assert_eq!(note.to_string().into_bytes(), bytes);
        }
    }

    /// Notes with a few characters changed.
    #[test]
    fn a_changed_note_is_read_as_others_read_it(
        at in 0..COSIGNED.len(), with in "[\\na-c—+= A/]{0,3}", cut in 0..3_usize,
    ) {
        let mut bytes = COSIGNED.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with.bytes());
        let (ours, theirs) = (Note::read(&bytes), signed_note::Note::from_bytes(&bytes));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}", String::from_utf8_lossy(&bytes));
        let Ok(note) = ours else { return Ok(()) };
        let theirs = tlog_tiles::Checkpoint::from_bytes(note.text().as_bytes());
        match (Checkpoint::read(&note), theirs) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!((ours.size, ours.root), (theirs.size(), theirs.hash().0));
                prop_assert_eq!(ours.to_string(), note.text());
            }
            (ours, theirs) => prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}", note.text()),
        }
    }
}
