//! The public face of a product slug: who holds it.

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{ProductId, Slug};
use crate::stored_enum;

pub enum ProductSlug {}

impl Kind for ProductSlug {
    const NUMBER: u8 = 7;
    const NAME: &'static str = "slug";
    type Id = Slug;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;
}

stored_enum! {
    pub enum Command {
        (1, 1) => Claim { product: ProductId },
        /// Frees the slug if this product holds it. `moved`: it was the product's name, and the product has another one now;
        /// otherwise it was claimed for a change that did not come about.
        (2, 1) => Release { product: ProductId, moved: bool },
    }
}

stored_enum! {
    pub enum Reply {
        /// Also when the product held it before.
        (1, 1) => Claimed,
        /// Also when the product did not hold it.
        (2, 1) => Released,
    }
}

stored_enum! {
    pub enum Rejection {
        (1, 1) => Taken { by: ProductId },
    }
}

/// How many former holders a slug remembers.
pub const FORMER_MAX: usize = 8;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    pub product: Option<ProductId>,
    /// The products whose name it was before, the last one last: what was asked of them by this name is repeated by it,
    /// and while nobody holds the slug, it leads to the last one.
    pub former: Vec<ProductId>,
}

impl State {
    /// Whom a slug that nobody holds leads to: the product whose name it was last.
    pub fn moved_to(&self) -> Option<ProductId> {
        self.former.last().copied().filter(|_| self.product.is_none())
    }
}
