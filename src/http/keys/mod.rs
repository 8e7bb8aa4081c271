//! The shop's keys and what the edge makes with them: tokens that it knows again when they come back.
//!
//! - [`access`]: signed tokens that say who asks;
//! - [`refresh`]: tokens that continue a session;
//! - *guest tokens*: an HMAC of the cart or order that they open, so that nothing has to be stored;
//! - tags of cursors and fingerprints of requests.
//!
//! Nothing here is written to disk, and secrets are never shown.

pub mod access;
pub mod refresh;

use std::collections::HashMap;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use hashlink::LruCache;
use hmac::{Hmac, Mac};
use jsonwebtoken::{DecodingKey, EncodingKey};
use parking_lot::Mutex;
use rand::RngCore;
use sha2::Sha256;

use access::{Claims, VERIFIED_MAX};

use crate::actors::keyring::types::State as Keyring;
use crate::actors::values::{CartId, OrderId, Secret};
use crate::config::Auth;

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

    pub(crate) fn keys(seeds: &[u8]) -> Keys {
        Keys::new(&Config::default().auth, &keyring(seeds)).expect("usable keys")
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
}
