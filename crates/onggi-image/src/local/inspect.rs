//! An image as `docker image inspect` shows it.

use onggi_oci::Platform;
use onggi_oci::image::Config;
use serde_json::{Map, Value, json};

use crate::{Image, ImageError, Images};

impl Images {
    /// What the image that `query` names is, in the form in which Docker's API answers it.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] and its kin.
    pub fn inspect(&self, query: &str, platform: Option<&Platform>) -> Result<Value, ImageError> {
        let image = self.resolve_for(query, platform)?;
        let size: u64 = self.layer_sizes(&image).iter().sum();
        Ok(document(&image, size))
    }
}

fn document(image: &Image, size: u64) -> Value {
    let configuration = &image.configuration;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let extra = |key: &str| configuration.extra.get(key).cloned().unwrap_or_else(|| json!(""));
    let comment = configuration.history.last().map(|step| text(&step.comment)).unwrap_or_default();
    json!({
        "Id": image.id,
        "RepoTags": image.tags(),
        "RepoDigests": image.repository_digests(),
        "Parent": "",
        "Comment": comment,
        "Created": configuration.created,
        "DockerVersion": extra("docker_version"),
        "Author": text(&configuration.author),
        "Config": config(&configuration.config),
        "Architecture": configuration.architecture,
        "Variant": text(&configuration.variant),
        "Os": configuration.os,
        "OsVersion": text(&configuration.os_version),
        "Size": size,
        "GraphDriver": {"Name": "overlay", "Data": null},
        "RootFS": {"Type": "layers", "Layers": image.diff_ids()},
        "Metadata": {},
        "Descriptor": image.target,
    })
}

/// The configuration with every field that Docker always shows: templates name them without asking.
fn config(config: &Config) -> Value {
    let mut shown = Map::new();
    for (key, usual) in [
        ("Hostname", json!("")),
        ("Domainname", json!("")),
        ("User", json!("")),
        ("AttachStdin", json!(false)),
        ("AttachStdout", json!(false)),
        ("AttachStderr", json!(false)),
        ("Tty", json!(false)),
        ("OpenStdin", json!(false)),
        ("StdinOnce", json!(false)),
        ("Env", json!(null)),
        ("Cmd", json!(null)),
        ("Image", json!("")),
        ("Volumes", json!(null)),
        ("WorkingDir", json!("")),
        ("Entrypoint", json!(null)),
        ("OnBuild", json!(null)),
        ("Labels", json!(null)),
    ] {
        shown.insert(key.to_owned(), usual);
    }
    if let Value::Object(fields) = json!(config) {
        shown.extend(fields);
    }
    Value::Object(shown)
}
