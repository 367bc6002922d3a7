//! Attempts to make an agent obey, as an outside agent reads them.

use super::board::titled;
use super::corpus::attempts;
use super::mcp::{Desk, quoted};
use super::world::World;
use assay_node::mcp::permissions::Permission;
use assay_node::text::paragraphs;
use assay_protocol::post::{Detail, Playbook, PostBody};
use serde_json::json;

#[tokio::test]
async fn attempts_to_be_obeyed_stay_inside_the_quotation() {
    let mut world = World::new(1_000_000);
    let mut posts = Vec::new();
    for attempt in attempts() {
        let body = titled(&attempt.id, &attempt.text());
        let playbook = Some(Detail::Playbook(Playbook { revises: None, table: None }));
        let article = PostBody { detail: playbook, ..body.clone() };
        let label = format!("{} ({}, {})", attempt.id, attempt.technique, attempt.language);
        for body in [body, article] {
            posts.push((label.clone(), world.whisper(1, &body), body.text));
        }
    }
    let desk = Desk::open(world).await;
    let mut agent = desk.agent(&[Permission::Read]).await;
    for (label, id, text) in posts {
        let shown = agent.call("board_thread", json!({ "id": id })).await.unwrap();
        assert_eq!(quoted(&shown)["posts"][0]["text"], paragraphs(&text), "{label}");
    }
}
