//! Who asks. A bearer token is checked once per request: its signature and times, that its session still lives, and
//! what its user may do. A token says who somebody is; what he may do is asked of his entity, as it is now, so that
//! whatever has been acknowledged (a role taken away, a session ended) holds for the next request. Extractors named
//! after what a route demands refuse everybody else before its body is read.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::context::Context;
pub use super::who::{SignedIn, Who};
use crate::actors::runtime::client::answerer;
use crate::actors::session::types::Session;
use crate::actors::user::types::User;
use crate::actors::values::{Role, Time, UserId};
use crate::http::Edge;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::keys::now_s;
use crate::http::limits;

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
    let claims = edge.keys.get()?.check(token, now_s()).ok_or(Code::InvalidToken)?;
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
        let verdict = edge.limiter.take(limits::user_policy(&edge.config.limits), &claims.sub.to_string()).await;
        let _ = context.user_limit.set(verdict);
        if !verdict.allowed {
            return Err(limits::too_many(Code::TooManyRequests, &verdict));
        }
    }
    answerer::forget();
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
        let (cart_token, order_token) = (text("x-cart-token"), text("x-order-token"));
        if cart_token.is_some() || order_token.is_some() {
            // Whether they are right is seen later, with the keys.
            edge.keys.get()?;
        }
        let who = Who::new(signed_in, cart_token, order_token);
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
