//! What operators and their programs ask for: health, metrics, the machinery.

pub mod consumers;
pub mod health;
pub mod operators;
