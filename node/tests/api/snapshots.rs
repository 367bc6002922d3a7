//! Pages and drawings of a fixed ledger, as they were reviewed. `INSTA_UPDATE=always` records them again; a
//! changed snapshot is reviewed like code.

use super::Site;
use super::talk::Talk;
use assay_protocol::block::header_hash;
use axum::http::StatusCode;
use std::collections::BTreeMap;

/// The site, and what differs from run to run with the words that stand for it: proofs of random outputs are
/// themselves random, and the hashes of headers with them.
fn site() -> (Site, Talk, BTreeMap<String, String>) {
    let talk = Talk::new(1_700_000_000_000);
    let mut names = BTreeMap::new();
    for item in &talk.world.items {
        let header = item.block.as_ref().unwrap().header.as_ref().unwrap();
        let hash = header_hash(header);
        names.insert(hash.to_string(), format!("[block {}]", header.height));
        names.insert(format!(">{}<", hash.short()), format!(">[block {}]<", header.height));
    }
    let again =
        Talk { world: talk.world.clone(), claims: talk.claims.clone(), thread: talk.thread };
    (Site::new(talk.world), again, names)
}

/// Markup with every element on a line of its own, and without what depends on the clock.
fn tidy(page: &str, names: &BTreeMap<String, String>) -> String {
    let mut text = page.to_owned();
    for (hash, name) in names {
        text = text.replace(hash, name);
    }
    let mut out = String::new();
    for (index, part) in text.split("</time>").enumerate() {
        // What stands between the end of a time's tag and its end is relative to now.
        let kept = match part.rfind("<time ") {
            Some(at) => {
                let end = part[at..].find('>').map_or(part.len(), |end| at + end + 1);
                format!("{}[relative]", &part[..end])
            }
            None => part.to_owned(),
        };
        if index > 0 {
            out.push_str("</time>");
        }
        out.push_str(&kept);
    }
    out.replace("><", ">\n<")
}

/// The part of a page from one mark to another.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let begin = page.find(from).unwrap_or_else(|| panic!("{from} in {page}"));
    let end = page[begin..].find(to).map(|end| begin + end + to.len());
    &page[begin..end.unwrap_or(page.len())]
}

async fn main_of(site: &Site, path: &str) -> String {
    let (status, page) = site.get(path).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    between(&page, "<main", "</main>").to_owned()
}

#[tokio::test]
async fn pages_look_as_reviewed() {
    let (site, talk, names) = site();
    let claim = talk.claims[2];
    for (name, path) in [
        ("ledger", "/ledger?from=6".to_owned()),
        ("block", "/ledger/1".to_owned()),
        ("peers", "/peers".to_owned()),
        ("peer", "/peers/curie".to_owned()),
        ("node", "/node".to_owned()),
        ("path", format!("/lineage/{claim}?q=nothing-has-this")),
    ] {
        let page = main_of(&site, &path).await;
        let page = match name {
            "path" => between(&page, "<section id=\"path\"", "</section>").to_owned(),
            _ => page,
        };
        insta::assert_snapshot!(name, tidy(&page, &names));
    }
}

#[tokio::test]
async fn drawings_look_as_reviewed() {
    let (site, _, names) = site();
    let challenge = main_of(&site, "/").await;
    let score = between(&challenge, "<section id=\"score\"", "</section>");
    insta::assert_snapshot!("score", tidy(score, &names));
    let pareto = between(&challenge, "<section id=\"pareto\"", "</section>");
    insta::assert_snapshot!("pareto", tidy(pareto, &names));
    let lineage = main_of(&site, "/lineage").await;
    let graph = between(&lineage, "<svg class=\"lineage-graph\"", "</div>");
    insta::assert_snapshot!("lineage", tidy(graph, &names));
}
