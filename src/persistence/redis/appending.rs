//! Carrying an append through: sent, and sent again when its answer was lost.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::append;
use super::keys::Keys;
use super::link::{Link, Trouble};
use crate::persistence::{Batch, Refusal, Slot, StoreError};

/// What an append needs. It has a connection of its own.
pub(super) struct Appending {
    pub slots: Slot,
    pub keys: Keys,
    pub link: Link,
}

impl Appending {
    pub async fn append(&self, batch: Batch) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        let (groups, mut refused): (_, BTreeMap<Slot, Refusal>) = append::group(&batch, self.slots);
        if !groups.is_empty() {
            refused.extend(self.send(&batch.owner, &groups).await?);
        }
        Ok(refused.into_iter().collect())
    }

    /// Sends a batch's calls. After a lost connection they are sent again, once: a slot that they were written
    /// to knows the call by its number and says so. Only what is refused then remains unknown, because it may have
    /// been written before whatever it is refused for.
    async fn send(&self, owner: &str, groups: &[append::Group<'_>]) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        let number: [u8; 16] = rand::random();
        let is_cluster = self.link.is_cluster().await.map_err(Trouble::of_write)?;
        let calls = append::calls(groups, is_cluster);
        let commands: Vec<redis::Cmd> =
            calls.iter().map(|groups| append::command(owner, &number, groups, &self.keys)).collect();
        let sent = Instant::now();
        let first = match self.once(&calls, &commands).await {
            Err(StoreError::Unknown(why)) => why,
            settled => return settled,
        };
        if sent.elapsed() > self.link.patience() {
            return Err(StoreError::Unknown(first));
        }
        match self.once(&calls, &commands).await {
            Ok(refused) if refused.is_empty() => Ok(refused),
            Err(error @ (StoreError::Fatal(_) | StoreError::Damaged(_))) => Err(error),
            Ok(_) | Err(StoreError::Unknown(_) | StoreError::Unavailable(_)) => Err(StoreError::Unknown(first)),
        }
    }

    async fn once(
        &self,
        calls: &[&[append::Group<'_>]],
        commands: &[redis::Cmd],
    ) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        let answers = self.link.ask_all(commands).await.map_err(Trouble::of_write)?;
        let all_refused = answers.iter().all(|answer| matches!(answer, Err(Trouble::Refused(_))));
        let mut refused = Vec::new();
        for (groups, answer) in calls.iter().zip(answers) {
            match answer {
                Ok(answer) => refused.extend(append::answers(groups, answer).map_err(Trouble::of_write)?),
                // One machine of several would not: its slots are refused, and the others' are written.
                Err(Trouble::Refused(why)) if !all_refused => refused.extend(append::unavailable(groups, &why)),
                Err(trouble) => return Err(trouble.of_write()),
            }
        }
        Ok(refused)
    }
}
