//! Access tokens: JWTs (RFC 9068, EdDSA) of five minutes, signed with the newest key of the keyring.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Keys, random};
use crate::actors::values::{Role, SessionId, UserId};

/// The algorithms that are accepted, whatever a token says of itself.
const ALGORITHMS: [Algorithm; 1] = [Algorithm::EdDSA];
/// How far another node's clock may be behind ours before its `nbf` offends.
const SKEW_S: u64 = 30;
/// Access tokens whose signature is remembered as checked: a check takes longer than a cart write.
pub(super) const VERIFIED_MAX: usize = 16_384;

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: UserId,
    pub sid: SessionId,
    pub roles: Vec<Role>,
    pub client_id: String,
    pub jti: String,
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
}

impl Keys {
    /// How long an access token is good for, in seconds.
    pub fn access_ttl_s(&self) -> u64 {
        self.access_ttl_s
    }

    /// An access token. `now_s`: seconds since 1970. `None` when the key cannot sign (it was checked
    /// when it was loaded, so: never).
    pub fn access_token(&self, user: UserId, session: SessionId, roles: Vec<Role>, now_s: u64) -> Option<String> {
        let set = &self.set;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: user,
            sid: session,
            roles,
            client_id: "souk".into(),
            jti: BASE64URL_NOPAD.encode(&random::<16>()),
            iat: now_s,
            nbf: now_s.saturating_sub(SKEW_S),
            exp: now_s + self.access_ttl_s,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".into());
        header.kid = Some(set.signing_kid.clone());
        jsonwebtoken::encode(&header, &claims, &set.signing).ok()
    }

    /// The claims of a good access token; `None` for anything else. Whether its session still lives is
    /// another question.
    pub fn check(&self, token: &str, now_s: u64) -> Option<Arc<Claims>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let known = self.verified.lock().get(&digest).cloned();
        let claims = match known {
            Some(claims) => claims,
            None => {
                let claims = Arc::new(self.verify(token)?);
                self.verified.lock().insert(digest, claims.clone());
                claims
            }
        };
        (claims.nbf <= now_s && now_s < claims.exp).then_some(claims)
    }

    fn verify(&self, token: &str) -> Option<Claims> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let typ = header.typ.as_deref()?.to_ascii_lowercase();
        if !(typ == "at+jwt" || typ == "application/at+jwt") || !ALGORITHMS.contains(&header.alg) {
            return None;
        }
        let key = self.set.verifying.get(header.kid.as_deref()?)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.algorithms = ALGORITHMS.to_vec();
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf", "sub"]);
        // The times are compared by `check`, with the caller's clock, also when the signature is known.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        jsonwebtoken::decode::<Claims>(token, key, &validation).ok().map(|token| token.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{keyring, keys};
    use super::*;
    use crate::config::{Auth, Config};
    use jsonwebtoken::EncodingKey;

    const USER: UserId = UserId(1);
    const SESSION: SessionId = SessionId(2);
    const NOW: u64 = 1_800_000_000;

    #[test]
    fn an_access_token_says_who_and_is_good_for_five_minutes() {
        let keys = keys(&[1]);
        let token = keys.access_token(USER, SESSION, vec![Role::Customer, Role::Admin], NOW).expect("a token");
        let claims = keys.check(&token, NOW).expect("it is ours");
        assert_eq!((claims.sub, claims.sid, claims.exp - NOW), (USER, SESSION, 300));
        assert_eq!(claims.roles, [Role::Customer, Role::Admin]);
        let header = jsonwebtoken::decode_header(&token).expect("a header");
        assert_eq!(
            (header.typ.as_deref(), header.alg, header.kid.as_deref()),
            (Some("at+jwt"), Algorithm::EdDSA, Some("k1"))
        );
        assert!(keys.check(&token, NOW + 299).is_some());
        assert!(keys.check(&token, NOW + 300).is_none());
        assert!(keys.check(&token, NOW - 31).is_none());
    }

    #[test]
    fn a_token_of_another_key_issuer_type_or_algorithm_is_none_of_ours() {
        let ours = keys(&[1]);
        assert!(ours.check(&keys(&[2]).access_token(USER, SESSION, vec![], NOW).expect("a token"), NOW).is_none());
        let elsewhere = Auth { issuer: "elsewhere".into(), ..Config::default().auth };
        let elsewhere = Keys::new(&elsewhere, &keyring(&[1])).expect("usable keys");
        assert!(ours.check(&elsewhere.access_token(USER, SESSION, vec![], NOW).expect("a token"), NOW).is_none());

        let good = ours.access_token(USER, SESSION, vec![], NOW).expect("a token");
        let claims = ours.check(&good, NOW).expect("it is ours");
        let set = &ours.set;
        let plain = Header { kid: Some("k1".into()), ..Header::new(Algorithm::EdDSA) };
        let typed_jwt = jsonwebtoken::encode(&plain, &*claims, &set.signing).expect("signs");
        assert!(ours.check(&typed_jwt, NOW).is_none(), "typ JWT");
        let hs = Header { kid: Some("k1".into()), typ: Some("at+jwt".into()), ..Header::new(Algorithm::HS256) };
        let public = set.jwks["keys"][0]["x"].as_str().expect("a public key").as_bytes().to_vec();
        let confused = jsonwebtoken::encode(&hs, &*claims, &EncodingKey::from_secret(&public)).expect("signs");
        assert!(ours.check(&confused, NOW).is_none(), "HS256 with the public key");
        for wrong in ["", "a.b.c", &good[..good.len() - 4], &good.replacen('.', "..", 1)] {
            assert!(ours.check(wrong, NOW).is_none(), "{wrong}");
        }
    }

    #[test]
    fn after_a_rotation_the_new_key_signs_and_the_old_one_still_verifies() {
        let old = keys(&[1]).access_token(USER, SESSION, vec![], NOW).expect("a token");
        let both = keys(&[1, 2]);
        assert!(both.check(&old, NOW).is_some());
        let new = both.access_token(USER, SESSION, vec![], NOW).expect("a token");
        assert_eq!(jsonwebtoken::decode_header(&new).expect("a header").kid.as_deref(), Some("k2"));
        assert!(keys(&[2]).check(&old, NOW).is_none());
        assert_eq!(both.jwks()["keys"].as_array().map(Vec::len), Some(2));
        assert!(!both.jwks().to_string().contains("\"d\""), "a private key is never shown");
    }
}
