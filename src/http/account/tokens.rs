//! Tokens: what the edge gives out, and how it knows its own again.
//!
//! - *access tokens*: JWTs (RFC 9068, EdDSA) of five minutes, signed with the newest key of the keyring;
//! - *refresh tokens*: the session's id, a number, and an HMAC of both: each has one successor, which can be given
//!   out again, and the edge knows whether it has made a token. Only their hashes are stored. (Those of sessions that
//!   began with an older version are 256 random bits);
//! - *guest tokens*: an HMAC of what they open, so that nothing has to be stored at all.
//!
//! Nothing here is written to disk, and secrets are never shown.

use std::collections::HashMap;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use hashlink::LruCache;
use hmac::{Hmac, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::Mutex;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::actors::keyring::types::State as Keyring;
use crate::actors::values::{CartId, OrderId, Role, Secret, SessionId, UserId};
use crate::config::Auth;

/// The algorithms that are accepted, whatever a token says of itself.
const ALGORITHMS: [Algorithm; 1] = [Algorithm::EdDSA];
/// How far another node's clock may be behind ours before its `nbf` offends.
const SKEW_S: u64 = 30;
/// Access tokens whose signature is remembered as checked: a check takes longer than a cart write.
const VERIFIED_MAX: usize = 16_384;

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

/// Why keys could not be made of the keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("the keyring has no keys yet")]
    Empty,
    #[error("a signing key of the keyring is unusable")]
    Unusable,
}

/// The shop's keys as the keyring had them when they were last read.
struct KeySet {
    signing_kid: String,
    signing: EncodingKey,
    verifying: HashMap<String, DecodingKey>,
    token_secret: Secret<[u8; 32]>,
    jwks: Arc<serde_json::Value>,
}

impl KeySet {
    fn of(keyring: &Keyring) -> Result<KeySet, KeysError> {
        let newest = keyring.keys.last().ok_or(KeysError::Empty)?;
        let token_secret = keyring.token_secret.clone().ok_or(KeysError::Empty)?;
        let private = SigningKey::from_bytes(&newest.seed.0).to_pkcs8_der().map_err(|_| KeysError::Unusable)?;
        let mut verifying = HashMap::new();
        let mut public = Vec::new();
        for key in &keyring.keys {
            let x = BASE64URL_NOPAD.encode(SigningKey::from_bytes(&key.seed.0).verifying_key().as_bytes());
            let decoding = DecodingKey::from_ed_components(&x).map_err(|_| KeysError::Unusable)?;
            verifying.insert(key.kid.clone(), decoding);
            public.push(serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.kid, "x": x
            }));
        }
        Ok(KeySet {
            signing_kid: newest.kid.clone(),
            signing: EncodingKey::from_ed_der(private.as_bytes()),
            verifying,
            token_secret,
            jwks: Arc::new(serde_json::json!({ "keys": public })),
        })
    }
}

/// Makes and checks tokens, with the keys that the keyring had when this node started.
pub struct Keys {
    set: KeySet,
    verified: Mutex<LruCache<[u8; 32], Arc<Claims>>>,
    issuer: String,
    audience: String,
    access_ttl_s: u64,
}

impl Keys {
    /// Keys from the keyring's state. `Empty` until the shop has been given secrets.
    pub fn new(config: &Auth, keyring: &Keyring) -> Result<Keys, KeysError> {
        Ok(Keys {
            set: KeySet::of(keyring)?,
            verified: Mutex::new(LruCache::new(VERIFIED_MAX)),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            access_ttl_s: config.access_ttl_ms.div_ceil(1000),
        })
    }

    /// The public keys (RFC 7517).
    pub fn jwks(&self) -> Arc<serde_json::Value> {
        self.set.jwks.clone()
    }

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

    /// The token that opens a guest's cart.
    pub fn cart_token(&self, cart: CartId) -> String {
        BASE64URL_NOPAD.encode(&self.guest_mac("cart", &cart.to_string()).finalize().into_bytes())
    }
    /// The token that opens a guest's order.
    pub fn order_token(&self, order: OrderId) -> String {
        BASE64URL_NOPAD.encode(&self.guest_mac("order", &order.to_string()).finalize().into_bytes())
    }
    pub fn opens_cart(&self, token: &str, cart: CartId) -> bool {
        self.opens(token, "cart", &cart.to_string())
    }
    pub fn opens_order(&self, token: &str, order: OrderId) -> bool {
        self.opens(token, "order", &order.to_string())
    }

    /// The first refresh token of a session.
    pub fn refresh_token(&self, session: SessionId) -> RefreshToken {
        self.numbered(session, 0)
    }

    /// The one that follows a refresh token: always the same.
    pub fn successor(&self, token: &RefreshToken) -> RefreshToken {
        self.numbered(token.session, token.number.map_or(1, |number| number.saturating_add(1)))
    }

    /// Whether a refresh token was made here.
    pub fn has_made(&self, token: &RefreshToken) -> bool {
        let mac = |number| self.refresh_mac(token.session, number);
        // `verify_slice` compares in constant time.
        token.number.is_some_and(|number| mac(number).verify_slice(&token.secret.0).is_ok())
    }

    fn numbered(&self, session: SessionId, number: u64) -> RefreshToken {
        let secret = self.refresh_mac(session, number).finalize().into_bytes().into();
        RefreshToken { session, number: Some(number), secret: Secret(secret) }
    }

    fn refresh_mac(&self, session: SessionId, number: u64) -> Hmac<Sha256> {
        self.guest_mac("refresh", &format!("{session} {number}"))
    }

    /// Signs a cursor: 8 bytes that nobody else can make for this list and position.
    pub fn cursor_tag(&self, list: &str, position: &str) -> [u8; 8] {
        let mac = self.guest_mac("cursor", &format!("{}:{list}{position}", list.len())).finalize().into_bytes();
        let mut tag = [0; 8];
        tag.copy_from_slice(&mac[..8]);
        tag
    }

    /// The fingerprint of a request: keyed, because a body may hold a password, and what is stored of it
    /// must not be something to guess passwords against.
    pub fn fingerprint(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.mac("fingerprint");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut print = [0; 16];
        print.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        print
    }

    fn guest_mac(&self, what: &str, id: &str) -> Hmac<Sha256> {
        let mut mac = self.mac(what);
        mac.update(id.as_bytes());
        mac
    }

    fn mac(&self, what: &str) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.set.token_secret.0).expect("an HMAC takes a key of any length");
        mac.update(what.as_bytes());
        mac.update(&[0]);
        mac
    }

    fn opens(&self, token: &str, what: &str, id: &str) -> bool {
        // `verify_slice` compares in constant time.
        BASE64URL_NOPAD.decode(token.as_bytes()).is_ok_and(|mac| self.guest_mac(what, id).verify_slice(&mac).is_ok())
    }
}

/// A refresh token: which session, and the proof.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    pub session: SessionId,
    /// Its number among the session's tokens; `None` for a random one, of an older version.
    number: Option<u64>,
    secret: Secret<[u8; 32]>,
}

impl RefreshToken {
    /// What is stored of it. The number is part of it: without it, or with another, it is another token.
    pub fn hash(&self) -> [u8; 32] {
        let hash = self.number.map_or_else(Sha256::new, |number| Sha256::new_with_prefix(number.to_be_bytes()));
        hash.chain_update(self.secret.0).finalize().into()
    }
    /// As the client gets it.
    pub fn reveal(&self) -> String {
        let secret = BASE64URL_NOPAD.encode(&self.secret.0);
        match self.number {
            Some(number) => format!("{}.{number}.{secret}", self.session),
            None => format!("{}.{secret}", self.session),
        }
    }
    pub fn parse(text: &str) -> Option<RefreshToken> {
        let (session, rest) = text.split_once('.')?;
        let (number, secret) = match rest.split_once('.') {
            Some((number, secret)) => (Some(number.parse().ok()?), secret),
            None => (None, rest),
        };
        let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).ok()?;
        Some(RefreshToken { session: session.parse().ok()?, number, secret: Secret(secret.try_into().ok()?) })
    }
    /// Whether it says that it was made by [`Keys::refresh_token`].
    pub fn is_numbered(&self) -> bool {
        self.number.is_some()
    }
}

/// Fresh random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::thread_rng().fill_bytes(&mut bytes);
    bytes
}

/// Seconds since 1970 by this node's clock.
pub fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::actors::keyring::types::SigningKey as StoredKey;
    use crate::actors::values::Time;
    use crate::config::Config;

    pub(crate) fn keyring(seeds: &[u8]) -> Keyring {
        let key = |seed: &u8| StoredKey { kid: format!("k{seed}"), created_at: Time(1), seed: Secret([*seed; 32]) };
        Keyring {
            keys: seeds.iter().map(key).collect(),
            token_secret: Some(Secret([9; 32])),
            administrators: Default::default(),
        }
    }

    fn keys(seeds: &[u8]) -> Keys {
        Keys::new(&Config::default().auth, &keyring(seeds)).expect("usable keys")
    }

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

    #[test]
    fn a_fingerprint_knows_its_parts_and_its_key() {
        let ours = keys(&[1]);
        assert_eq!(ours.fingerprint(&[b"a", b"b"]), ours.fingerprint(&[b"a", b"b"]));
        assert_ne!(ours.fingerprint(&[b"ab"]), ours.fingerprint(&[b"a", b"b"]));
        let other = Keyring { token_secret: Some(Secret([8; 32])), ..keyring(&[1]) };
        let other = Keys::new(&Config::default().auth, &other).expect("usable keys");
        assert_ne!(ours.fingerprint(&[b"a"]), other.fingerprint(&[b"a"]));
    }

    #[test]
    fn a_guest_token_opens_its_own_thing_only() {
        let keys = keys(&[1]);
        let token = keys.cart_token(CartId(5));
        assert!(keys.opens_cart(&token, CartId(5)));
        assert!(!keys.opens_cart(&token, CartId(6)));
        assert!(!keys.opens_order(&token, OrderId(5)));
        assert!(keys.opens_order(&keys.order_token(OrderId(5)), OrderId(5)));
        for wrong in ["", "x", &token[1..], &token[..42]] {
            assert!(!keys.opens_cart(wrong, CartId(5)), "{wrong}");
        }
    }

    #[test]
    fn a_refresh_token_reads_back_and_has_one_successor() {
        let keys = keys(&[1]);
        let token = keys.refresh_token(SESSION);
        let again = RefreshToken::parse(&token.reveal()).expect("our own");
        assert!(again == token && again.hash() == token.hash() && keys.has_made(&again));
        let next = keys.successor(&token);
        assert!(next == keys.successor(&again) && next != token && keys.has_made(&next));
        assert!(keys.refresh_token(SessionId(3)).hash() != token.hash(), "each session has its own");
        for wrong in ["", "ses_x.y", &token.reveal()[1..], &format!("{}A", token.reveal())] {
            assert!(RefreshToken::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_refresh_token_that_was_made_up_is_known_and_a_random_one_is_taken_over() {
        let ours = keys(&[1]);
        let token = ours.refresh_token(SESSION).reveal();
        let (head, secret) = token.rsplit_once('.').expect("a secret");
        let other = format!("{}.{secret}", head.replace(".0", ".1"));
        let guessed = format!("{head}.{}", BASE64URL_NOPAD.encode(&[7; 32]));
        for made_up in [other, guessed, format!("{SESSION}.{}.{secret}", u64::MAX)] {
            let made_up = RefreshToken::parse(&made_up).expect("well-formed");
            assert!(made_up.is_numbered() && !ours.has_made(&made_up));
        }
        let stripped = RefreshToken::parse(&format!("{SESSION}.{secret}")).expect("well-formed");
        assert!(stripped.hash() != ours.refresh_token(SESSION).hash(), "a number cannot be taken off");
        let random = format!("{SESSION}.{}", BASE64URL_NOPAD.encode(&[7; 32]));
        let read = RefreshToken::parse(&random).expect("of an older version");
        assert!(read.reveal() == random && !read.is_numbered() && !ours.has_made(&read));
        assert!(ours.successor(&read) == ours.successor(&ours.refresh_token(SESSION)));
    }
}
