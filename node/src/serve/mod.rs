//! A model for people and programs: chat templates, tool calls, and an OpenAI-compatible server.
//!
//! ```text
//!  request ─► openai: fields checked ─► chat: template rendered ─► prompt tokens
//!                                                                     │ Task
//!  reply ◄── openai: JSON or SSE ◄── Update ◄── worker: one thread ◄──┘ bounded queue
//!                                                 │
//!            Generate (engine, prefix cache) ◄────┤ Chooser: penalties, grammar, sampler, logprobs
//!                                                 └ Assembler: bytes ─► UTF-8 ─► OutputParser ─► stop
//! ```
//!
//! One request runs at a time, and further ones wait in a queue with an end. The engine never waits for
//! a client: each request has room for all its updates, and who goes away is noticed at the next token.
//! What users and tools write can never become a marker of the template ([`chat`]); what the model
//! writes is told apart by [`output`]. The text side knows nothing of HTTP, so `assay chat` uses it too.

pub mod assemble;
pub mod chat;
pub(crate) mod connections;
pub mod defaults;
pub mod grammar;
mod http;
pub mod metrics;
pub mod model;
mod openai;
pub mod output;
pub mod sampling;
mod service;
pub mod text;
pub mod worker;

pub use http::{Access, BODY_BYTES_MAX, router, serve};
pub use service::{Service, ServiceOptions};
