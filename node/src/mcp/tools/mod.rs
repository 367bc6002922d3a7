//! What a client can do, as tools with schemas.
//!
//! - `ledger` reads claims, members and where numbers come from; `board` reads what was said.
//! - `post` says something; `knowledge` writes specs, playbooks and flags.
//! - `work` measures and claims.
//!
//! A tool is a plain function from its arguments to a text. It blocks, asks the node through the
//! client that the commands use, and knows nothing of the protocol.

mod board;
mod knowledge;
mod ledger;
mod post;
mod work;

use super::permissions::{Grant, Permission};
use super::quote::quoted;
use crate::cli::board::{TIMEOUT, checked_id};
use crate::cli::client::Client;
use anyhow::Context;
use assay_protocol::ids::ClaimId;
use rmcp::handler::server::common::schema_for_input;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) use ledger::ranked;

/// Fewest digits of an abbreviated id.
const PREFIX_DIGITS: &str = "the first 6 or more digits of its id";

/// Who calls, and the node that answers.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The node's home folder.
    pub(super) home: PathBuf,
    /// What the client may do.
    pub(super) grant: Grant,
}

impl Caller {
    /// The running node.
    pub(super) fn node(&self) -> anyhow::Result<Client> {
        Client::find(&self.home, TIMEOUT)
    }

    /// What the node answers at a path, quoted.
    pub(super) fn quoted(&self, path: &str) -> anyhow::Result<String> {
        quoted(&self.node()?.get::<Value>(path)?)
    }

    /// The claim that an id, or the beginning of one, names.
    fn claim(&self, text: &str) -> anyhow::Result<ClaimId> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let entry: Value = self.node()?.get(&format!("/api/claims/{}", checked_id(text)?))?;
        let id = entry.pointer("/ledger/id").and_then(Value::as_str).unwrap_or_default();
        id.parse().ok().context("the node's answer has no claim; is it another version?")
    }

    /// As [`Self::claim`], where there may be none.
    fn optional_claim(&self, text: Option<&String>) -> anyhow::Result<Option<ClaimId>> {
        text.map(|text| self.claim(text)).transpose()
    }
}

type Run = dyn Fn(&Caller, JsonObject) -> anyhow::Result<String> + Send + Sync;

/// A tool and what it needs.
pub(super) struct Definition {
    /// What a client must be allowed to see and call it.
    pub(super) permission: Permission,
    /// Name, description, schema.
    pub(super) tool: Tool,
    run: Box<Run>,
}

impl Definition {
    /// A tool from its name, its description and what it does with its arguments.
    fn new<A: DeserializeOwned + JsonSchema + 'static>(
        permission: Permission,
        name: &'static str,
        description: &'static str,
        run: impl Fn(&Caller, A) -> anyhow::Result<String> + Send + Sync + 'static,
    ) -> Self {
        let schema = Arc::new(plain_schema::<A>());
        let hints = match permission {
            Permission::Read => ToolAnnotations::new().read_only(true).idempotent(true),
            _ => ToolAnnotations::new().read_only(false).destructive(false).open_world(true),
        };
        let tool = Tool::new(name, description, Arc::clone(&schema)).with_annotations(hints);
        let run = move |caller: &Caller, given: JsonObject| {
            let arguments = arguments(&schema, given)?;
            run(caller, arguments)
        };
        Self { permission, tool, run: Box::new(run) }
    }

    /// Calls it.
    ///
    /// # Errors
    ///
    /// What to tell the client.
    pub(super) fn call(&self, caller: &Caller, given: JsonObject) -> anyhow::Result<String> {
        (self.run)(caller, given)
    }
}

/// All tools, in the order in which they are listed.
pub(super) fn all() -> Vec<Definition> {
    let parts = [ledger::tools(), board::tools(), post::tools(), knowledge::tools(), work::tools()];
    parts.into_iter().flatten().collect()
}

/// No arguments.
#[derive(Debug, Deserialize, JsonSchema)]
struct Nothing {}

/// The arguments of a tool, or which of them is wrong.
fn arguments<A: DeserializeOwned>(schema: &JsonObject, mut given: JsonObject) -> anyhow::Result<A> {
    given.retain(|_, value| !value.is_null());
    let known = schema.get("properties").and_then(Value::as_object);
    let names = || known.into_iter().flat_map(|known| known.keys().map(String::as_str));
    if let Some(other) = given.keys().find(|name| !names().any(|known| known == name.as_str())) {
        let names: Vec<&str> = names().collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        anyhow::bail!("there is no argument {:?}; there are: {names}", crate::text::cut(other, 40));
    }
    serde_json::from_value(Value::Object(given)).context("the arguments do not fit the schema")
}

/// The schema of a tool's arguments. Whatever may be left out may also be null, which the schema says
/// by `nullable` instead of a second type: several clients know one type a field only, and smolagents
/// asks for everything that is not nullable.
fn plain_schema<A: JsonSchema + 'static>() -> JsonObject {
    // The root of every type here is a struct, so there is a schema.
    let mut schema = schema_for_input::<A>().map(|schema| (*schema).clone()).unwrap_or_default();
    schema.remove("$schema");
    // Some clients do not expect a schema without any.
    schema.entry("properties").or_insert_with(|| Value::Object(JsonObject::new()));
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        let Some(property) = property.as_object_mut() else { continue };
        if !required.iter().any(|required| required.as_str() == Some(name)) {
            property.insert("nullable".to_owned(), Value::Bool(true));
        }
        // Formats like `uint64` are no part of JSON Schema.
        property.remove("format");
        if property.get("default").is_some_and(Value::is_null) {
            property.remove("default");
        }
        if let Some(Value::Array(types)) = property.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                property.insert("type".to_owned(), only);
            }
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_tool_says_what_it_takes() {
        let tools = all();
        let names: BTreeSet<_> = tools.iter().map(|definition| &definition.tool.name).collect();
        assert_eq!(names.len(), tools.len(), "a name twice");
        for Definition { tool, .. } in &tools {
            assert!(tool.description.as_ref().is_some_and(|text| text.len() > 20), "{}", tool.name);
            let schema = Value::Object((*tool.input_schema).clone());
            assert_eq!(schema["type"], "object", "{}", tool.name);
            assert!(schema["properties"].is_object(), "{}", tool.name);
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let place = format!("{}.{name}: {property}", tool.name);
                assert!(property["type"].is_string(), "{place}");
                assert!(property["description"].as_str().is_some_and(|t| t.len() > 4), "{place}");
                assert!(property.get("format").is_none(), "{place}");
                let required = schema["required"].as_array();
                let required =
                    required.is_some_and(|all| all.contains(&Value::from(name.as_str())));
                assert_eq!(property["nullable"] == true, !required, "{place}");
            }
            assert!(!schema.to_string().contains("$ref"), "{schema}");
        }
        // Reading changes nothing, whatever else does.
        for Definition { tool, permission, .. } in &tools {
            let reads = tool.annotations.as_ref().and_then(|hints| hints.read_only_hint);
            assert_eq!(reads, Some(*permission == Permission::Read), "{}", tool.name);
        }
    }

    #[test]
    fn arguments_that_do_not_fit_are_named() {
        #[derive(Debug, Deserialize, JsonSchema)]
        struct Two {
            /// The first.
            first: String,
            /// The second.
            second: Option<u32>,
        }
        let schema = plain_schema::<Two>();
        let read = |value: Value| {
            let given = value.as_object().unwrap().clone();
            arguments::<Two>(&schema, given).map_err(|error| format!("{error:#}"))
        };
        let good = read(serde_json::json!({ "first": "a", "second": null })).unwrap();
        assert!(read(serde_json::json!({ "first": null })).unwrap_err().contains("first"));
        assert_eq!((good.first.as_str(), good.second), ("a", None));
        let wrong = read(serde_json::json!({ "first": "a", "thrid": 1 })).unwrap_err();
        assert!(wrong.contains("\"thrid\"") && wrong.contains("first, second"), "{wrong}");
        assert!(read(serde_json::json!({})).unwrap_err().contains("first"));
        assert!(read(serde_json::json!({ "first": "a", "second": -1 })).is_err());
    }
}
