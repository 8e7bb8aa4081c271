//! What the server says of a cluster, as people read it.

use serde_json::Value;

/// Rows of each table of `watch`: they are to fit on a terminal.
const WATCHED_MAX: usize = 8;

/// A cell: texts as they are, what is not known as a dash.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Columns below their names, each as wide as its widest cell.
fn table(names: &[&str], rows: Vec<Vec<String>>) -> String {
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        cells.chain([names[n].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let names: Vec<String> = names.iter().map(|name| name.to_uppercase()).collect();
    std::iter::once(line(&names)).chain(rows.iter().map(|row| line(row))).collect()
}

/// A table of members of objects.
fn table_of(list: &Value, names: &[&str]) -> String {
    let row = |item: &Value| names.iter().map(|name| cell(&item[*name])).collect();
    table(names, list.as_array().into_iter().flatten().map(row).collect())
}

pub fn status(cluster: &Value) -> String {
    let well = |is_well: &Value, well, ill| if *is_well == true { well } else { ill };
    let mut text = format!(
        "cluster {}: {} slots, store {} ({}), {}; seen at {}\n\n",
        cell(&cluster["name"]),
        cluster["slots"],
        cell(&cluster["store"]["kind"]),
        well(&cluster["store"]["healthy"], "well", "not well"),
        well(&cluster["balanced"], "balanced", "not balanced"),
        cell(&cluster["view"]["at"]),
    );
    text += &nodes(cluster);
    let out_of_plan = cluster["out_of_plan"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !out_of_plan.is_empty() {
        text += &format!("\n{} slots are not where they should be:\n", out_of_plan.len());
        text += &table_of(&cluster["out_of_plan"], &["slot", "why"]);
    }
    text
}

/// The status, and what is under way: the slots that the asked node gives away or takes just now, and what the plan of all
/// nodes has still to do.
pub fn watched(cluster: &Value) -> String {
    let plan = &cluster["plan"];
    let mut text = status(cluster);
    for (list, what, columns) in [
        (&cluster["changing"], "change hands at this node", &["slot", "owner", "epoch", "state"][..]),
        (&plan["moves"], "are to move", &["slot", "from", "to", "why"]),
        (&plan["claims"], "are to be claimed", &["slot", "to", "why"]),
    ] {
        let all = list.as_array().map(Vec::as_slice).unwrap_or_default();
        if all.is_empty() {
            continue;
        }
        let first = Value::from(&all[..all.len().min(WATCHED_MAX)]);
        text += &format!("\n{} slots {what}:\n{}", all.len(), table_of(&first, columns));
        if all.len() > WATCHED_MAX {
            text += &format!("and {} more\n", all.len() - WATCHED_MAX);
        }
    }
    text
}

pub fn nodes(cluster: &Value) -> String {
    const NAMES: [&str; 10] =
        ["id", "state", "slots", "weight", "version", "http", "link", "age_ms", "requests_per_s", "unreachable"];
    let nodes = cluster["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    // A column of dashes would be in the way.
    let has_zones = nodes.iter().any(|node| node["zone"].is_string());
    let zone = |node: &Value| has_zones.then(|| cell(&node["zone"]));
    let row = |node: &Value| {
        let unreachable: Vec<String> = node["unreachable"].as_array().into_iter().flatten().map(cell).collect();
        let id = format!("{}{}", cell(&node["id"]), if node["is_me"] == true { " *" } else { "" });
        let members = ["state", "slots", "weight", "version", "http", "link"].map(|name| cell(&node[name]));
        let mut row = vec![id];
        row.extend(members);
        row.extend([cell(&node["lease"]["age_ms"]), cell(&node["requests_per_s"]), unreachable.join(",")]);
        row.extend(zone(node));
        row
    };
    let names: Vec<&str> = NAMES.into_iter().chain(has_zones.then_some("zone")).collect();
    table(&names, nodes.iter().map(row).collect())
}

pub fn slots(slots: &Value) -> String {
    table_of(
        slots,
        &["slot", "owner", "epoch", "state", "since", "pinned_to", "queue_depth", "restarts", "quarantined"],
    )
}

pub fn slot(slot: &Value) -> String {
    let history = table_of(&slot["history"], &["at", "epoch", "owner", "why", "pause_ms"]);
    format!("{}\n{history}", slots(&Value::Array(vec![slot.clone()])))
}

pub fn plan(plan: &Value) -> String {
    let mut text = table_of(&plan["shares"], &["node", "has", "wants"]);
    for (name, columns) in [
        ("moves", &["slot", "from", "to", "why"][..]),
        ("claims", &["slot", "to", "why"]),
        ("refusals", &["why", "slot", "node", "moves"]),
    ] {
        if plan[name].as_array().is_some_and(|list| !list.is_empty()) {
            text += &format!("\n{name}:\n{}", table_of(&plan[name], columns));
        }
    }
    text
}

/// Nothing where there are none.
pub fn moves(moves: &Value) -> String {
    if moves.as_array().is_none_or(Vec::is_empty) {
        return String::new();
    }
    table_of(moves, &["slot", "from", "to", "why"])
}

pub fn job(job: &Value) -> String {
    format!("{} {}: {} slots are left\n", cell(&job["id"]), cell(&job["state"]), job["remaining"])
}

/// What has come of an action. A drain that begins is answered with its job.
pub fn acted(what: &str, acted: &Value) -> String {
    if acted["kind"] == "drain" {
        return job(acted);
    }
    let outcome = match (acted["dry_run"] == true, acted["changed"] == true) {
        (true, _) => "would be done",
        (false, true) => "done",
        (false, false) => "it is so already",
    };
    let beside = if acted["job"].is_object() { job(&acted["job"]) } else { String::new() };
    format!("{what}: {outcome}\n{}{beside}", moves(&acted["moves"]))
}

/// One line.
pub fn event(kind: &str, data: &Value) -> String {
    let known = |name: &str| data.get(name).filter(|value| !value.is_null());
    let members = ["slot", "epoch", "from", "node", "why", "claims", "moves", "writes"];
    let members = members.iter().filter_map(|name| Some(format!("{name}={}", cell(known(name)?))));
    let members = members.collect::<Vec<_>>().join(" ");
    format!("{}  {kind:17} {members}", cell(&data["at"])).trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let moves =
            json!([{"slot": 3, "from": "node-1#0a", "to": "b", "why": "drain"}, {"slot": 12, "from": "c", "to": null}]);
        assert_eq!(
            super::moves(&moves),
            "SLOT  FROM       TO  WHY\n3     node-1#0a  b   drain\n12    c          -   -\n"
        );
        assert_eq!(super::moves(&json!([])), "");
    }

    #[test]
    fn an_action_says_what_came_of_it() {
        let of = |changed: bool, dry_run: bool| acted("cordon a", &json!({"changed": changed, "dry_run": dry_run}));
        assert_eq!(of(true, false), "cordon a: done\n");
        assert_eq!(of(false, false), "cordon a: it is so already\n");
        assert_eq!(of(false, true), "cordon a: would be done\n");
        let job = json!({"id": "drain~a#1", "kind": "drain", "state": "running", "remaining": 4});
        assert_eq!(acted("drain a", &job), "drain~a#1 running: 4 slots are left\n");
    }

    #[test]
    fn zones_are_a_column_where_a_node_has_one() {
        let of = |nodes: Value| nodes_of_lines(&json!({"nodes": nodes}));
        assert_eq!(of(json!([{"id": "a#1"}]))[0].last().map(String::as_str), Some("UNREACHABLE"));
        let lines = of(json!([{"id": "a#1", "zone": "west", "unreachable": ["b#1"]}, {"id": "b#1"}]));
        let last: Vec<&str> = lines.iter().filter_map(|line| line.last()).map(String::as_str).collect();
        assert_eq!(last, ["ZONE", "west", "-"]);
    }

    fn nodes_of_lines(cluster: &Value) -> Vec<Vec<String>> {
        nodes(cluster).lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn who_watches_sees_what_is_under_way_and_nothing_of_it_while_nothing_is() {
        let quiet = json!({"nodes": [], "plan": {"moves": [], "claims": []}, "changing": []});
        assert_eq!(watched(&quiet), status(&quiet));
        let moves: Vec<Value> =
            (0..10).map(|slot| json!({"slot": slot, "from": "a", "to": "b", "why": "drain"})).collect();
        let changing = json!([{"slot": 17, "owner": "a", "epoch": 3, "state": "handing_over"}]);
        let busy = json!({"nodes": [], "plan": {"moves": moves, "claims": []}, "changing": changing});
        let shown = watched(&busy);
        let under_way = shown.strip_prefix(&status(&busy)).expect("first the status");
        assert!(under_way.starts_with(
            "\n1 slots change hands at this node:\nSLOT  OWNER  EPOCH  STATE\n17    a      3      handing_over\n\n\
             10 slots are to move:\nSLOT  FROM  TO  WHY\n0     a     b   drain\n"
        ));
        assert!(under_way.ends_with("7     a     b   drain\nand 2 more\n"), "{under_way}");
    }

    #[test]
    fn an_event_is_a_line() {
        let data = json!({"at": "2026-01-01T00:00:00.000Z", "slot": 3, "node": "b#1"});
        assert_eq!(event("slot_moved", &data), "2026-01-01T00:00:00.000Z  slot_moved        slot=3 node=b#1\n");
    }
}
