//! The keys of what a session owes: each once in its life.

use crate::owed_keys;

owed_keys! {
    pub enum OwedKey {
        "opened" => Opened,
        "closed" => Closed,
    }
}

#[test]
fn keys_keep_their_texts() {
    crate::actors::entity::owed_key::golden(&[(OwedKey::Opened, "opened"), (OwedKey::Closed, "closed")]);
}
