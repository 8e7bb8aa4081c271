//! The keys of what a cart owes.

use crate::actors::values::{OrderId, RequestId};
use crate::owed_keys;

owed_keys! {
    pub enum OwedKey {
        /// To the customer: the cart is theirs.
        "cart_opened" => CartOpened,
        "cart_closed" => CartClosed,
        "place" => Place { order: OrderId },
        /// A merge, asked of the source.
        "surrender" => Surrender { merge: RequestId },
        /// The source's lines, for the target.
        "take_lines" => TakeLines { merge: RequestId },
        /// What became of the merge, for the source.
        "conclude" => Conclude { merge: RequestId },
    }
}

#[test]
fn keys_keep_their_texts() {
    let merge = RequestId([1; 16]);
    crate::actors::entity::owed_key::golden(&[
        (OwedKey::CartOpened, "cart_opened"),
        (OwedKey::CartClosed, "cart_closed"),
        (OwedKey::Place { order: OrderId(7) }, "place:ord_0000000000000000000000000w"),
        (OwedKey::Surrender { merge }, "surrender:req_040g2081040g2081040g208104"),
        (OwedKey::TakeLines { merge }, "take_lines:req_040g2081040g2081040g208104"),
        (OwedKey::Conclude { merge }, "conclude:req_040g2081040g2081040g208104"),
    ]);
}
