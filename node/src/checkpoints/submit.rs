//! A checkpoint's way to one witness: `add-checkpoint` of `tlog-witness`, from the log's side.

use assay_protocol::tlog::{Algorithm, LogTree, Note, NoteKey, NoteSignature, Submission};
use std::str::FromStr;
use std::time::Duration;

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
            (Some("http"), Some(_)) => Ok(Self { url: url.to_owned(), key }),
            (Some("https"), _) => Err(format!(
                "{url}: this program speaks no TLS; name a local proxy that does, by http"
            )),
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
    fn default() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(WITHIN))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self(config.into())
    }
}

impl Submitter {
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
        let mut answer = request.send(body).map_err(|error| format!("no answer: {error}"))?;
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

    fn own(algorithm: Algorithm) -> NoteKey {
        let secret = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
        let key = assay_protocol::ids::PeerId(secret.verifying_key().to_bytes());
        NoteKey::new("witness.example/1", algorithm, key).unwrap()
    }

    #[test]
    fn an_address_is_a_url_and_a_key() {
        let key = own(Algorithm::Cosignature);
        let address: WitnessAddress = format!("http://127.0.0.1:7380/={key}").parse().unwrap();
        assert_eq!((address.url.as_str(), &address.key), ("http://127.0.0.1:7380", &key));
    }

    #[test]
    fn what_is_no_address_says_what_one_is() {
        let key = own(Algorithm::Cosignature).to_string();
        let log = own(Algorithm::Ed25519).to_string();
        for (text, reason) in [
            (String::new(), "URL=KEY"),
            (format!("http://h={}", &key[1..]), "URL=KEY"),
            (format!("http://h={log}"), "key of a log"),
            (format!("https://h={key}"), "no TLS"),
            (format!("ftp://h={key}"), "no address"),
            (format!("h={key}"), "no address"),
            (format!("http://={key}"), "no address"),
        ] {
            let error = text.parse::<WitnessAddress>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
