//! Measuring through the real worker process, on whatever adapter this machine has.
//!
//! Every test has `measure` in its name: tests on an adapter run one at a time.

mod commands;
mod confine;
mod gates;
mod limits;
mod support;
