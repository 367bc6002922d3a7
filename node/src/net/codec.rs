//! The request-response protocols: what they ask, and their framing.
//!
//! A request and an answer are each one frame: four bytes of length (big-endian), then the message
//! in canonical encoding, then the end of the stream. The length is checked before anything is
//! allocated, and an answer that was never sent differs from an empty one.

use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;

use assay_proto::limits::{
    BLOB_BYTES_MAX, BLOB_RESPONSE_BYTES_MAX, BLOCK_RECORDS_MAX, LEDGER_ITEM_BYTES_MAX,
    REQUEST_BYTES_MAX, SYNC_BYTES_MAX, SYNC_ITEMS_MAX,
};
use assay_proto::{decode_canonical, v1};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::request_response::Codec;
use libp2p::{PeerId, StreamProtocol};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use tokio::sync::oneshot;

use super::handle::NetEvent;

/// Memory set aside for a frame before its bytes arrive.
const FRAME_CAPACITY_BYTES: usize = 64 * 1024;
/// Signatures in one commit certificate; a validator set is far smaller.
const CERTIFICATE_SIGNATURES_MAX: usize = 128;

/// One kind of question that peers ask each other.
pub(super) trait Exchange: Clone + Send + 'static {
    type Request: Clone + Send + Debug + 'static;
    type Response: Send + Debug + 'static;

    /// Name of the protocol after the network's prefix.
    const NAME: &'static str;
    const RESPONSE_BYTES_MAX: usize;

    fn encode_request(request: &Self::Request) -> Vec<u8>;
    fn decode_request(bytes: &[u8]) -> Result<Self::Request, String>;
    fn encode_response(response: Self::Response) -> Vec<u8>;
    fn decode_response(bytes: &[u8]) -> Result<Self::Response, String>;

    /// The event by which the rest of the node learns of a request.
    fn event(
        peer: PeerId,
        request: Self::Request,
        reply: oneshot::Sender<Self::Response>,
    ) -> NetEvent;

    /// Shortens the node's own answer to what the protocol allows.
    fn fit(request: &Self::Request, response: Self::Response) -> Self::Response;

    /// Checks that a peer's answer is one to the request.
    fn check(request: &Self::Request, response: &Self::Response) -> Result<(), String>;
}

/// Blocks from a height on.
#[derive(Debug, Clone, Copy)]
pub(super) struct SyncExchange;

impl Exchange for SyncExchange {
    type Request = v1::SyncRequest;
    type Response = v1::SyncResponse;

    const NAME: &'static str = "sync/1";
    const RESPONSE_BYTES_MAX: usize = SYNC_BYTES_MAX;

    fn encode_request(request: &v1::SyncRequest) -> Vec<u8> {
        request.encode_to_vec()
    }

    fn decode_request(bytes: &[u8]) -> Result<v1::SyncRequest, String> {
        decode_canonical(bytes, REQUEST_BYTES_MAX).map_err(|e| e.to_string())
    }

    fn encode_response(response: v1::SyncResponse) -> Vec<u8> {
        response.encode_to_vec()
    }

    fn decode_response(bytes: &[u8]) -> Result<v1::SyncResponse, String> {
        // An empty submessage takes two bytes on the wire and hundreds in memory, so everything
        // repeated is counted before it is decoded.
        const ITEMS: u32 = 2;
        let bounds: [(&[u32], usize, &str); 3] = [
            (&[ITEMS], SYNC_ITEMS_MAX, "items"),
            (&[ITEMS, 1, 2], SYNC_ITEMS_MAX * BLOCK_RECORDS_MAX, "records"),
            (&[ITEMS, 2, 4], SYNC_ITEMS_MAX * CERTIFICATE_SIGNATURES_MAX, "signatures"),
        ];
        for (path, most, what) in bounds {
            let count = count_field(bytes, path)?;
            if count > most {
                return Err(format!("{count} {what}, at most {most} are allowed"));
            }
        }
        decode_canonical(bytes, SYNC_BYTES_MAX).map_err(|e| e.to_string())
    }

    fn event(
        peer: PeerId,
        request: v1::SyncRequest,
        reply: oneshot::Sender<v1::SyncResponse>,
    ) -> NetEvent {
        NetEvent::SyncRequest { peer, request, reply }
    }

    fn fit(request: &v1::SyncRequest, mut response: v1::SyncResponse) -> v1::SyncResponse {
        response.items.truncate(items_max(request));
        if let Some(first) =
            response.items.iter().position(|item| item.encoded_len() > LEDGER_ITEM_BYTES_MAX)
        {
            tracing::error!(
                from = request.from,
                "a block of the own ledger is too long to be sent"
            );
            response.items.truncate(first);
        }
        while response.encoded_len() > SYNC_BYTES_MAX {
            response.items.pop();
        }
        response
    }

    fn check(request: &v1::SyncRequest, response: &v1::SyncResponse) -> Result<(), String> {
        let most = items_max(request);
        if response.items.len() > most {
            return Err(format!("{} items, {most} were asked for", response.items.len()));
        }
        match response.items.iter().map(Message::encoded_len).max() {
            Some(bytes) if bytes > LEDGER_ITEM_BYTES_MAX => Err(format!(
                "an item of {bytes} bytes, at most {LEDGER_ITEM_BYTES_MAX} are allowed"
            )),
            _ => Ok(()),
        }
    }
}

fn items_max(request: &v1::SyncRequest) -> usize {
    usize::try_from(request.max).map_or(SYNC_ITEMS_MAX, |max| max.min(SYNC_ITEMS_MAX))
}

/// One blob by its BLAKE3 hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlobExchange;

impl Exchange for BlobExchange {
    type Request = [u8; 32];
    type Response = Option<Vec<u8>>;

    const NAME: &'static str = "blob/1";
    const RESPONSE_BYTES_MAX: usize = BLOB_RESPONSE_BYTES_MAX;

    fn encode_request(hash: &[u8; 32]) -> Vec<u8> {
        v1::BlobRequest { hash: hash.to_vec() }.encode_to_vec()
    }

    fn decode_request(bytes: &[u8]) -> Result<[u8; 32], String> {
        let request: v1::BlobRequest =
            decode_canonical(bytes, REQUEST_BYTES_MAX).map_err(|e| e.to_string())?;
        request.hash.try_into().map_err(|hash: Vec<u8>| format!("a hash of {} bytes", hash.len()))
    }

    fn encode_response(blob: Option<Vec<u8>>) -> Vec<u8> {
        let found = blob.is_some();
        v1::BlobResponse { found, data: blob.unwrap_or_default() }.encode_to_vec()
    }

    fn decode_response(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let response: v1::BlobResponse =
            decode_canonical(bytes, BLOB_RESPONSE_BYTES_MAX).map_err(|e| e.to_string())?;
        match response {
            v1::BlobResponse { found: false, data } if !data.is_empty() => {
                Err("data with a blob that was not found".to_owned())
            }
            v1::BlobResponse { data, .. } if data.len() > BLOB_BYTES_MAX => {
                Err(format!("a blob of {} bytes, at most {BLOB_BYTES_MAX} are allowed", data.len()))
            }
            v1::BlobResponse { found, data } => Ok(found.then_some(data)),
        }
    }

    fn event(peer: PeerId, hash: [u8; 32], reply: oneshot::Sender<Option<Vec<u8>>>) -> NetEvent {
        NetEvent::BlobRequest { peer, hash, reply }
    }

    fn fit(hash: &[u8; 32], blob: Option<Vec<u8>>) -> Option<Vec<u8>> {
        blob.filter(|data| {
            let fits = data.len() <= BLOB_BYTES_MAX;
            if !fits {
                tracing::error!(hash = hex::encode(hash), "an own blob is too long to be sent");
            }
            fits
        })
    }

    fn check(hash: &[u8; 32], blob: &Option<Vec<u8>>) -> Result<(), String> {
        match blob {
            Some(data) if blake3::hash(data).as_bytes() != hash => {
                Err(format!("bytes that are not the blob {}", hex::encode(hash)))
            }
            _ => Ok(()),
        }
    }
}

/// How often the length-delimited field at `path` (field numbers from the top) occurs.
fn count_field(mut bytes: &[u8], path: &[u32]) -> Result<usize, String> {
    let Some((field, rest)) = path.split_first() else { return Ok(1) };
    let mut count = 0;
    while !bytes.is_empty() {
        let (tag, wire) = decode_key(&mut bytes).map_err(|e| e.to_string())?;
        let skip = match wire {
            WireType::Varint => {
                decode_varint(&mut bytes).map_err(|e| e.to_string())?;
                0
            }
            WireType::LengthDelimited => decode_varint(&mut bytes).map_err(|e| e.to_string())?,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::StartGroup | WireType::EndGroup => return Err("a group".to_owned()),
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let (value, after) =
            bytes.split_at_checked(skip).ok_or("a field longer than its message")?;
        bytes = after;
        if wire == WireType::LengthDelimited && tag == *field {
            count += count_field(value, rest)?;
        }
    }
    Ok(count)
}

/// Frames the messages of one [`Exchange`].
#[derive(Debug)]
pub(super) struct FrameCodec<E>(PhantomData<fn() -> E>);

impl<E> Default for FrameCodec<E> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E> Clone for FrameCodec<E> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// A request, or why a peer's bytes are none. The library keeps a failure to read a request to
/// itself, but it is an offence that the node has to learn of.
pub(super) type ReadRequest<E> = Result<<E as Exchange>::Request, String>;

impl<E: Exchange> Codec for FrameCodec<E> {
    type Protocol = StreamProtocol;
    type Request = ReadRequest<E>;
    type Response = E::Response;

    async fn read_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<ReadRequest<E>>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read_frame(io, REQUEST_BYTES_MAX).await {
            Ok(frame) => Ok(E::decode_request(&frame)),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(Err(e.to_string())),
            Err(e) => Err(e),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<E::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let frame = read_frame(io, E::RESPONSE_BYTES_MAX).await?;
        E::decode_response(&frame).map_err(invalid)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: ReadRequest<E>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let request = request.map_err(invalid)?;
        write_frame(io, &E::encode_request(&request)).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: E::Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &E::encode_response(response)).await
    }
}

/// [`io::ErrorKind::InvalidData`] marks what only a faulty or hostile peer sends.
fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

async fn read_frame<T: AsyncRead + Unpin + Send>(
    io: &mut T,
    bytes_max: usize,
) -> io::Result<Vec<u8>> {
    let mut prefix = [0; 4];
    io.read_exact(&mut prefix).await?;
    let length = u32::from_be_bytes(prefix) as usize;
    if length > bytes_max {
        return Err(invalid(format!("{length} bytes, at most {bytes_max} are allowed")));
    }
    let mut frame = Vec::with_capacity(length.min(FRAME_CAPACITY_BYTES));
    io.take(length as u64 + 1).read_to_end(&mut frame).await?;
    match frame.len() {
        read if read > length => Err(invalid("bytes after the message".to_owned())),
        read if read < length => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(frame),
    }
}

async fn write_frame<T: AsyncWrite + Unpin + Send>(io: &mut T, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len())
        .map_err(|_| io::Error::other("a message longer than a frame can be"))?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(frame).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        block_on(write_frame(&mut out, bytes)).unwrap();
        out
    }

    fn read(bytes: &[u8], bytes_max: usize) -> io::Result<Vec<u8>> {
        block_on(read_frame(&mut Cursor::new(bytes), bytes_max))
    }

    #[test]
    fn frames_round_trip_up_to_the_limit() {
        for length in [0, 1, 255, 300] {
            let data = vec![7; length];
            assert_eq!(read(&framed(&data), 300).unwrap(), data);
        }
    }

    #[test]
    fn bad_frames_are_told_apart() {
        let kind = |bytes: &[u8]| read(bytes, 300).unwrap_err().kind();
        assert_eq!(kind(&framed(&[0; 301])), io::ErrorKind::InvalidData);
        assert_eq!(kind(&[0xff, 0xff, 0xff, 0xff]), io::ErrorKind::InvalidData);
        assert_eq!(kind(&[0, 0, 0, 1, 5, 5]), io::ErrorKind::InvalidData);
        assert_eq!(kind(&[0, 0, 0, 2, 5]), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(&[0, 0]), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(&[]), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_answer_of_many_empty_items_is_refused_before_it_is_decoded() {
        let items = [0x12, 0x00].repeat(SYNC_ITEMS_MAX + 1);
        assert!(SyncExchange::decode_response(&items).unwrap_err().contains("items"));
        assert!(SyncExchange::decode_response(&items[2..]).is_ok());

        let records = [0x12, 0x00].repeat(SYNC_ITEMS_MAX * BLOCK_RECORDS_MAX + 1);
        let block = v1::LedgerItem::default();
        let mut bytes = Vec::new();
        let nested = |tag: u8, inner: &[u8]| {
            let mut out = vec![tag];
            prost::encoding::encode_varint(inner.len() as u64, &mut out);
            out.extend_from_slice(inner);
            out
        };
        bytes.extend(nested(0x12, &block.encode_to_vec()));
        bytes.extend(nested(0x12, &nested(0x0a, &records)));
        assert!(SyncExchange::decode_response(&bytes).unwrap_err().contains("records"));
    }

    #[test]
    fn malformed_messages_are_errors() {
        for bytes in [&[0xff][..], &[0x0b], &[0x12, 0x05], &[0x0a, 0x01, 0x00], &[0x08, 0x80]] {
            assert!(SyncExchange::decode_response(bytes).is_err(), "{bytes:?}");
            assert!(BlobExchange::decode_request(bytes).is_err(), "{bytes:?}");
        }
        assert!(BlobExchange::decode_request(&BlobExchange::encode_request(&[3; 32])).is_ok());
        let unasked = v1::BlobResponse { found: false, data: vec![1] }.encode_to_vec();
        assert!(BlobExchange::decode_response(&unasked).is_err());
    }

    #[test]
    fn answers_are_cut_to_what_was_asked() {
        let response = || v1::SyncResponse { head: 9, items: vec![v1::LedgerItem::default(); 100] };
        let request = |max| v1::SyncRequest { from: 1, max };
        assert_eq!(SyncExchange::fit(&request(3), response()).items.len(), 3);
        assert_eq!(SyncExchange::fit(&request(u32::MAX), response()).items.len(), SYNC_ITEMS_MAX);
        assert!(SyncExchange::check(&request(3), &response()).is_err());
        assert!(SyncExchange::check(&request(0), &v1::SyncResponse::default()).is_ok());
        assert_eq!(BlobExchange::fit(&[0; 32], Some(vec![0; BLOB_BYTES_MAX + 1])), None);
    }

    #[test]
    fn a_wrong_blob_is_noticed() {
        let hash = *blake3::hash(b"right").as_bytes();
        assert!(BlobExchange::check(&hash, &Some(b"right".to_vec())).is_ok());
        assert!(BlobExchange::check(&hash, &Some(b"wrong".to_vec())).is_err());
        assert!(BlobExchange::check(&hash, &None).is_ok());
    }
}
