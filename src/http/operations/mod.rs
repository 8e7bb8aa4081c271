//! What operators and their programs ask for: health, metrics, the machinery.

pub mod audit;
pub mod cluster;
pub mod consumers;
pub mod entities;
pub mod health;
pub mod operators;
