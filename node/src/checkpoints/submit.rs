//! A checkpoint's way to one witness: `add-checkpoint` of `tlog-witness`, from the log's side.

use assay_protocol::tlog::{Algorithm, LogTree, Note, NoteKey, NoteSignature, Submission};
use std::io::ErrorKind;
use std::str::FromStr;
use std::time::Duration;
use ureq::tls::{RootCerts, TlsConfig};

/// How long one request may take, its answer included.
const WITHIN: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes: some signature lines.
const ANSWER_BYTES_MAX: u64 = 32 * 1024;
/// Requests in which a checkpoint is cosigned or not: the first tells the size, and another node may come
/// between that and the next.
const TRIES: usize = 4;

/// Where a witness is, and the key that its cosignatures verify with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessAddress {
    /// The prefix of its addresses, without a slash at the end.
    pub url: String,
    /// Its key.
    pub key: NoteKey,
}

impl FromStr for WitnessAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected URL=KEY, with the key as `assay witness run` prints it";
        let (url, key) = text.split_once('=').ok_or(expected)?;
        let key: NoteKey = key.parse().map_err(|error| format!("{expected}: {error}"))?;
        if key.algorithm() != Algorithm::Cosignature {
            return Err(format!("{key} is the key of a log; {expected}"));
        }
        let url = url.trim_end_matches('/');
        let address = url.parse::<ureq::http::Uri>().map_err(|error| format!("{url}: {error}"))?;
        match (address.scheme_str(), address.host()) {
            (Some("http" | "https"), Some(_)) => Ok(Self { url: url.to_owned(), key }),
            _ => Err(format!("{url} is no address of a witness; {expected}")),
        }
    }
}

/// What came of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was cosigned, at a time in seconds since 1970.
    Cosigned { signature: NoteSignature, time_s: u64 },
    /// The witness cosigned a larger size.
    Ahead { size: u64 },
    /// The witness says that it cosigned another root at this size, which this node has too.
    Conflict { size: u64 },
    /// Anything else, in words for people.
    Failed(String),
}

/// Status and text of an answer.
struct Reply {
    status: u16,
    text: String,
}

/// Speaks to witnesses.
pub(super) struct Submitter(ureq::Agent);

impl Default for Submitter {
    /// One that trusts the authorities that this system trusts.
    fn default() -> Self {
        Self::trusting(RootCerts::PlatformVerifier)
    }
}

impl Submitter {
    fn trusting(roots: RootCerts) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(WITHIN))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Self(config.into())
    }

    /// Submits the checkpoint `note` of `tree` to a witness that is thought to have cosigned `old` blocks
    /// last. `earlier` signs the checkpoint of fewer blocks. Waits for the network.
    pub(super) fn submit(
        &self,
        witness: &WitnessAddress,
        tree: &LogTree,
        note: &Note,
        old: u64,
        earlier: impl Fn(u64) -> Option<Note>,
    ) -> Answer {
        let mut old = old.min(tree.size());
        for _ in 0..TRIES {
            let reply = match self.send(witness, tree, note, old) {
                Ok(reply) => reply,
                Err(reason) => return Answer::Failed(reason),
            };
            let kept = reply.text.trim_end().parse::<u64>().ok();
            match (reply.status, kept) {
                (200, _) => return cosigned(witness, note, &reply.text),
                (409, Some(size)) if size > tree.size() => return Answer::Ahead { size },
                (409, kept) if old == tree.size() && kept.is_none_or(|size| size == old) => {
                    return Answer::Conflict { size: old };
                }
                (409, Some(size)) if size != old => old = size,
                (422, _) => return self.compare(witness, tree, old, earlier),
                _ => return Answer::Failed(refused(&reply)),
            }
        }
        Answer::Failed("other nodes were faster each time; it is tried again".to_owned())
    }

    /// After a proof was refused: the checkpoint of the size that the witness has. If it has another root
    /// there, the two checkpoints prove that the network has two ledgers.
    fn compare(
        &self,
        witness: &WitnessAddress,
        tree: &LogTree,
        size: u64,
        earlier: impl Fn(u64) -> Option<Note>,
    ) -> Answer {
        let own = tree.at(size).zip(earlier(size));
        let Some((tree, note)) = own else {
            return Answer::Failed(format!("there is no checkpoint of {size} blocks"));
        };
        match self.send(witness, &tree, &note, size) {
            Ok(Reply { status: 409, text }) => match text.trim_end().parse::<u64>() {
                Ok(kept) if kept != size => Answer::Failed(format!("it went on to size {kept}")),
                _ => Answer::Conflict { size },
            },
            Ok(reply) if reply.status == 200 => {
                Answer::Failed("it takes proofs that are right for wrong".to_owned())
            }
            Ok(reply) => Answer::Failed(refused(&reply)),
            Err(reason) => Answer::Failed(reason),
        }
    }

    fn send(
        &self,
        witness: &WitnessAddress,
        tree: &LogTree,
        note: &Note,
        old: u64,
    ) -> Result<Reply, String> {
        let proof = tree.consistency(old).ok_or("there are fewer blocks than it cosigned")?;
        let body = Submission { old_size: old, proof, note: note.clone() }.to_string();
        let request = self.0.post(format!("{}/add-checkpoint", witness.url));
        let request = request.header("Content-Type", "text/plain; charset=utf-8");
        let mut answer = request.send(body).map_err(|error| unanswered(&error))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| format!("its answer cannot be read: {error}"))?;
        Ok(Reply { status, text })
    }
}

/// Looks for the witness's own cosignature among the lines of an answer, and passes over all others.
fn cosigned(witness: &WitnessAddress, note: &Note, lines: &str) -> Answer {
    let whole = format!("{}\n{lines}", note.text());
    let signed = Note::read(whole.as_bytes()).ok().and_then(|answer| {
        let mut signatures = answer.signatures().iter();
        signatures.find_map(|signature| {
            let time_s = witness.key.verify(note.text(), signature)?;
            Some(Answer::Cosigned { signature: signature.clone(), time_s })
        })
    });
    signed.unwrap_or_else(|| {
        Answer::Failed("its answer has no cosignature that verifies with its key".to_owned())
    })
}

/// Why there is no answer, in words.
fn unanswered(error: &ureq::Error) -> String {
    let insecure = match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        // So a handshake that failed comes through a stream.
        ureq::Error::Io(error) => error.kind() == ErrorKind::InvalidData,
        _ => false,
    };
    match insecure {
        true => format!(
            "no secure connection: {error}; SSL_CERT_FILE can name a file with the authorities to trust"
        ),
        false => format!("no answer: {error}"),
    }
}

/// A refusal in words. What the witness wrote is a stranger's text.
fn refused(reply: &Reply) -> String {
    let said = crate::text::line(&crate::text::cut(reply.text.trim(), 200));
    let hint = match reply.status {
        403 => "; it does not accept this node's key, see `assay ledger checkpoint`",
        404 => "; it does not cosign this network",
        _ => "",
    };
    format!("status {}: {said}{hint}", reply.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_protocol::ids::{BlockHash, NetworkId};
    use assay_protocol::tlog::Checkpoint;
    use ed25519_dalek::SigningKey;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread::spawn;
    use ureq::tls::Certificate;

    fn own(algorithm: Algorithm) -> NoteKey {
        let secret = SigningKey::from_bytes(&[3; 32]);
        let key = assay_protocol::ids::PeerId(secret.verifying_key().to_bytes());
        NoteKey::new("witness.example/1", algorithm, key).unwrap()
    }

    #[test]
    fn an_address_is_a_url_and_a_key() {
        let key = own(Algorithm::Cosignature);
        let address: WitnessAddress = format!("http://127.0.0.1:7380/={key}").parse().unwrap();
        assert_eq!((address.url.as_str(), &address.key), ("http://127.0.0.1:7380", &key));
        let secure: WitnessAddress = format!("https://witness.example/a={key}").parse().unwrap();
        assert_eq!(secure.url, "https://witness.example/a");
    }

    /// Takes one connection over TLS and cosigns what comes by it; returns the first line of the request, if
    /// the connection was secured.
    fn cosign_once(
        listener: TcpListener,
        config: ServerConfig,
        secret: SigningKey,
        key: NoteKey,
    ) -> Option<String> {
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, listener.accept().unwrap().0);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        let submission = Submission::read(&body).unwrap();
        let signature = key.sign(&secret, submission.note.text(), 1_700_000_000);
        let answer = signature.to_string();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
            .unwrap();
        stream.flush().unwrap();
        Some(head.lines().next().unwrap().to_owned())
    }

    #[test]
    fn a_witness_behind_tls_is_believed_if_its_certificate_is() {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = certified.cert.der().clone();
        let roots = RootCerts::new_with_certs(&[Certificate::from_der(&certificate).to_owned()]);
        let (key, secret) = (own(Algorithm::Cosignature), SigningKey::from_bytes(&[3; 32]));
        let mut tree = LogTree::default();
        tree.push(BlockHash([1; 32]));
        let mut note = Note::new(Checkpoint::of(NetworkId([2; 32]), &tree).to_string()).unwrap();
        note.add(own(Algorithm::Ed25519).sign(&secret, note.text(), 0));
        for (submitter, trusts) in
            [(Submitter::trusting(roots), true), (Submitter::default(), false)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("https://{}", listener.local_addr().unwrap());
            let private = PrivatePkcs8KeyDer::from(certified.key_pair.serialize_der());
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.clone()], private.into())
                .unwrap();
            let (own_key, secret) = (key.clone(), secret.clone());
            let server = spawn(move || cosign_once(listener, config, secret, own_key));
            let witness = WitnessAddress { url, key: key.clone() };
            let answer = submitter.submit(&witness, &tree, &note, 0, |_| None);
            let asked = server.join().unwrap();
            match answer {
                Answer::Cosigned { time_s: 1_700_000_000, .. } if trusts => {
                    assert_eq!(asked.unwrap(), "post /add-checkpoint http/1.1");
                }
                Answer::Failed(why) if !trusts => {
                    assert!(why.contains("no secure connection"), "{why}");
                    assert_eq!(asked, None);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_address_says_what_one_is() {
        let key = own(Algorithm::Cosignature).to_string();
        let log = own(Algorithm::Ed25519).to_string();
        for (text, reason) in [
            (String::new(), "URL=KEY"),
            (format!("http://h={}", &key[1..]), "URL=KEY"),
            (format!("http://h={log}"), "key of a log"),
            (format!("ftp://h={key}"), "no address"),
            (format!("h={key}"), "no address"),
            (format!("http://={key}"), "no address"),
            (format!("https://={key}"), "no address"),
        ] {
            let error = text.parse::<WitnessAddress>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
