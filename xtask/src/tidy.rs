//! The arrows between crates against the table in `layers.toml`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::run;

#[derive(Deserialize)]
struct Layers {
    allowed: BTreeMap<String, BTreeSet<String>>,
    forbidden: BTreeMap<String, BTreeSet<String>>,
}

/// Normal and build dependencies, by package name; what a crate needs only for its tests is not an arrow.
type Graph = BTreeMap<String, BTreeSet<String>>;

pub(crate) fn main() -> Result<()> {
    let table = std::fs::read_to_string(run::top().join("xtask/layers.toml"))?;
    let layers: Layers = toml::from_str(&table).context("xtask/layers.toml")?;
    let metadata = run::metadata()?;
    let graph = graph(&metadata)?;
    let ours: BTreeSet<&str> = members(&metadata);
    let mut faults = Vec::new();
    for name in &ours {
        match layers.allowed.get(*name) {
            None => faults.push(format!("{name} is not in xtask/layers.toml")),
            Some(allowed) => faults.extend(new_edges(name, allowed, &graph, &ours)),
        }
    }
    for (from, unwanted) in &layers.forbidden {
        faults.extend(
            unwanted
                .iter()
                .filter_map(|to| path(&graph, from, to))
                .map(|path| format!("{from} must not reach {}: {}", path[path.len() - 1], path.join(" -> "))),
        );
    }
    if !faults.is_empty() {
        bail!("{} crate arrows are wrong\n  {}", faults.len(), faults.join("\n  "));
    }
    println!("tidy: {} crates, every arrow is in xtask/layers.toml", ours.len());
    Ok(())
}

fn new_edges(name: &str, allowed: &BTreeSet<String>, graph: &Graph, ours: &BTreeSet<&str>) -> Vec<String> {
    let used = graph.get(name).into_iter().flatten().filter(|used| ours.contains(used.as_str()));
    used.filter(|used| !allowed.contains(*used)).map(|used| format!("{name} -> {used} is a new edge")).collect()
}

fn members(metadata: &Value) -> BTreeSet<&str> {
    let ids: BTreeSet<&str> = array(&metadata["workspace_members"]).filter_map(Value::as_str).collect();
    array(&metadata["packages"])
        .filter(|package| package["id"].as_str().is_some_and(|id| ids.contains(id)))
        .filter_map(|package| package["name"].as_str())
        .collect()
}

fn graph(metadata: &Value) -> Result<Graph> {
    let mut names = BTreeMap::new();
    for package in array(&metadata["packages"]) {
        names.insert(package["id"].as_str().context("id")?, package["name"].as_str().context("name")?.to_owned());
    }
    let mut graph = Graph::new();
    for node in array(&metadata["resolve"]["nodes"]) {
        let from = names[node["id"].as_str().context("node")?].clone();
        let edges = graph.entry(from).or_default();
        for dep in array(&node["deps"]) {
            let real = array(&dep["dep_kinds"]).any(|kind| kind["kind"].as_str() != Some("dev"));
            if real {
                edges.insert(names[dep["pkg"].as_str().context("pkg")?].clone());
            }
        }
    }
    Ok(graph)
}

/// The shortest way from one crate to another, which is what tells a reader where an unwanted one came in.
fn path(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut queue = VecDeque::from([vec![from.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = queue.pop_front() {
        let last = path.last()?.clone();
        if last == to {
            return Some(path);
        }
        for next in graph.get(&last).into_iter().flatten().filter(|next| seen.insert((*next).clone())) {
            queue.push_back(path.iter().cloned().chain([next.clone()]).collect());
        }
    }
    None
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
