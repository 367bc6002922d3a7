//! Whole lives of claims, played by peers without any network.

mod audit;
mod door;
mod frontier;
mod life;
mod membership;
mod world;
