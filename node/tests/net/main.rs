//! The network over loopback: nodes that talk to each other, and peers that misbehave.

mod connections;
mod gossip;
mod hostile;
mod requests;
mod support;
