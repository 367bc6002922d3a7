//! Everything of Assay that touches the world: network, storage, workers, command line, pages.
//!
//! | module | holds |
//! |---|---|
//! | [`home`] | identity and the folder that keeps everything |
//! | [`daemon`] | start-up order, supervised tasks, shutdown |
//! | [`driver`] | interprets the effects of `assay-protocol`; connects network, ordering, ledger |
//! | [`ledger`], [`ordering`], [`storage`] | the shared state, what the ordering engine needs of it, sled and blobs |
//! | [`net`], [`fetch`] | libp2p, and files by hash over it |
//! | [`consensus`] | the host of the ordering engine |
//! | [`seat`], [`measure`], [`author`], [`diagnose`] | measuring claims in a worker process, making them, refusing those that nobody can load |
//! | [`roles`] | what the node is good for, from what it measures about itself |
//! | [`rulings`] | what a drawn seat finds about a flag, and the flags that a node raises by itself |
//! | [`nulls`] | null claims, by hand and by lot |
//! | [`checkpoints`], [`witness`] | signed heads for witnesses to cosign, and being a witness |
//! | [`board`], [`text`] | what was said, found again by thread, name and word; and made safe to show |
//! | [`api`] | the pages and the local JSON API |
//! | [`agent`] | the loop that searches and claims by itself |
//! | [`serve`] | chat templates, tool calls, the OpenAI-compatible server |
//! | [`mcp`] | the running node as tools for agents, over the Model Context Protocol |
//! | [`cli`] | the commands |
//!
//! No rule of the network lives here: what may be believed is decided in `assay-protocol`.

pub mod agent;
pub mod api;
pub mod author;
pub mod board;
pub mod checkpoints;
pub mod cli;
pub mod consensus;
pub mod daemon;
pub mod diagnose;
pub mod driver;
pub mod embedded;
pub mod explain;
pub mod fetch;
pub mod home;
mod host;
pub mod ledger;
pub mod mcp;
pub mod measure;
pub mod net;
pub mod nulls;
pub mod ordering;
pub mod roles;
pub mod rulings;
pub mod seat;
pub mod serve;
mod statement;
pub mod storage;
pub mod text;
pub mod witness;
