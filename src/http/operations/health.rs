//! Is it alive, has it started, may it be sent requests; what it counts; which version it is.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::answer::problem::{Code, Fault, Problem, Result};
use crate::http::answer::schema;
use crate::http::request::json::Nothing;
use crate::http::request::query::Query;
use crate::http::{Edge, Reply};

/// A thing that must be well for the node to be ready; its error is for operators.
pub type Check = Box<dyn Fn() -> std::result::Result<(), String> + Send + Sync>;

/// What the node says of itself. Not started until [`Health::started`].
#[derive(Default)]
pub struct Health {
    started: AtomicBool,
    draining: AtomicBool,
    checks: RwLock<Vec<(&'static str, Check)>>,
    notes: RwLock<Vec<Note>>,
}

/// Further values that operators see beside the checks, by name. They never make the node unready.
pub type Note = Box<dyn Fn() -> Vec<(String, String)> + Send + Sync>;

impl Health {
    /// Adds a check, asked on every `/readyz`: it must be quick.
    pub fn check(&self, name: &'static str, check: Check) {
        self.checks.write().push((name, check));
    }
    /// Adds what is shown beside the checks.
    pub fn note(&self, note: Note) {
        self.notes.write().push(note);
    }
    /// Recovery is done: requests are served from now on.
    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }
    /// The node is stopping: `/readyz` refuses from now on, so that no new requests come.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn start_state(&self) -> Vec<Checked> {
        vec![Checked::of("started", self.started.load(Ordering::Acquire).then_some(()).ok_or("still starting".into()))]
    }

    fn ready_state(&self) -> Vec<Checked> {
        let mut checked = self.start_state();
        let serving = !self.is_draining();
        checked.push(Checked::of("serving", serving.then_some(()).ok_or("draining".into())));
        checked.extend(self.checks.read().iter().map(|(name, check)| Checked::of(name, check())));
        let notes = self.notes.read();
        let notes = notes.iter().flat_map(|note| note());
        checked.extend(notes.map(|(name, text)| Checked { name: name.into(), ok: true, why: Some(text) }));
        checked
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Checked {
    #[schema(value_type = String)]
    name: Cow<'static, str>,
    ok: bool,
    /// Why it fails; or what there is to know of something that does not make the node unready.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Checked {
    fn of(name: &'static str, result: std::result::Result<(), String>) -> Checked {
        Checked { name: name.into(), ok: result.is_ok(), why: result.err() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct HealthView {
    #[schema(example = "ok")]
    status: &'static str,
    /// Only with `?verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Checked>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verbose {
    #[serde(default)]
    verbose: bool,
}

/// The process runs. Constant: what benchmarks call "hello".
#[utoipa::path(get, path = "/livez", tag = "operations", security(()), responses((status = 200, body = String)))]
pub async fn livez() -> &'static str {
    "ok"
}

/// The node may be sent requests.
#[utoipa::path(get, path = "/readyz", tag = "operations", security(()), params(("verbose" = Option<schema::Flag>, Query)),
    responses((status = 200, body = HealthView)))]
pub async fn readyz(State(edge): State<Edge>, Query(query): Query<Verbose>) -> Result<Reply<HealthView>> {
    judge(edge.health.ready_state(), query.verbose)
}

/// The node has started.
#[utoipa::path(get, path = "/startupz", tag = "operations", security(()), params(("verbose" = Option<schema::Flag>, Query)),
    responses((status = 200, body = HealthView)))]
pub async fn startupz(State(edge): State<Edge>, Query(query): Query<Verbose>) -> Result<Reply<HealthView>> {
    judge(edge.health.start_state(), query.verbose)
}

fn judge(checks: Vec<Checked>, verbose: bool) -> Result<Reply<HealthView>> {
    if checks.iter().all(|check| check.ok) {
        return Ok(Reply::ok(HealthView { status: "ok", checks: verbose.then_some(checks) }));
    }
    // Without `verbose` only the names of the checks are shown, and not what is wrong with them.
    let faults = checks.into_iter().filter(|check| !check.ok).map(|check| {
        let fault = Fault::new(Code::NotReady, "").with("check", &check.name);
        if verbose { fault.detail(check.why.unwrap_or_default()) } else { fault }
    });
    Err(Problem::new(Code::NotReady).faults(faults))
}

#[derive(Serialize, ToSchema)]
pub struct Version {
    name: &'static str,
    version: &'static str,
}

/// Which version answers.
#[utoipa::path(get, path = "/version", tag = "operations", security(()), responses((status = 200, body = Version)))]
pub async fn version(_: Query<Nothing>) -> Reply<Version> {
    Reply::ok(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

/// Everything that is counted, as Prometheus reads it.
#[utoipa::path(get, path = "/metrics", tag = "operations", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(edge): State<Edge>, _: Query<Nothing>) -> Response {
    let mut response = edge.metrics.render().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_started_serving_and_well() {
        let health = Health::default();
        let ready = |health: &Health| judge(health.ready_state(), false).is_ok();
        assert!(!ready(&health));
        health.started();
        assert!(ready(&health));
        let well = std::sync::Arc::new(AtomicBool::new(false));
        let seen = well.clone();
        let check = move || seen.load(Ordering::Acquire).then_some(()).ok_or("the disk is full".to_owned());
        health.check("journal", Box::new(check));
        let problem = judge(health.ready_state(), true).expect_err("the journal is not well");
        assert!(format!("{problem:?}").contains("the disk is full"));
        let problem = judge(health.ready_state(), false).expect_err("the journal is not well");
        assert!(!format!("{problem:?}").contains("the disk is full"));
        well.store(true, Ordering::Release);
        assert!(ready(&health));
        health.drain();
        assert!(!ready(&health));
        assert!(judge(health.start_state(), false).is_ok());
    }
}
