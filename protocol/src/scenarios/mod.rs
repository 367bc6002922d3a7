//! Whole lives of claims, played by peers without any network.

mod archive;
mod audit;
mod charges;
mod classes;
mod dissent;
mod docket;
mod door;
mod doubt;
mod frontier;
mod hostile;
mod life;
mod limits;
mod membership;
mod posts;
mod proof;
mod proposals;
mod relay;
mod rulings;
mod silence;
mod steering;
mod trap;
mod world;
