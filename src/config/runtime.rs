//! The settings of what runs entities, and of what entities decide by. Their types stand where they are used.

use super::Config;
use super::reader::Reader;
use crate::actors::kinds::Kinds;
use crate::actors::policy::{
    CartPolicy, OrderPolicy, PaymentPolicy, Policy, ReservationPolicy, SessionPolicy, StockPolicy,
};
use crate::actors::runtime::RuntimeConfig;
use crate::actors::runtime::slot::{ReceiptLimits, SlotLimits};
use crate::actors::runtime::writer::WriterLimits;
use crate::cluster::NodeId;

pub fn journal(r: &mut Reader<'_>) -> WriterLimits {
    WriterLimits {
        batch_records_max: r.size("journal.batch_records_max", 1..=1_000_000),
        batch_bytes_max: r.size("journal.batch_bytes_max", 65_536..=1 << 30),
        queue_records_max: r.size("journal.queue_records_max", 16..=100_000_000),
        queue_bytes_max: r.size("journal.queue_bytes_max", 65_536..=1 << 40),
    }
}

pub fn slots(r: &mut Reader<'_>) -> SlotLimits {
    SlotLimits {
        mailbox_max: r.size("slots.mailbox_max", 16..=1_000_000),
        turn_messages_max: r.size("slots.turn_messages_max", 1..=1_000_000),
        loading_messages_max: r.size("slots.loading_messages_max", 1..=1_000_000),
        loading_entities_max: r.size("slots.loading_entities_max", 1..=1_000_000),
        resident_bytes_max: r.size("slots.resident_bytes_max", 1 << 20..=1 << 44),
        idle_ms: r.ms("slots.idle_ms"),
        snapshot_events: r.number("slots.snapshot_events", 1..=1_000_000),
        owed_overdue_ms: r.ms("slots.owed_overdue_ms"),
        panics_max: r.number("slots.panics_max", 1..=1_000_000),
        quarantine_ms: r.ms("slots.quarantine_ms"),
        receipts: receipts(r),
    }
}

fn receipts(r: &mut Reader<'_>) -> ReceiptLimits {
    ReceiptLimits {
        clients_max: r.size("slots.receipts.clients_max", 16..=1_000_000),
        owed_max: r.size("slots.receipts.owed_max", 16..=100_000_000),
        swept_from: r.size("slots.receipts.swept_from", 1..=1_000_000),
        filters_max: r.size("slots.receipts.filters_max", 0..=1_024),
        lookups_max: r.size("slots.receipts.lookups_max", 1..=1_000_000),
    }
}

pub fn cart(r: &mut Reader<'_>) -> CartPolicy {
    CartPolicy { ttl_ms: r.ms("cart.ttl_ms") }
}

pub fn reservation(r: &mut Reader<'_>) -> ReservationPolicy {
    ReservationPolicy { ttl_ms: r.ms("reservation.ttl_ms") }
}

pub fn order(r: &mut Reader<'_>) -> OrderPolicy {
    OrderPolicy { decide_ms: r.number("order.decide_ms", 2..=55_000) }
}

pub fn payment(r: &mut Reader<'_>) -> PaymentPolicy {
    PaymentPolicy { timeout_ms: r.number("payment.timeout_ms", 1..=50_000) }
}

pub fn stock(r: &mut Reader<'_>) -> StockPolicy {
    StockPolicy { low_at: r.number("stock.low_at", 0..=1_000_000) }
}

impl Config {
    /// What decisions of entities depend on.
    pub fn policy(&self) -> Policy {
        let Config { cart, reservation, order, payment, stock, auth, .. } = self.clone();
        let auth = SessionPolicy { refresh_ttl_ms: auth.refresh_ttl_ms, refresh_grace_ms: auth.refresh_grace_ms };
        Policy { cart, reservation, order, payment, stock, auth }
    }

    /// How this node's runtime is set up.
    pub fn runtime(&self, node: NodeId, kinds: &'static Kinds) -> RuntimeConfig {
        let (slots, journal) = (self.slots.clone(), self.journal.clone());
        RuntimeConfig { node, kinds, policy: self.policy(), slots, journal }
    }
}
