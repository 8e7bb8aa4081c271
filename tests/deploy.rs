//! What operators are given is true: the files of `deploy/` parse, and name only metrics, settings and sections of
//! the runbook that exist; and the runbook knows every error that the code can log.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use souk::cluster::link::Counters;
use souk::config::{Config, Sources};
use souk::metrics::Metrics;

const RUNBOOK: &str = include_str!("../docs/operations.md");

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document of a YAML file.
fn yaml(path: &str) -> Vec<Value> {
    let text = text(path);
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents.map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{path}: {error}"))).collect()
}

fn alerts() -> Vec<Value> {
    let file = yaml("deploy/prometheus/alerts.yml").remove(0);
    let groups = file["groups"].as_array().expect("groups").clone();
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// Every text under any key called `name`, at any depth.
fn texts_at<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            found.extend(value.as_str().filter(|_| key == name));
            texts_at(value, name, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| texts_at(item, name, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The words of `text` that begin with `prefix`.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(move |word| word.starts_with(prefix))
}

fn metric_names() -> BTreeSet<String> {
    let links = Counters::default().each().into_iter().map(|(name, ..)| format!("souk_link_{name}"));
    Metrics::describe().into_iter().map(|(name, _)| name.to_owned()).chain(links).collect()
}

fn assert_metrics_exist(query: &str) {
    let names = metric_names();
    for word in words(query, "souk_") {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix));
        assert!(names.contains(word) || base.is_some_and(|base| names.contains(base)), "no metric {word} for {query}");
    }
}

#[test]
fn alerts_are_on_metrics_that_exist_and_stand_in_the_runbook() {
    let alerts = alerts();
    assert!(alerts.len() >= 10);
    for alert in &alerts {
        let name = alert["alert"].as_str().expect("a name");
        let query = alert["expr"].as_str().expect("an expression");
        assert!(query.contains("souk_") || query.starts_with("up{"), "{name}");
        assert_metrics_exist(query);
        assert!(["page", "ticket"].iter().any(|severity| alert["labels"]["severity"] == *severity), "{name}");
        assert!(alert["annotations"]["summary"].is_string(), "{name}");
        let anchor = format!("docs/operations.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook"], anchor.as_str());
        assert!(RUNBOOK.contains(&format!("\n### {name}\n")), "the runbook has no section {name}");
    }
    for section in RUNBOOK.lines().filter_map(|line| line.strip_prefix("### Souk")) {
        assert!(
            alerts.iter().any(|alert| alert["alert"] == format!("Souk{section}").as_str()),
            "no alert Souk{section}"
        );
    }
}

#[test]
fn the_dashboard_is_on_metrics_that_exist_and_leaves_none_out() {
    let text = text("deploy/grafana/souk.json");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut queries = Vec::new();
    texts_at(&dashboard["panels"], "expr", &mut queries);
    assert!(queries.len() > 20);
    queries.iter().for_each(|query| assert_metrics_exist(query));
    let shown = queries.join("\n");
    for name in metric_names() {
        assert!(shown.contains(&name), "{name} is on no panel");
    }
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "panel ids are unique");
}

/// The image is built with the Rust that the tree is tested with.
#[test]
fn the_image_is_built_with_the_rust_of_the_tree() {
    let named = |path: &str, before: &str| {
        let text = text(path);
        let version = text.lines().find_map(|line| line.strip_prefix(before));
        version.unwrap_or_else(|| panic!("{path} has {before}")).trim_matches('"').to_owned()
    };
    assert_eq!(named("rust-toolchain.toml", "channel = "), named("deploy/Dockerfile", "ARG RUST_VERSION="));
}

#[test]
fn the_yaml_files_are_what_they_say() {
    let compose = &yaml("deploy/compose.yaml")[0];
    assert_eq!(compose["services"]["souk"]["volumes"][0], "souk-data:/data");
    assert_eq!(yaml("deploy/prometheus/scrape.yml")[0]["rule_files"][0], "alerts.yml");
    let documents = yaml("deploy/kubernetes/souk.yaml");
    let kinds: Vec<&str> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(kinds, ["ConfigMap", "Service", "StatefulSet"]);
    let set = &documents[2]["spec"];
    assert_eq!(set["replicas"], 1, "the embedded store belongs to one process");
    assert_eq!(set["selector"]["matchLabels"], set["template"]["metadata"]["labels"]);
    let container = &set["template"]["spec"]["containers"][0];
    for (probe, path) in [("startupProbe", "/startupz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
    }
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
}

#[test]
fn the_compose_file_with_postgresql_differs_in_the_store_alone() {
    let (embedded, shared) = (&yaml("deploy/compose.yaml")[0], &yaml("deploy/compose.postgres.yaml")[0]);
    let (embedded, souk) = (&embedded["services"]["souk"], &shared["services"]["souk"]);
    for key in ["build", "image", "ports", "stop_grace_period", "read_only", "cap_drop", "security_opt", "restart"] {
        assert_eq!(embedded[key], souk[key], "{key}");
    }
    let postgres = &shared["services"]["postgres"];
    assert_eq!(souk["depends_on"]["postgres"]["condition"], "service_healthy");
    assert!(postgres["healthcheck"]["test"].is_array() && postgres["ports"].is_null(), "only souk reaches it");
    let told = |variable: &str| postgres["environment"][variable].as_str().expect("a text");
    let mut given = souk["environment"].as_object().expect("variables").clone();
    let url = given.remove("SOUK_STORE_URL").expect("where the store is");
    let address =
        format!("postgres://{}:{}@postgres/{}", told("POSTGRES_USER"), told("POSTGRES_PASSWORD"), told("POSTGRES_DB"));
    assert_eq!(url, address.as_str());
    let options = vec![
        ("SOUK_STORE", "store.kind", given["SOUK_STORE"].as_str().expect("a kind").to_owned()),
        ("SOUK_STORE_URL", "store.url", "postgres://souk:secret@postgres/souk".to_owned()),
    ];
    let config = Config::load(&Sources { options, ..Sources::default() }).expect("a good configuration");
    assert!(config.store.kind.is_shared());
}

#[test]
fn the_configuration_on_kubernetes_is_one_that_souk_takes() {
    let map = &yaml("deploy/kubernetes/souk.yaml")[0];
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("souk.toml");
    fs::write(&file, map["data"]["souk.toml"].as_str().expect("the file")).expect("written");
    let config = Config::load(&Sources { file: Some(&file), ..Sources::default() }).expect("a good configuration");
    assert_eq!(config.http.trusted_proxies.len(), 1);
}

#[test]
fn every_stop_is_given_the_time_that_a_drain_takes() {
    let drain_s = Config::default().http.drain_ms / 1_000;
    let set = &yaml("deploy/kubernetes/souk.yaml")[2];
    let kubernetes_s = set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    assert!(kubernetes_s > drain_s + 20, "{kubernetes_s} s for a drain of {drain_s} s and two settling times of 10 s");
    let compose = &yaml("deploy/compose.yaml")[0];
    assert_eq!(compose["services"]["souk"]["stop_grace_period"], format!("{kubernetes_s}s").as_str());
    assert!(text("deploy/systemd/souk.service").contains(&format!("\nTimeoutStopSec={kubernetes_s}\n")));
}

/// A mapping with what it takes over from another (`<<`).
fn merged(value: &Value) -> serde_json::Map<String, Value> {
    let mut all = value["<<"].as_object().cloned().unwrap_or_default();
    all.extend(value.as_object().expect("a mapping").clone().into_iter().filter(|(key, _)| key != "<<"));
    all
}

/// The nodes of a cluster are told the same, but for what they are called and where they are reached.
#[test]
fn the_nodes_of_a_cluster_are_told_what_makes_them_one() {
    let compose = &yaml("deploy/compose.cluster.yaml")[0];
    let alone = &yaml("deploy/compose.yaml")[0]["services"]["souk"];
    let mut told = BTreeSet::new();
    for number in 1..=3 {
        let name = format!("node-{number}");
        let node = merged(&compose["services"][&name]);
        for key in ["build", "image", "read_only", "cap_drop", "security_opt", "restart"] {
            assert_eq!(node.get(key), alone.get(key), "{name}: {key}");
        }
        let mut environment = merged(&node["environment"]);
        let mut own =
            |variable: &str| environment.remove(variable).expect("its own").as_str().expect("a text").to_owned();
        assert_eq!((own("SOUK_NODE_NAME"), own("SOUK_CLUSTER__ADVERTISE")), (name.clone(), format!("{name}:7400")));
        told.insert(serde_json::to_string(&environment).expect("JSON"));
    }
    assert_eq!(told.len(), 1, "{told:?}");

    let documents = yaml("deploy/kubernetes/cluster.yaml");
    let of_kind =
        |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("{kind}"));
    let deployment = &of_kind("Deployment")["spec"];
    let labels = &deployment["template"]["metadata"]["labels"];
    for selector in [
        &of_kind("Service")["spec"]["selector"],
        &deployment["selector"]["matchLabels"],
        &of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &of_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    assert_eq!(
        of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"],
        of_kind("Deployment")["metadata"]["name"]
    );
    // What it asks for beside the CPU is what the adapter's rule makes.
    let asked = &of_kind("HorizontalPodAutoscaler")["spec"]["metrics"][1]["pods"]["metric"]["name"];
    let rule = &yaml("deploy/prometheus/adapter.yml")[0]["rules"][0];
    assert_eq!(*asked, rule["name"]["as"]);
    let query = rule["metricsQuery"].as_str().expect("a query");
    assert!(
        query.contains(rule["seriesQuery"].as_str().and_then(|series| series.split('{').next()).expect("a metric"))
    );
    assert_metrics_exist(query);
    // Handing the slots over comes before the drain.
    let drain_s = Config::default().http.drain_ms / 1_000;
    let grace_s = deployment["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    let hand_over_s = souk::node::HAND_OVER.as_secs();
    assert!(grace_s > hand_over_s + drain_s + 20, "{grace_s} s");
    assert_eq!(merged(&compose["services"]["node-1"])["stop_grace_period"], format!("{grace_s}s").as_str());
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("souk.toml");
    fs::write(&file, of_kind("ConfigMap")["data"]["souk.toml"].as_str().expect("the file")).expect("written");
    Config::load(&Sources { file: Some(&file), ..Sources::default() }).expect("a good configuration");
}

/// Every variable that the files and pages name is an option's, a setting's, or one of the bootstrap.
#[test]
fn variables_that_are_named_exist() {
    let help = |command: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_souk")).args(command).arg("--help").output().expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let commands: [&[&str]; 5] =
        [&["serve"], &["import"], &["inspect"], &["admin", "create-admin"], &["replay", "online-retail"]];
    let helps: String = commands.iter().map(|command| help(command)).collect();
    let mut known: BTreeSet<String> = words(&helps, "SOUK_").map(str::to_owned).collect();
    known.extend(["SOUK_BOOTSTRAP_ADMIN_EMAIL", "SOUK_BOOTSTRAP_ADMIN_PASSWORD"].map(str::to_owned));
    let mut section = String::new();
    for line in text("config/default.toml").lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            known.insert(format!("SOUK_{section}__{key}").replace('.', "__").to_uppercase());
        }
    }
    for page in [
        "README.md",
        "docs/operations.md",
        "docs/api-guide.md",
        "docs/stores.md",
        "deploy/Dockerfile",
        "deploy/compose.yaml",
        "deploy/compose.postgres.yaml",
        "deploy/compose.cluster.yaml",
        "deploy/kubernetes/souk.yaml",
        "deploy/kubernetes/cluster.yaml",
        "deploy/systemd/souk.service",
    ] {
        let text = text(page);
        // What Kubernetes itself would set is named to say that it is kept out.
        for variable in words(&text, "SOUK_").filter(|variable| *variable != "SOUK_PORT") {
            assert!(known.contains(variable), "{page} names {variable}, which means nothing");
        }
    }
}

/// The messages of `tracing::error!` in a source text: the last literal of each call.
fn error_messages(source: &str) -> Vec<String> {
    let mut messages = Vec::new();
    for call in source.split("tracing::error!(").skip(1) {
        let call = call.split(");").next().unwrap_or_default();
        messages.extend(call.split('"').nth(1).map(str::to_owned));
    }
    messages
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_runbook_knows_every_error_that_is_logged() {
    assert_eq!(error_messages("tracing::error!(x, %y, \"it broke\");"), ["it broke"]);
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let sources = files.iter().map(|path| fs::read_to_string(path).expect("a source file"));
    let messages: BTreeSet<String> = sources.flat_map(|source| error_messages(&source)).collect();
    assert!(messages.len() > 10);
    for message in &messages {
        assert!(RUNBOOK.contains(&format!("`{message}`")), "the runbook does not know {message:?}");
    }
    let (_, table) = RUNBOOK.split_once("\n## Errors in the log\n").expect("the section");
    let table = table.split("\n## ").next().unwrap_or_default();
    for row in table.lines().filter_map(|line| line.strip_prefix("| `")) {
        let message = row.split('`').next().unwrap_or_default();
        assert!(messages.contains(message), "nothing logs {message:?} any more");
    }
}
