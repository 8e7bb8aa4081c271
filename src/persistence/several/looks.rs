//! Who owns the slots of the other servers, for the tables that each node reads several times in a second.
//!
//! Whoever reads the tables cannot wait for a server that hangs: a node that has not read them for half of its lease takes
//! nobody for lost, so nobody would take over a lost node's slots on the servers that are well. So a look at a server that
//! takes its time goes on by itself. Until it ends, the server's slots are shown as they were known; what it finds then is
//! taken by whoever reads next, but for what is known to be newer.

use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, join_all};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::super::StoreError;
use super::super::membership::SlotOwner;
use super::server::Server;
use super::{PATIENCE, SeveralStore};

/// How long the tables wait for a server of which something is known. With it they are read twice within half a lease.
const WAIT: Duration = Duration::from_millis(400);

type Look = Shared<BoxFuture<'static, Result<Vec<SlotOwner>, StoreError>>>;

/// The looks that are under way, by server: one at most.
pub struct Looks(Mutex<Vec<Option<Look>>>);

/// What a look has found.
pub struct Seen {
    pub server: usize,
    pub owners: Result<Vec<SlotOwner>, StoreError>,
    /// It was begun for an earlier reader, so what it says may be older than what is known.
    pub is_late: bool,
}

impl Looks {
    pub fn new(servers: usize) -> Looks {
        Looks(Mutex::new(vec![None; servers]))
    }

    /// The look that is under way, or a new one; and whether it is late.
    fn begin(&self, at: usize, server: &Server) -> (Look, bool) {
        let mut looks = self.0.lock();
        if let Some(look) = &looks[at] {
            return (look.clone(), true);
        }
        let server = server.clone();
        let looking = tokio::spawn(async move {
            let part = server.part.clone();
            if let Ok(owners) = timeout(PATIENCE, server.ask(part.slot_owners())).await {
                return owners;
            }
            let why = format!("server {at} of the store has not answered for {} ms", PATIENCE.as_millis());
            server.is_silent(&why);
            Err(StoreError::Unavailable(why))
        });
        let ended = || Err(StoreError::Unavailable("the look has ended".to_owned()));
        let look = looking.map(move |owners| owners.unwrap_or_else(|_| ended())).boxed().shared();
        looks[at] = Some(look.clone());
        (look, false)
    }

    fn ended(&self, at: usize) {
        self.0.lock()[at] = None;
    }
}

impl SeveralStore {
    /// Looks at all servers but the first. An error: one of them is damaged.
    pub(super) async fn owners_elsewhere(&self) -> Result<Vec<Seen>, StoreError> {
        let wait = if self.known.lock().is_some() { WAIT } else { PATIENCE };
        let looking = self.servers.iter().enumerate().skip(1).map(|(at, server)| async move {
            let (look, is_late) = self.looks.begin(at, server);
            match timeout(wait, look).await {
                Ok(owners) => {
                    self.looks.ended(at);
                    Seen { server: at, owners, is_late }
                }
                Err(_) => {
                    let why = format!("server {at} of the store does not say in time who owns its slots");
                    Seen { server: at, owners: Err(StoreError::Unavailable(why)), is_late: false }
                }
            }
        });
        let seen = join_all(looking).await;
        for one in &seen {
            if let Err(error @ (StoreError::Damaged(_) | StoreError::Fatal(_))) = &one.owners {
                return Err(error.clone());
            }
        }
        Ok(seen)
    }
}
