//! Which invoice is played next: the earliest of the file whose customer is not in the shop already. With one
//! client that is the order of the file.

use std::collections::{BTreeSet, HashMap};

use crate::cli::retail::Invoice;

pub struct Schedule {
    /// Indexes of invoices that may be played now: of each customer at most one.
    ready: BTreeSet<usize>,
    /// The same customer's next invoice that is to be played.
    next: HashMap<usize, usize>,
    stopped: bool,
}

impl Schedule {
    /// For those of `invoices` that are not `done`.
    pub fn new(invoices: &[Invoice], done: impl Fn(usize) -> bool) -> Schedule {
        let mut schedule = Schedule { ready: BTreeSet::new(), next: HashMap::new(), stopped: false };
        let mut latest: HashMap<u32, usize> = HashMap::new();
        for (index, invoice) in invoices.iter().enumerate().filter(|(index, _)| !done(*index)) {
            let before = invoice.customer.and_then(|customer| latest.insert(customer, index));
            match before {
                Some(before) => {
                    schedule.next.insert(before, index);
                }
                None => {
                    schedule.ready.insert(index);
                }
            }
        }
        schedule
    }

    /// The next invoice. Its customer gets no other one until [`Self::played`]. `None`: nothing can be played now, and
    /// what becomes possible later is taken by the workers that are still playing.
    pub fn take(&mut self) -> Option<usize> {
        if self.stopped { None } else { self.ready.pop_first() }
    }

    pub fn played(&mut self, index: usize) {
        self.ready.extend(self.next.remove(&index));
    }

    /// Nothing more is given out.
    pub fn stop(&mut self) {
        self.stopped = true;
    }
}
