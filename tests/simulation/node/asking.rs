//! What a slot asks of the journal: tasks of their own, each of whose steps is a place where the scheduler may choose.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use souk::actors::runtime::envelope::{AskError, Envelope};
use souk::actors::runtime::history::ask_error;
use souk::actors::runtime::slot::load;
use souk::actors::runtime::slot::output::Lookup;
use souk::persistence::{EntityKey, Journal};

use super::{Mail, Node, OWED_PAGE, WAKE_PAGE};
use crate::mutations::Mutation;
use crate::task::{Task, yield_once};

impl Node {
    pub(super) fn load(&mut self, slot: usize, generation: u64, key: EntityKey, settle: bool) {
        let seat = &mut self.seats[slot];
        let (journal, gathering, kinds) = (self.journal.clone(), self.gathering.clone(), self.common.kinds);
        let (number, receipts) = (seat.shared.slot, self.common.limits.receipts);
        seat.tasks.push(Task::new(async move {
            if settle {
                gathering.settle(number, generation).await;
            }
            let result = match kinds.by_number(key.kind) {
                Some(spec) => {
                    let loading = AssertUnwindSafe(load(&journal, spec, number, &key, &receipts)).catch_unwind();
                    loading.await.unwrap_or(Err(AskError::Panicked))
                }
                None => Err(AskError::UnknownKind),
            };
            Mail::Loaded { generation, key, result: Box::new(result) }
        }));
    }

    pub(super) fn find_receipt(&mut self, slot: usize, generation: u64, lookup: Lookup) {
        let (number, journal) = (self.seats[slot].shared.slot, self.journal.clone());
        let gathering = self.gathering.clone();
        let mutation = self.mutation;
        self.seats[slot].tasks.push(Task::new(async move {
            gathering.settle(number, generation).await;
            let Envelope { key, request, .. } = &lookup.envelope;
            let mut found = journal.find_receipt(number, key, &request.0).await.map_err(ask_error);
            if mutation == Some(Mutation::LookupFindsNothing) {
                found = found.map(|_receipt| None);
            }
            Mail::ReceiptFound { generation, lookup: Box::new(lookup), found: Box::new(found) }
        }));
    }

    pub(super) fn read_owed(&mut self, slot: usize, generation: u64, after: Option<(i64, EntityKey)>) {
        let (number, journal) = (self.seats[slot].shared.slot, self.journal.clone());
        let forgets = self.mutation == Some(Mutation::OwedForgottenInRecovery);
        self.seats[slot].tasks.push(Task::new(async move {
            let mut rows = loop {
                if let Ok(rows) = journal.owed(number, after.clone(), OWED_PAGE).await {
                    break rows;
                }
                yield_once().await;
            };
            let is_last = rows.len() < OWED_PAGE;
            if forgets && after.is_none() && is_last {
                rows.pop();
            }
            Mail::OwedPage { generation, rows, is_last }
        }));
    }

    pub(super) fn read_wakes(&mut self, slot: usize, generation: u64, after: (i64, EntityKey)) {
        let (number, journal) = (self.seats[slot].shared.slot, self.journal.clone());
        let gathering = self.gathering.clone();
        self.seats[slot].tasks.push(Task::new(async move {
            gathering.settle(number, generation).await;
            let rows = journal.wakes(number, Some(after), WAKE_PAGE).await;
            Mail::WakePage { generation, rows: rows.ok() }
        }));
    }
}
