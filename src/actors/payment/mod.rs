//! Payments are not entities: a payment is a part of its order, and the money moves at a provider. Here
//! is the vocabulary that the two share.

pub mod types;
