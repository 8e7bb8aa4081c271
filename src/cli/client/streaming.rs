//! Answers that are read as they come.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderName};

use super::{Api, ApiError, Attempt, Bearer, Body, describe, may_pass, read_answer};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Longer than a server keeps a stream open.
const STREAM_AT_MOST: Duration = Duration::from_secs(3_600);

impl Api {
    /// Opens a stream of events, behind the event of this id. It is tried once: [`ApiError::GaveUp`] where a repeat may
    /// succeed.
    pub async fn open(
        &self,
        path: &str,
        last_event: Option<&str>,
        caller: &dyn Bearer,
    ) -> Result<reqwest::Response, ApiError> {
        let gave_up = |last| ApiError::GaveUp { what: format!("GET {path}"), seconds: 0, last };
        let mut renewed = false;
        loop {
            let bearer = caller.bearer(self).await?;
            let request = self.http.get(format!("{}{path}", self.base)).header(AUTHORIZATION, &*bearer);
            let request = last_event.into_iter().fold(request, |request, id| request.header(LAST_EVENT_ID, id));
            let response = request.timeout(STREAM_AT_MOST).send().await.map_err(|error| gave_up(describe(&error)))?;
            if response.status().is_success() {
                return Ok(response);
            }
            match read_answer(response, Body::Keep).await {
                Attempt::Refused(StatusCode::UNAUTHORIZED, ..) if !std::mem::replace(&mut renewed, true) => {
                    caller.outdated(&bearer).await;
                }
                Attempt::Refused(status, problem, _) if may_pass(status, &problem) => {
                    return Err(gave_up(problem.to_string()));
                }
                Attempt::Refused(_, problem, _) => return Err(ApiError::Refused(problem)),
                Attempt::Lost(why) => return Err(gave_up(why)),
                Attempt::Final(_) => return Err(gave_up("an answer that is none".to_owned())),
            }
        }
    }
}
