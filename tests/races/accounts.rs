//! Accounts: an email address is registered once, and a changed password closes the door to everybody who came in,
//! or is just coming in, with the old one.

use serde_json::json;

use crate::crowd::{CROWDS, alone, at_once, count, for_good, text};
use crate::support::unique;

/// Cheap hashes: the race is about the account, not about the processor. Nobody is locked out.
const CHEAP: &[(&str, &str)] = &[
    ("SOUK_AUTH__ARGON2__MEMORY_KIB", "64"),
    ("SOUK_AUTH__ARGON2__ITERATIONS", "1"),
    ("SOUK_LIMITS__LOGIN_FAILURES_MAX", "100000"),
    ("SOUK_LIMITS__ACCOUNT_FAILURES_MAX", "100000"),
];

#[tokio::test]
async fn an_address_is_registered_once() {
    let shop = alone(CHEAP).await;
    for clients in CROWDS {
        let email = format!("{}@example.com", unique("taken"));
        let password = |n: usize| format!("the password of client {n}");
        let answers = at_once(&shop, clients, async |n| {
            let body = json!({"email": email.to_uppercase(), "password": password(n)});
            shop.post("/v1/auth/register", body).send().await
        })
        .await;
        assert_eq!(count(&answers, 201), 1, "{clients} clients");
        for (n, told) in answers.iter().enumerate() {
            let login = shop.log_in(&email, &password(n)).await;
            if told.status == 201 {
                assert_eq!(login.is(200).body["user"]["id"], told.body["user"]["id"], "the account is the winner's");
            } else {
                told.is_problem(409, "email_taken");
                if n < 8 {
                    login.is_problem(401, "invalid_credentials");
                }
            }
        }
    }
}

#[tokio::test]
async fn who_signs_in_with_the_old_password_is_out_once_it_is_changed() {
    let shop = alone(CHEAP).await;
    for clients in CROWDS {
        let ada = shop.customer().await;
        let email = text(&ada["user"], "email").to_owned();
        let changed = json!({"current_password": OLD, "new_password": "a better one than before"});
        let key = unique("password");
        let answers = at_once(&shop, clients, async |n| {
            if n == clients / 2 {
                let change = async || shop.put("/v1/me/password", changed.clone()).by(&ada).key(&key).send().await;
                for_good(change).await
            } else {
                // One after the other: so some are being let in whenever the change comes. An account has 100 sessions,
                // and the one that changes the password must not be pushed out: who does not know it makes a crowd.
                let password = if n < 25 { OLD } else { "nobody's password" };
                let mut last = shop.log_in(&email, password).await;
                for _ in 0..2 {
                    let next = shop.log_in(&email, password).await;
                    last = if next.status == 200 { next } else { last };
                }
                last
            }
        })
        .await;
        answers[clients / 2].is(204);
        for (n, told) in answers.iter().enumerate().filter(|(n, _)| *n != clients / 2) {
            match told.status.as_u16() {
                200 => {
                    let me = shop.get("/v1/me").by(&told.body).send().await;
                    assert_eq!(me.status, 401, "client {n} of {clients} is still in: {}", me.body);
                }
                _ => assert_eq!(told.is_problem(401, "invalid_credentials").status, 401),
            }
        }
        shop.get("/v1/me").by(&ada).send().await.is(200);
        let sessions = shop.get("/v1/me/sessions").by(&ada).send().await;
        assert_eq!(sessions.is(200).column("current"), ["true"], "the session that changed it is the only one");
    }
}

const OLD: &str = "correct horse battery";

/// All of them know the password; the one who is first changes it, and then they know it no longer.
#[tokio::test]
async fn a_password_is_changed_once_by_those_who_know_it() {
    let shop = alone(CHEAP).await;
    for clients in CROWDS {
        let ada = shop.customer().await;
        let email = text(&ada["user"], "email").to_owned();
        let new = |n: usize| format!("a new password, number {n}");
        let keys: Vec<String> = (0..clients).map(|_| unique("change")).collect();
        let answers = at_once(&shop, clients, async |n| {
            let body = json!({"current_password": OLD, "new_password": new(n)});
            let put = async || shop.put("/v1/me/password", body.clone()).by(&ada).key(&keys[n]).send().await;
            for_good(put).await
        })
        .await;
        assert_eq!(count(&answers, 204), 1, "{clients} changes");
        for (n, told) in answers.iter().enumerate() {
            if told.status == 204 {
                shop.log_in(&email, &new(n)).await.is(200);
            } else {
                told.is_problem(401, "invalid_credentials");
            }
        }
    }
}

/// Administrators who take the role from one another: one is left, whatever the order.
#[tokio::test]
async fn the_last_administrator_stays() {
    let shop = alone(CHEAP).await;
    let admin = shop.admin().await;
    let role = async |who: &serde_json::Value, by: &serde_json::Value, roles: &[&str], key: &str| {
        let path = format!("/v1/admin/users/{}", text(&who["user"], "id"));
        for_good(async || shop.patch(&path, json!({"roles": roles})).by(by).key(key).send().await).await
    };
    role(&admin, &admin, &["customer"], &unique("role")).await.is_problem(409, "last_administrator");
    shop.get("/v1/admin/cluster").by(&admin).send().await.is(200);
    for clients in [2, 16] {
        let mut staff = vec![admin.clone()];
        for _ in 1..clients {
            staff.push(shop.user_with(&["admin"]).await);
        }
        let keys: Vec<String> = (0..clients).map(|_| unique("role")).collect();
        // Everybody takes the role from his neighbour. Who has lost it before his turn may not any more.
        let answers = at_once(&shop, clients, async |n| {
            role(&staff[(n + 1) % clients], &staff[n], &["customer"], &keys[n]).await
        })
        .await;
        for told in answers.iter().filter(|told| told.status != 200) {
            match told.status.as_u16() {
                403 => told.is_problem(403, "forbidden"),
                _ => told.is_problem(409, "last_administrator"),
            };
        }
        assert!((1..clients).contains(&count(&answers, 200)), "{clients} administrators, and one stays");
        for n in 0..clients {
            let told = shop.get("/v1/admin/cluster").by(&staff[(n + 1) % clients]).send().await;
            assert_eq!(
                told.status == 403,
                answers[n].status == 200,
                "who has lost the role has lost it: {}",
                told.body
            );
        }
        // One who is left gives the role back to the first, who takes it from all others again.
        let left: Vec<_> =
            (0..clients).filter(|n| answers[*n].status != 200).map(|n| &staff[(n + 1) % clients]).collect();
        if left.iter().all(|who| who["user"]["id"] != admin["user"]["id"]) {
            role(&admin, left[0], &["admin", "customer"], &unique("role")).await.is(200);
        }
        for other in left.iter().filter(|who| who["user"]["id"] != admin["user"]["id"]) {
            role(other, &admin, &["customer"], &unique("role")).await.is(200);
        }
    }
}
