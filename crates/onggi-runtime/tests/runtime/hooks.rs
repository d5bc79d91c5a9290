//! Programs of the host's at six moments.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::bundle;

#[test]
fn each_in_its_place_with_the_state() {
    let mut bundle = bundle!("true");
    let notes = tempfile::tempdir().unwrap();
    let hook = |name: &str| {
        let script = format!(
            "cat > {0}/{name}; env > {0}/{name}.env; readlink /proc/self/ns/mnt > {0}/{name}.ns",
            notes.path().display()
        );
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["ONLY=this"] }])
    };
    let names = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    bundle.config["hooks"] = names.iter().map(|name| ((*name).to_owned(), hook(name))).collect::<Value>();
    bundle.config["hooks"]["startContainer"] =
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/shm/state"] }]);
    bundle.config["process"]["args"] = json!(["cat", "/dev/shm/state"]);
    // Made to be more than a value, were it ever put into a command or a template.
    bundle.config["annotations"] = json!({ "evil": "a\nb\"$(id)" });
    let inside: Value = serde_json::from_str(&bundle.run().ok()).unwrap();
    assert_eq!(inside["status"], "created");
    let ours = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    for (name, status) in names.iter().zip(["creating", "creating", "creating", "running", "stopped"]) {
        let read = |suffix: &str| std::fs::read_to_string(notes.path().join(format!("{name}{suffix}"))).unwrap();
        let state: Value = serde_json::from_str(&read("")).unwrap();
        assert_eq!(
            (state["status"].as_str(), state["id"].as_str()),
            (Some(status), Some(bundle.id.as_str())),
            "{name}"
        );
        assert_eq!(state["annotations"]["evil"], "a\nb\"$(id)");
        let env = read(".env");
        assert!(env.contains("ONLY=this") && !env.contains("PATH="), "{name}: {env}");
        let inside = read(".ns").trim() != ours.to_str().unwrap();
        assert_eq!(inside, *name == "createContainer", "{name}");
    }
}

#[test]
fn one_that_fails_or_hangs_ends_the_start() {
    for (script, said) in [("echo no luck; exit 3", "no luck"), ("sleep 60", "did not end within 1 s")] {
        let mut bundle = bundle!("true");
        bundle.config["hooks"] =
            json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1 }] });
        let begun = Instant::now();
        let error = bundle.run().failed();
        assert!(error.contains("createRuntime[0]") && error.contains(said), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());
    }
}

#[test]
fn one_after_the_start_only_warns() {
    let mut bundle = bundle!("exit 4");
    bundle.config["hooks"] = json!({ "poststart": [{ "path": "/bin/false" }], "poststop": [{ "path": "/bin/false" }] });
    let outcome = bundle.run();
    assert_eq!(outcome.code, 4);
    assert!(outcome.err.contains("poststart[0]") && outcome.err.contains("poststop[0]"), "{outcome:?}");
}
