//! The one layer in front of every route. It gives a request its ids and deadline, admits it, catches
//! what breaks, writes problems out, and finishes the answer: conditional GET, security headers,
//! metrics, the access log. One hand-written layer and not eight stacked ones, because every request
//! pays for it.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures::FutureExt;
use tower::{Layer, Service};

use super::admission::Admitted;
use super::arrival::{self, BodyMemory};
use super::{spelling, waiting};
use crate::actors::runtime::client::answerer::{self, Answerer};
use crate::http::Edge;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::limits::{self, Verdict};
use crate::http::openapi::Allowed;
use crate::http::request::caller::Who;
use crate::http::request::conditional::{self, Conditions};
use crate::http::request::context::Context;

/// What the routes behind the layer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The shop: admitted and limited.
    Shop,
    /// Health and metrics: operators must see them above all when the node is full.
    Operations,
    /// The pages that show the OpenAPI document: not admitted, and allowed to run their own scripts.
    Documents,
}

/// The layer.
#[derive(Clone)]
pub struct Front {
    pub edge: Edge,
    pub class: Class,
    /// What each path allows, for `Allow`.
    pub allowed: Arc<Allowed>,
}

impl<S> Layer<S> for Front {
    type Service = FrontService<S>;
    fn layer(&self, inner: S) -> FrontService<S> {
        FrontService { front: self.clone(), inner }
    }
}

#[derive(Clone)]
pub struct FrontService<S> {
    front: Front,
    inner: S,
}

/// Request fields that are still needed after the handler has consumed the request.
struct Asked {
    method: Method,
    route: Option<MatchedPath>,
    conditions: Conditions,
}

impl<S> Service<Request> for FrontService<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<std::result::Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Front { edge, class, allowed } = self.front.clone();
        let context = Arc::new(Context::of(&edge.config, &request));
        let asked = Asked {
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            conditions: Conditions::of_read(request.method(), request.headers()),
        };
        request.extensions_mut().insert(context.clone());
        let head = judge_head(&request, edge.config.http.header_max_bytes);
        let coming = if class == Class::Shop && arrival::is_awaited(&request) {
            Coming::Arriving(Box::new((self.inner.clone(), request)))
        } else {
            // Made now, run only when it is admitted: a future does nothing until it is polled.
            Coming::Whole(self.inner.call(request))
        };
        Box::pin(async move {
            edge.metrics.http_running.inc();
            let running = Running(&edge);
            let ((answer, limit), answerer) = match head {
                Err(problem) => ((Err(problem), None), None),
                // Pinned where it is: every future around it would hold another copy.
                Ok(()) => answerer::noting(pin!(admitted(&edge, class, &context, coming))).await,
            };
            drop(running);
            let shed = is_shed(&answer);
            let answer = answer.and_then(|response| match asked.conditions.refuse(&response) {
                Some(problem) => Err(problem),
                None => Ok(response),
            });
            let mut response = match answer {
                Ok(response) => own_words(response, &asked, &context, &allowed),
                Err(problem) => problem.render(&context.request_id(), &context.trace_id()),
            };
            conditional::mark_encoding(&mut response);
            asked.conditions.shorten(&mut response);
            if class == Class::Documents {
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, OWN_SCRIPTS);
            }
            decorate(&edge, response.headers_mut(), &context, limit);
            if context.who.get().is_some_and(Who::is_admin) {
                say_who_answered(&edge, response.headers_mut(), answerer);
            }
            account(&edge, &asked, &context, response.status(), shed);
            Ok(response)
        })
    }
}

/// Judges a head as a whole. Errors: 414 for a request line that takes more than a whole head may, 431 for a head that
/// does, 400 for a target that is no URL.
fn judge_head(request: &Request, limit_bytes: usize) -> Result<()> {
    const COLON_SPACE_AND_LINE_END: usize = 4;
    let uri = request.uri();
    let target = [
        uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len()),
        uri.authority().map_or(0, |authority| authority.as_str().len()),
        uri.path_and_query().map_or(0, |target| target.as_str().len()),
    ];
    let line = request.method().as_str().len() + target.iter().sum::<usize>() + "  HTTP/1.1\r\n".len();
    let fields = request.headers().iter();
    let fields: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + COLON_SPACE_AND_LINE_END).sum();
    if line > limit_bytes {
        return Err(Code::UriTooLong.into());
    }
    if line + fields > limit_bytes {
        return Err(Code::HeadersTooLarge.into());
    }
    if spelling::is_malformed(uri) {
        let why = "Two hexadecimal digits must follow a percent sign in a URL.";
        return Err(Problem::new(Code::BadRequest).detail(why));
    }
    Ok(())
}

/// Counts a request as running until it is answered or its caller has gone.
struct Running<'a>(&'a Edge);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.metrics.http_running.dec();
    }
}

/// A whole request, as the future that handles it, or a request whose body is still to come.
enum Coming<S: Service<Request>> {
    Whole(S::Future),
    Arriving(Box<(S, Request)>),
}

impl<S: Service<Request>> Coming<S> {
    async fn whole(self, edge: &Edge) -> Result<(S::Future, BodyMemory)> {
        match self {
            Coming::Whole(handling) => Ok((handling, BodyMemory::default())),
            Coming::Arriving(arriving) => {
                let (mut service, request) = *arriving;
                let (request, room) = arrival::whole(edge, request).await?;
                Ok((service.call(request), room))
            }
        }
    }
}

/// Runs the handler within the limits. The verdict is that of the caller's address, if it was counted.
async fn admitted<S>(
    edge: &Edge,
    class: Class,
    context: &Context,
    coming: Coming<S>,
) -> (Result<Response>, Option<Verdict>)
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    if class != Class::Shop {
        return match coming.whole(edge).await {
            Ok((handling, _)) => (guarded(edge, context, handling, None).await, None),
            Err(problem) => (Err(problem), None),
        };
    }
    let verdict = match context.origin.address {
        Some(_) if !context.origin.exempt => {
            Some(edge.limiter.take(limits::address_policy(&edge.config.limits), &context.origin.key()).await)
        }
        _ => None,
    };
    if let Some(verdict) = verdict.filter(|verdict| !verdict.allowed) {
        return (Err(limits::too_many(Code::TooManyRequests, &verdict)), Some(verdict));
    }
    // The body comes before the permit: a slow sender must not hold one.
    let (handling, _room) = match coming.whole(edge).await {
        Ok(whole) => whole,
        Err(problem) => return (Err(problem), verdict),
    };
    match edge.admission.enter().await {
        Ok(admitted) => (guarded(edge, context, handling, Some(admitted)).await, verdict),
        Err(problem) => (Err(problem), verdict),
    }
}

/// Runs the handler: one that waits gives its place up, a panic becomes a 500, and one that never ends a 503.
async fn guarded<F>(edge: &Edge, context: &Context, handling: F, admitted: Option<Admitted<'_>>) -> Result<Response>
where
    F: Future<Output = std::result::Result<Response, Infallible>>,
{
    let mut handling = pin!(AssertUnwindSafe(handling).catch_unwind());
    let at_most = Duration::from_millis(edge.config.http.handler_timeout_ms);
    let handled = match admitted {
        Some(admitted) => {
            let node = (&edge.admission.waiting, &*edge.metrics);
            waiting::attended(node, &context.wait, || context.caller(), handling, admitted, at_most).await
        }
        None => tokio::time::timeout(at_most, handling.as_mut()).await.ok(),
    };
    match handled {
        Some(Ok(Ok(response))) => Ok(response),
        Some(Err(_)) => {
            // The panic hook has written its message to standard error. The caller does not see it.
            edge.metrics.http_panics.inc();
            Err(Code::Internal.into())
        }
        None => Err(Code::DeadlinePassed.into()),
    }
}

/// Writes problems out, also those that the router or another layer made in its own words. The router's
/// refusal of OPTIONS becomes the answer to it.
fn own_words(mut response: Response, asked: &Asked, context: &Context, allowed: &Allowed) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_problem(response.headers()) => return response,
        None => Problem::new(Code::of_status(status)),
    };
    let mut written = problem.render(&context.request_id(), &context.trace_id());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        if asked.method == Method::OPTIONS {
            written = Response::new(axum::body::Body::empty());
            *written.status_mut() = StatusCode::NO_CONTENT;
        }
        if let Some(methods) = asked.route.as_ref().and_then(|route| allowed.get(route.as_str())) {
            written.headers_mut().insert(header::ALLOW, methods.clone());
        }
    }
    written
}

fn is_problem(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/problem+json")
}

/// Headers of every answer. What a route has set stays.
const SECURITY: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

const OWN_SCRIPTS: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
);

fn decorate(edge: &Edge, headers: &mut HeaderMap, context: &Context, limit: Option<Verdict>) {
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(value);
    }
    let caching = if headers.contains_key(header::ETAG) { "private, no-cache" } else { "no-store" };
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(caching));
    if let Some(value) = &edge.hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
    }
    let mut put = |name: HeaderName, text: String| {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    };
    put(HeaderName::from_static("x-request-id"), context.request_id());
    if let Some(trace) = context.trace_response() {
        put(HeaderName::from_static("traceresponse"), trace);
    }
    let verdicts: Vec<Verdict> = limit.into_iter().chain(context.user_limit.get().copied()).collect();
    if !verdicts.is_empty() {
        let join = |field: fn(&Verdict) -> String| verdicts.iter().map(field).collect::<Vec<_>>().join(", ");
        put(HeaderName::from_static("ratelimit-policy"), join(Verdict::policy_field));
        put(HeaderName::from_static("ratelimit"), join(Verdict::field));
    }
}

/// For an administrator: which node has the entity that answered last, and how far away that is. Where no entity was asked
/// it is this node. The way is the one that this node knows: a node that passes a wrong guess on is not counted.
fn say_who_answered(edge: &Edge, headers: &mut HeaderMap, answerer: Option<Answerer>) {
    let node = answerer.map_or_else(|| edge.client.node().to_string(), |answerer| edge.client.node_of(&answerer));
    if let Ok(node) = HeaderValue::try_from(node) {
        headers.insert(HeaderName::from_static("x-souk-node"), node);
    }
    if let Some(Answerer { epoch, .. }) = answerer {
        headers.insert(HeaderName::from_static("x-souk-slot-epoch"), epoch.into());
    }
    let hops = answerer.map_or(0, |answerer| edge.client.hops_of(&answerer));
    headers.insert(HeaderName::from_static("x-souk-hops"), u16::from(hops).into());
}

/// Whether the node had too much to do for this request. It is counted, and not logged one by one: a line for
/// each would cost more than the refusal, just when there is nothing to spare.
fn is_shed(answer: &Result<Response>) -> bool {
    let code = match answer {
        Ok(response) => response.extensions().get::<Problem>().map(Problem::code),
        Err(problem) => Some(problem.code()),
    };
    code == Some(Code::Overloaded)
}

/// Metrics, and one line in the log. The route's pattern stands for the path, and the query is left
/// out: neither may carry somebody's email address into a log.
fn account(edge: &Edge, asked: &Asked, context: &Context, status: StatusCode, shed: bool) {
    let route = asked.route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let took = context.arrived.elapsed();
    let method = known_method(&asked.method);
    edge.metrics.http_requests.with_label_values(&[route, method, status.as_str()]).inc();
    edge.metrics.http_request_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if shed {
        edge.admission.count_refusal();
    }
    if status.is_server_error() && !shed {
        tracing::warn!(
            { http.route = route, http.method = method, http.status = status.as_u16(),
              request.id = %context.request_id(), trace.id = %context.trace_id(), duration_us },
            "request failed"
        );
    } else {
        tracing::debug!(
            { http.route = route, http.method = method, http.status = status.as_u16(),
              request.id = %context.request_id(), trace.id = %context.trace_id(), duration_us },
            "request"
        );
    }
}

/// Method names for labels: a caller cannot make new ones.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
