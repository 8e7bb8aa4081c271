//! Who asks. A bearer token is checked once per request: its signature and times, that its session still lives, and
//! what its user may do. A token says who somebody is; what he may do is asked of his entity, as it is now, so that
//! whatever has been acknowledged (a role taken away, a session ended) holds for the next request. Extractors named
//! after what a route demands refuse everybody else before its body is read.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::context::Context;
use super::idempotency;
use crate::actors::entity::Caller;
use crate::actors::session::types::Session;
use crate::actors::user::types::User;
use crate::actors::values::{CartId, OrderId, Role, SessionId, Time, UserId};
use crate::http::Edge;
use crate::http::account::tokens::now_s;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::edge::limits;

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
        let token_opens = |token: &String| edge.keys.opens_cart(token, cart);
        self.is_admin()
            || match owner {
                Some(owner) => self.user() == Some(owner),
                None => self.0.cart_token.as_ref().is_some_and(token_opens),
            }
    }

    /// The same for an order.
    pub fn may_open_order(&self, edge: &Edge, order: OrderId, owner: Option<UserId>) -> bool {
        let token_opens = |token: &String| edge.keys.opens_order(token, order);
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

/// The token of `Authorization: Bearer ...`; `None` without the header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|text| text.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::new(Code::InvalidToken).detail("Expected Authorization: Bearer and a token.")),
    }
}

async fn sign_in(edge: &Edge, context: &Context, token: &str) -> Result<SignedIn> {
    let claims = edge.keys.check(token, now_s()).ok_or(Code::InvalidToken)?;
    let session = edge.client.read::<Session>(&claims.sid, context.deadline);
    let user = edge.client.read::<User>(&claims.sub, context.deadline);
    let (session, user) = tokio::try_join!(session, user)?;
    let now = Time(i64::try_from(now_s() * 1000).unwrap_or(i64::MAX));
    let over = || Problem::new(Code::InvalidToken).detail("The session is over.");
    if session.state.user != claims.sub || !session.state.is_live(now) {
        return Err(over());
    }
    let roles = user.state.active().ok_or_else(over)?.roles.clone();
    if !context.origin.exempt {
        let verdict = edge.limiter.take(limits::user_policy(&edge.config), &claims.sub.to_string()).await;
        let _ = context.user_limit.set(verdict);
        if !verdict.allowed {
            return Err(limits::too_many(Code::TooManyRequests, &verdict));
        }
    }
    Ok(SignedIn { user: claims.sub, session: claims.sid, roles })
}

impl FromRequestParts<Edge> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Who> {
        if let Some(who) = parts.extensions.get::<Who>() {
            return Ok(who.clone());
        }
        let context = Context::from_parts(parts)?;
        let signed_in = match bearer(&parts.headers)? {
            Some(token) => Some(sign_in(edge, &context, token).await?),
            None => None,
        };
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let who = Who(Arc::new(Inner {
            user_text: signed_in.as_ref().map(|it| it.user.to_string()).unwrap_or_default(),
            signed_in,
            cart_token: text("x-cart-token"),
            order_token: text("x-order-token"),
        }));
        parts.extensions.insert(who.clone());
        let _ = context.who.set(who.clone());
        Ok(who)
    }
}

impl FromRequestParts<Edge> for SignedIn {
    type Rejection = Problem;

    /// Errors: 401 for a guest.
    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<SignedIn> {
        let who = Who::from_request_parts(parts, edge).await?;
        who.signed_in().cloned().ok_or_else(|| Code::Unauthenticated.into())
    }
}

/// An administrator; 401 for a guest, 403 for anybody else.
#[derive(Debug, Clone)]
pub struct Admin(pub SignedIn);

impl FromRequestParts<Edge> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Admin> {
        let signed_in = SignedIn::from_request_parts(parts, edge).await?;
        if signed_in.roles.contains(&Role::Admin) { Ok(Admin(signed_in)) } else { Err(Code::Forbidden.into()) }
    }
}

/// An administrator or a seller; the route looks at what is the seller's own.
#[derive(Debug, Clone)]
pub struct Staff(pub SignedIn);

impl Staff {
    pub fn is_admin(&self) -> bool {
        self.0.roles.contains(&Role::Admin)
    }
    /// Whether this one may touch what belongs to `seller`.
    pub fn may_touch(&self, seller: Option<UserId>) -> bool {
        self.is_admin() || seller == Some(self.0.user)
    }
}

impl FromRequestParts<Edge> for Staff {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Staff> {
        let signed_in = SignedIn::from_request_parts(parts, edge).await?;
        let staff = signed_in.roles.iter().any(|role| matches!(role, Role::Admin | Role::Seller));
        if staff { Ok(Staff(signed_in)) } else { Err(Code::Forbidden.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_and_anything_else_is_refused() {
        let of = |text: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, text.parse().expect("a header value"))]);
            bearer(&headers).map(|token| token.map(str::to_owned)).map_err(|problem| problem.code())
        };
        assert_eq!(of("Bearer abc"), Ok(Some("abc".into())));
        assert_eq!(of("bearer abc"), Ok(Some("abc".into())));
        assert_eq!(of("Basic abc"), Err(Code::InvalidToken));
        assert_eq!(of("abc"), Err(Code::InvalidToken));
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
    }
}
