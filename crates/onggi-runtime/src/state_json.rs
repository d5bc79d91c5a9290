//! A container's state as the specification has it written: what `state` prints and hooks read.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use onggi_oci::runtime::SPEC_VERSION;
use serde::Serialize;

/// What does not change over a container's life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateJson<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a Path,
    pub(crate) annotations: Option<&'a HashMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rendered<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pid: i32,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
}

fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

impl StateJson<'_> {
    /// The state document; `pid` 0 is left out.
    pub(crate) fn render(&self, status: &str, pid: i32) -> Vec<u8> {
        let annotations = self.annotations.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
        let rendered = Rendered {
            oci_version: SPEC_VERSION,
            id: self.id,
            status,
            pid,
            bundle: self.bundle,
            annotations: annotations.collect(),
        };
        serde_json::to_vec(&rendered).unwrap_or_default()
    }
}
