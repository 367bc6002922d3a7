use super::*;
use crate::ids::{BlockHash, NetworkId};

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

fn secret(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[index; 32])
}

fn key(name: &str, algorithm: Algorithm, secret: &SigningKey) -> NoteKey {
    NoteKey::new(name, algorithm, PeerId(secret.verifying_key().to_bytes())).unwrap()
}

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
    let head = Head { network: NetworkId([7; 32]), height: 12, hash: BlockHash([9; 32]) };
    let (validator, witness) = (secret(1), secret(2));
    let log = key(&origin(head.network), Algorithm::Ed25519, &validator);
    let cosigner = key("witness.example/1", Algorithm::Cosignature, &witness);
    let mut note = Note::new(head.text()).unwrap();
    note.add(log.sign(&validator, note.text(), 0));
    note.add(cosigner.sign(&witness, note.text(), 1_679_315_147));
    let read = Note::read(note.to_string().as_bytes()).unwrap();
    assert_eq!(read, note);
    assert_eq!((read.signed_by(&log), read.signed_by(&cosigner)), (Some(0), Some(1_679_315_147)));
    assert_eq!(Head::read(head.network, read.text()), Ok(head));
    // The same key under another name or algorithm is another key.
    assert_eq!(read.signed_by(&key("witness.example/2", Algorithm::Cosignature, &witness)), None);
    assert_eq!(read.signed_by(&key("witness.example/1", Algorithm::Ed25519, &witness)), None);
    let mut later = note.signatures()[1].clone();
    later.bytes[7] ^= 1;
    assert_eq!(cosigner.verify(note.text(), &later), None, "the time is signed");
    later.bytes.truncate(7);
    assert_eq!(cosigner.verify(note.text(), &later), None);
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

#[test]
fn what_is_no_checkpoint_of_this_network_is_refused() {
    let head = Head { network: NetworkId([7; 32]), height: 12, hash: BlockHash([9; 32]) };
    let text = head.text();
    let bad = [
        text.replace("\n12\n", "\n012\n"),
        text.replace("\n12\n", "\n+12\n"),
        text.replace("\n12\n", "\n18446744073709551616\n"),
        text.replace("\n12\n", "\n"),
        text.replace("assay/07", "assay/08"),
        text.replace("CQkJ", "CQk"),
        format!("{text}extension\n"),
        text.trim_end().to_owned(),
        String::new(),
    ];
    for text in bad {
        assert!(Head::read(head.network, &text).is_err(), "{text:?}");
    }
}
