//! The agent's planner, and texts that want to be obeyed.

mod corpus;
mod injections;
mod planner;
mod support;
