//! The keys of what a user owes.

use crate::actors::values::SessionId;
use crate::owed_keys;

owed_keys! {
    pub enum OwedKey {
        /// The one claim that a user ever makes: of its login name.
        "claim" => Claim,
        /// To the keyring: that the user is an administrator, or is none any more. Notices are counted.
        "keyring" => Keyring { number: u32 },
        "revoke" => Revoke { session: SessionId },
    }
}

#[test]
fn keys_keep_their_texts() {
    crate::actors::entity::owed_key::golden(&[
        (OwedKey::Claim, "claim"),
        (OwedKey::Keyring { number: 3 }, "keyring:3"),
        (OwedKey::Revoke { session: SessionId(7) }, "revoke:ses_0000000000000000000000000w"),
    ]);
}
