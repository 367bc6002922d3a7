//! What pages say where there is nothing to show, and on every kind of entry: as it was when somebody last
//! looked.
//!
//! What depends on keys, hashes or the clock is masked. After a change that is meant, look at the
//! difference and take it over with `INSTA_UPDATE=always`.

use super::Site;
use super::world::World;
use axum::http::StatusCode;
use insta::assert_snapshot;

/// Shortest run of hexadecimal digits that is masked.
const DIGITS_MIN: usize = 8;

/// What stands between two words of a text, both left out; panics where they are not there.
fn within<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap();
    rest.split_once(end).unwrap().0
}

/// The content of a page with every element on a line of its own, ids and times masked.
fn content(page: &str) -> String {
    let main = within(page, "<main id=\"main\" tabindex=\"-1\">", "</main>");
    let mut parts = main.split("<time ");
    let mut shown = parts.next().unwrap().to_owned();
    for part in parts {
        let (_, rest) = part.split_once("</time>").unwrap();
        shown.extend(["<time>", rest]);
    }
    let mut masked = String::new();
    let mut digits = String::new();
    for c in shown.chars().chain(['\n']) {
        if c.is_ascii_hexdigit() {
            digits.push(c);
            continue;
        }
        let is_id = digits.len() >= DIGITS_MIN && digits.bytes().any(|byte| byte.is_ascii_digit());
        masked.push_str(if is_id { "ID" } else { &digits });
        digits.clear();
        masked.push(c);
    }
    masked.trim_end().replace("><", ">\n<").replace(">\n</", "></")
}

#[tokio::test]
async fn empty_pages_look_as_they_did() {
    let site = Site::new(World::new(1_000));
    for path in ["/", "/board", "/board/interactions", "/lineage"] {
        let (status, page) = site.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let name = path.trim_start_matches('/').replace('/', "-");
        let name = if name.is_empty() { "challenge" } else { &name };
        assert_snapshot!(format!("empty-{name}"), content(&page));
    }
}

#[tokio::test]
async fn error_pages_look_as_they_did() {
    let site = Site::new(World::new(1_000));
    for (name, path) in [("address", "/nowhere"), ("claim", "/claims/00000000")] {
        let (status, page) = site.get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_snapshot!(format!("no-such-{name}"), content(&page));
    }
}

#[tokio::test]
async fn pages_of_claims_look_as_they_did() {
    let (world, claims) = World::lively(1_000_000);
    let site = Site::new(world);
    let kinds =
        [(0, "accepted"), (1, "refuted"), (5, "undecided"), (6, "measuring"), (7, "waiting")];
    for (index, kind) in kinds {
        let (status, page) = site.get(&format!("/claims/{}", claims[index])).await;
        assert_eq!(status, StatusCode::OK, "{kind}");
        assert_snapshot!(format!("claim-{kind}"), content(&page));
    }
}
