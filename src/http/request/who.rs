//! Who asks, once that has been established.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::idempotency;
use crate::actors::entity::Caller;
use crate::actors::values::{CartId, OrderId, Role, SessionId, UserId};
use crate::http::Edge;

/// A signed-in user, with his roles as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub user: UserId,
    pub session: SessionId,
    pub roles: BTreeSet<Role>,
}

/// Whoever asks: extract it where guests may come too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    signed_in: Option<SignedIn>,
    user_text: String,
    cart_token: Option<String>,
    order_token: Option<String>,
}

impl Who {
    /// Somebody who has signed in, or a guest, with the tokens that came along.
    pub fn new(signed_in: Option<SignedIn>, cart_token: Option<String>, order_token: Option<String>) -> Who {
        let user_text = signed_in.as_ref().map(|it| it.user.to_string()).unwrap_or_default();
        Who(Arc::new(Inner { signed_in, user_text, cart_token, order_token }))
    }
    pub fn user(&self) -> Option<UserId> {
        self.0.signed_in.as_ref().map(|it| it.user)
    }
    pub fn signed_in(&self) -> Option<&SignedIn> {
        self.0.signed_in.as_ref()
    }
    pub fn has_role(&self, role: Role) -> bool {
        self.0.signed_in.as_ref().is_some_and(|it| it.roles.contains(&role))
    }
    pub fn is_admin(&self) -> bool {
        self.has_role(Role::Admin)
    }
    /// The token of a guest's cart or order, right or wrong.
    pub fn guest_token(&self) -> Option<&str> {
        self.0.cart_token.as_deref().or(self.0.order_token.as_deref())
    }
    /// What entities are told.
    pub fn caller(&self) -> Caller {
        self.user().map_or(Caller::Anonymous, Caller::User)
    }

    /// Whether a cart of `owner` (or a guest's) may be seen and changed. An administrator may.
    pub fn may_open_cart(&self, edge: &Edge, cart: CartId, owner: Option<UserId>) -> bool {
        let token_opens = |token: &String| edge.keys.get().is_ok_and(|keys| keys.opens_cart(token, cart));
        self.is_admin()
            || match owner {
                Some(owner) => self.user() == Some(owner),
                None => self.0.cart_token.as_ref().is_some_and(token_opens),
            }
    }

    /// The same for an order.
    pub fn may_open_order(&self, edge: &Edge, order: OrderId, owner: Option<UserId>) -> bool {
        let token_opens = |token: &String| edge.keys.get().is_ok_and(|keys| keys.opens_order(token, order));
        self.is_admin()
            || match owner {
                Some(owner) => self.user() == Some(owner),
                None => self.0.order_token.as_ref().is_some_and(token_opens),
            }
    }

    /// Whom an idempotency key belongs to.
    pub fn scope(&self) -> idempotency::Scope<'_> {
        let Inner { signed_in, user_text, cart_token, order_token } = &*self.0;
        match (signed_in, cart_token.as_ref().or(order_token.as_ref())) {
            (Some(_), _) => idempotency::Scope::User(user_text),
            (None, Some(token)) => idempotency::Scope::Guest { token },
            (None, None) => idempotency::Scope::Anonymous,
        }
    }
}
