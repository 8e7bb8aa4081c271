//! The shop's settings that decisions of entities depend on: sections of `config/default.toml`, under the same names.
//!
//! What a decision takes from here it writes into its events, so that a later change of a setting rewrites no history.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub cart: CartPolicy,
    pub reservation: ReservationPolicy,
    pub order: OrderPolicy,
    pub payment: PaymentPolicy,
    pub stock: StockPolicy,
    pub auth: SessionPolicy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct CartPolicy {
    /// How long a cart lives after its last change.
    pub ttl_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct ReservationPolicy {
    /// How long a SKU holds stock for an order that does not come back.
    pub ttl_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct OrderPolicy {
    /// How long an order waits for others, from being placed until all its stock is committed.
    pub decide_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct PaymentPolicy {
    /// How long an order waits for the payment provider before it gives up and voids.
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct StockPolicy {
    /// At or below this many available pieces a SKU is `low_stock`.
    pub low_at: u32,
}

/// Of the section `auth` what sessions decide by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPolicy {
    /// How long a refresh token is good for.
    pub refresh_ttl_ms: u64,
    /// How long the previous refresh token still works, for a reply that got lost.
    pub refresh_grace_ms: u64,
}
