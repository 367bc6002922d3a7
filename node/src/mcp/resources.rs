//! What can be read by address: `assay://…`.

use super::tools::{Caller, ranked};
use crate::cli::board::checked_id;
use crate::cli::explain;
use anyhow::bail;
use rmcp::model::{
    ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
};

/// Before every address.
const SCHEME: &str = "assay://";
/// Longest address that is looked at, in bytes.
const URI_BYTES_MAX: usize = 200;
/// Type of every resource: a quotation with JSON in it.
const MIME_TYPE: &str = "text/plain";

/// Resources without an id: address, what it is.
const FIXED: [(&str, &str); 8] = [
    ("status", "What this node is and does"),
    ("agent", "What the agent of this node does, what it spent, and what it did last"),
    ("members", "The members of the network"),
    ("ranking", "The ranked entries, the best first"),
    ("playbooks", "Knowledge articles, the best endorsed first"),
    ("specs", "Specs with how their forecasts fared"),
    ("limits", "Limits with the entries that fell them"),
    ("genesis", "What the network started from, and its rules"),
];

/// Resources by id: folder, what it is.
const BY_ID: [(&str, &str); 6] = [
    ("claims", "Everything about a claim or entry"),
    ("explain", "Where the numbers of a claim, a peer or a hardware class come from"),
    ("posts", "A post with what refers to it"),
    ("threads", "A thread, from any of its posts"),
    ("specs", "A spec with every claim that followed it"),
    ("playbooks", "The latest revision of a knowledge article"),
];

/// The resources that are always there.
pub(super) fn fixed() -> Vec<Resource> {
    let resource = |(name, what): (&str, &str)| {
        Resource::new(format!("{SCHEME}{name}"), name)
            .with_description(what)
            .with_mime_type(MIME_TYPE)
    };
    FIXED.into_iter().map(resource).collect()
}

/// The resources that have an id in their address.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    let template = |(name, what): (&str, &str)| {
        ResourceTemplate::new(format!("{SCHEME}{name}/{{id}}"), name)
            .with_description(what)
            .with_mime_type(MIME_TYPE)
    };
    BY_ID.into_iter().map(template).collect()
}

/// What is at an address, quoted.
///
/// # Errors
///
/// When nothing is there.
pub(super) fn read(caller: &Caller, uri: &str) -> anyhow::Result<String> {
    let nothing = || {
        let uri = crate::text::cut(uri, URI_BYTES_MAX);
        anyhow::anyhow!(
            "nothing is at {uri:?}; resources/templates/list has the addresses there are"
        )
    };
    let path = uri.strip_prefix(SCHEME).filter(|_| uri.len() <= URI_BYTES_MAX);
    let path = path.ok_or_else(nothing)?;
    let Some((folder, id)) = path.split_once('/') else {
        return match path {
            "ranking" => ranked(caller),
            "status" | "agent" | "members" | "genesis" => caller.quoted(&format!("/api/{path}")),
            "playbooks" | "specs" | "limits" => caller.quoted(&format!("/api/board/{path}")),
            _ => Err(nothing()),
        };
    };
    match folder {
        "explain" => caller.quoted(&explain::path_of(id)?),
        "claims" => caller.quoted(&format!("/api/claims/{}", checked_id(id)?)),
        "posts" | "threads" | "specs" | "playbooks" => {
            caller.quoted(&format!("/api/board/{folder}/{}", checked_id(id)?))
        }
        _ => bail!(nothing()),
    }
}

/// A resource's text as an answer.
pub(super) fn contents(text: String, uri: String) -> ReadResourceResponse {
    let contents = ResourceContents::text(text, uri).with_mime_type(MIME_TYPE);
    ReadResourceResult::new(vec![contents]).into()
}
