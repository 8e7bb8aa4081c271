//! The actions that are recorded: every route that changes something for staff, with its word.

use axum::http::Method;

/// A route whose requests are recorded.
#[derive(Debug)]
pub struct Recorded {
    method: Method,
    path: &'static str,
    /// What the log calls it. It never gets another name: people search for it.
    pub word: &'static str,
    /// Whether the log keeps the request's body, where that is short. Not where it may hold what is nobody else's business.
    pub keeps_body: bool,
    /// Whether it is carried out though the log cannot be written: what a cluster is mended with must work while it is ill.
    pub mends: bool,
}

const fn of_shop(method: Method, path: &'static str, word: &'static str) -> Recorded {
    Recorded { method, path, word, keeps_body: false, mends: false }
}

const fn of_cluster(path: &'static str, word: &'static str) -> Recorded {
    Recorded { method: Method::POST, path, word, keeps_body: true, mends: true }
}

/// A test holds them to the routes.
pub const RECORDED: &[Recorded] = &[
    of_shop(Method::POST, "/v1/admin/categories", "category.create"),
    of_shop(Method::PATCH, "/v1/admin/categories/{id}", "category.change"),
    of_shop(Method::DELETE, "/v1/admin/categories/{id}", "category.delete"),
    of_shop(Method::POST, "/v1/admin/products", "product.create"),
    of_shop(Method::PATCH, "/v1/admin/products/{id}", "product.change"),
    of_shop(Method::DELETE, "/v1/admin/products/{id}", "product.archive"),
    of_shop(Method::PUT, "/v1/admin/inventory/{sku}", "inventory.set"),
    of_shop(Method::POST, "/v1/admin/inventory/{sku}/adjust", "inventory.adjust"),
    of_shop(Method::POST, "/v1/admin/orders/{id}/fulfil", "order.fulfil"),
    of_shop(Method::POST, "/v1/admin/orders/{id}/refund", "order.refund"),
    Recorded {
        method: Method::PATCH,
        path: "/v1/admin/users/{id}",
        word: "user.roles",
        keeps_body: true,
        mends: false,
    },
    of_cluster("/v1/admin/cluster/nodes/{id}/cordon", "cluster.node.cordon"),
    of_cluster("/v1/admin/cluster/nodes/{id}/drain", "cluster.node.drain"),
    of_cluster("/v1/admin/cluster/nodes/{id}/uncordon", "cluster.node.uncordon"),
    of_cluster("/v1/admin/cluster/slots/{n}/move", "cluster.slot.move"),
    of_cluster("/v1/admin/cluster/slots/{n}/pin", "cluster.slot.pin"),
    of_cluster("/v1/admin/cluster/slots/{n}/unpin", "cluster.slot.unpin"),
    of_cluster("/v1/admin/consumers/{name}/pause", "consumer.pause"),
    of_cluster("/v1/admin/consumers/{name}/resume", "consumer.resume"),
    of_cluster("/v1/admin/consumers/{name}/replay", "consumer.replay"),
    of_cluster("/v1/admin/entities/{kind}/{id}/passivate", "entity.passivate"),
    of_cluster("/v1/admin/entities/{kind}/{id}/verify", "entity.verify"),
    of_cluster("/v1/admin/entities/{kind}/{id}/quarantine", "entity.quarantine"),
    of_cluster("/v1/admin/entities/{kind}/{id}/release", "entity.release"),
];

/// What the log calls an administrator who was made by whoever has the machine.
pub const ADMINISTRATOR_MADE: &str = "administrator.make";

impl Recorded {
    /// `path` as the route has it, with the names of its parameters.
    pub fn of(method: &Method, path: &str) -> Option<&'static Recorded> {
        RECORDED.iter().find(|action| action.method == *method && action.path == path)
    }

    #[cfg(test)]
    fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_that_changes_something_for_staff_is_recorded_under_a_word_of_its_own() {
        let document = serde_json::to_value(crate::http::routes::document()).expect("a document is JSON");
        let paths = document["paths"].as_object().expect("it has paths");
        let staff = paths.iter().filter(|(path, _)| path.starts_with("/v1/admin/"));
        let lines = staff.flat_map(|(path, item)| {
            let methods = item.as_object().expect("an item").keys().filter(|method| *method != "get");
            methods.map(move |method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
        });
        assert_eq!(RECORDED.iter().map(Recorded::line).collect::<BTreeSet<_>>(), lines.collect());
        let words: BTreeSet<&str> = RECORDED.iter().map(|action| action.word).collect();
        assert_eq!(words.len(), RECORDED.len());
    }
}
