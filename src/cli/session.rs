//! Someone who is logged in, and stays so: the access token is renewed before it runs out, through the
//! refresh token, or where that fails by logging in again. Tokens live in memory only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::client::{Api, ApiError, Bearer, Call};
use super::meter::Op;

/// A token is renewed so long before it runs out: longer than an attempt may take.
const RENEW_BEFORE: Duration = Duration::from_secs(45);

pub struct Session {
    email: String,
    password: String,
    tokens: Mutex<Option<Tokens>>,
}

struct Tokens {
    /// The `Authorization` header.
    bearer: Arc<str>,
    refresh: String,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    refresh_token: String,
    expires_in: u64,
}

impl Issued {
    fn into_tokens(self) -> Tokens {
        let life = Duration::from_secs(self.expires_in);
        Tokens {
            bearer: format!("Bearer {}", self.access_token).into(),
            refresh: self.refresh_token,
            // with very short-lived tokens half their life, so that each is used at all
            renew_at: Instant::now() + life.saturating_sub(RENEW_BEFORE).max(life / 2),
        }
    }
}

impl Session {
    /// Logs in when first used.
    pub fn new(email: impl Into<String>, password: impl Into<String>) -> Session {
        Session { email: email.into(), password: password.into(), tokens: Mutex::new(None) }
    }

    /// Makes the account, or where it exists logs in.
    pub async fn register(&self, api: &Api, name: &str) -> Result<(), ApiError> {
        let mut tokens = self.tokens.lock().await;
        let body = json!({"email": self.email, "password": self.password, "name": name});
        let call = Call::new(Op::Auth, Method::POST, "/v1/auth/register").json(&body);
        match api.read::<Issued>(call).await {
            Ok(issued) => *tokens = Some(issued.into_tokens()),
            Err(error) if error.has_code("email_taken") => *tokens = Some(self.log_in(api).await?),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn renew(&self, api: &Api, old: &Tokens) -> Result<Tokens, ApiError> {
        let call = Call::new(Op::Auth, Method::POST, "/v1/auth/refresh").json(&json!({"refresh_token": old.refresh}));
        match api.read::<Issued>(call).await {
            Ok(issued) => Ok(issued.into_tokens()),
            Err(ApiError::Refused(_)) => self.log_in(api).await,
            Err(error) => Err(error),
        }
    }

    async fn log_in(&self, api: &Api) -> Result<Tokens, ApiError> {
        let body = json!({"email": self.email, "password": self.password});
        let call = Call::new(Op::Auth, Method::POST, "/v1/auth/login").json(&body);
        Ok(api.read::<Issued>(call).await?.into_tokens())
    }
}

#[async_trait]
impl Bearer for Session {
    async fn bearer(&self, api: &Api) -> Result<Arc<str>, ApiError> {
        let mut tokens = self.tokens.lock().await;
        match &*tokens {
            Some(present) if Instant::now() < present.renew_at => return Ok(present.bearer.clone()),
            Some(_) | None => {}
        }
        let renewed = match tokens.take() {
            Some(old) => self.renew(api, &old).await?,
            None => self.log_in(api).await?,
        };
        Ok(tokens.insert(renewed).bearer.clone())
    }

    async fn outdated(&self, bearer: &str) {
        if let Some(present) = self.tokens.lock().await.as_mut().filter(|present| &*present.bearer == bearer) {
            present.renew_at = Instant::now();
        }
    }
}
