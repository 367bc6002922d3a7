//! A network on one machine: real node processes on loopback, real claims, real measurements.
//!
//! | module | holds |
//! |---|---|
//! | [`layout`] | folders, keys, ports and the genesis of a local network |
//! | [`nodes`] | starting, watching and stopping the node processes |
//! | [`claims`] | the claims that the demonstration makes, and what must become of them |
//! | [`attack`] | recipes that cheat, and what the gates make of them |
//! | [`reversals`] | three things held to be settled, measured again |
//! | [`sim`] | what the rules let pass and miss, over many simulated claims |
//! | [`scenario`] | the relay, the debunking, the ruling and the outside agent |
//! | [`search`] | a node's agent finds, claims and gets ledgered what a poor baseline leaves |
//! | [`ledger`] | a ledger of many entries to measure auditors with |
//! | [`up`] | `assay-testnet up`, from an empty folder to an audited ledger |

pub mod attack;
pub mod claims;
pub mod layout;
pub mod ledger;
pub mod nodes;
pub mod reversals;
pub mod scenario;
pub mod search;
pub mod sim;
pub mod up;
