//! Serving a model: the protocol against a scripted model, and against nano on the engine.

mod chat_command;
mod limits;
mod protocol;
mod python;
mod scripted;
mod server;
mod tools;
