//! Blocks and blobs on request.

use assay_node::net::NetError;
use assay_proto::limits::{BLOB_BYTES_MAX, SYNC_ITEMS_MAX};
use libp2p::PeerId;

use crate::support::{QUIC, TCP, config, start, start_with_blobs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_arrive_verified() {
    let largest: Vec<u8> = (0..BLOB_BYTES_MAX).map(|i| (i % 251) as u8).collect();
    let blobs = vec![b"small".to_vec(), Vec::new(), largest];
    for listen in [TCP, QUIC] {
        let server = start_with_blobs(config(1, listen), blobs.clone()).await;
        let mut client = config(2, listen);
        client.bootstrap = vec![server.address().await];
        let client = start(client).await;
        client.has_peers(1).await;
        for blob in &blobs {
            let hash = *blake3::hash(blob).as_bytes();
            let fetched = client.handle.fetch_blob(server.peer(), hash).await.unwrap();
            assert_eq!(fetched.as_ref(), Some(blob));
        }
        assert_eq!(client.handle.fetch_blob(server.peer(), [9; 32]).await.unwrap(), None);
        // More at once than the server takes from one peer: they wait for each other.
        let hash = *blake3::hash(b"small").as_bytes();
        let many = (0..20).map(|_| client.handle.fetch_blob(server.peer(), hash));
        let served = futures::future::join_all(many).await;
        assert!(served.iter().all(Result::is_ok), "{served:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_are_synced_and_requests_refused() {
    let server = start(config(1, TCP)).await;
    let mut client = config(2, TCP);
    client.bootstrap = vec![server.address().await];
    let client = start(client).await;
    client.has_peers(1).await;

    let answer = client.handle.sync(server.peer(), 7, 3).await.unwrap();
    assert_eq!((answer.head, answer.items.len()), (7, 3));
    let nothing = client.handle.sync(server.peer(), 0, 0).await.unwrap();
    assert_eq!((nothing.head, nothing.items.len()), (0, 0));
    let most = client.handle.sync(server.peer(), 7, 1000).await.unwrap();
    assert_eq!(most.items.len(), SYNC_ITEMS_MAX);

    let refused = client.handle.sync(server.peer(), 1000, 1).await;
    assert!(matches!(refused, Err(NetError::Refused { .. })), "{refused:?}");
    let unknown = client.handle.sync(PeerId::random(), 1, 1).await;
    assert!(matches!(unknown, Err(NetError::Unreachable { .. })), "{unknown:?}");
    assert_eq!(client.handle.counters().offences, 0);
}
