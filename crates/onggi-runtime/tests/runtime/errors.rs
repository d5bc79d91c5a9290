//! Bad input: the error names the place, and nothing is left.

use serde_json::{Value, json};

use crate::support::{Bundle, bundle};

type Spoil = fn(&mut Value);

const BAD: [(&str, Spoil); 24] = [
    ("linux.namespaces[6]", |c| c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "nope" }))),
    ("linux.namespaces[6]", |c| c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "pid" }))),
    ("linux.namespaces[0].path", |c| c["linux"]["namespaces"][0]["path"] = json!("/nope")),
    ("a mount namespace cannot be joined", |c| {
        let namespaces = c["linux"]["namespaces"].as_array_mut().unwrap();
        let mount = namespaces.iter_mut().find(|one| one["type"] == "mount").unwrap();
        mount["path"] = json!("/proc/self/ns/mnt");
    }),
    ("root.path", |c| c["root"]["path"] = json!("/nope")),
    ("root.path", |c| c["root"]["path"] = json!("/etc/passwd")),
    ("mounts[7]", |c| push(c, json!({ "destination": "/x", "source": "/nope", "options": ["bind"] }))),
    ("mounts[7].options", |c| push(c, json!({ "destination": "/x", "source": "/etc", "options": ["bind", "bound"] }))),
    ("mounts[7]", |c| push(c, json!({ "destination": "/x", "type": "tmpfs", "options": ["bogus=1"] }))),
    ("mounts[7]", |c| push(c, json!({ "destination": "/x", "type": "nopefs" }))),
    ("mounts[7].destination", |c| push(c, json!({ "destination": "/", "type": "tmpfs" }))),
    ("process.args", |c| c["process"]["args"] = json!([])),
    ("process.args[0]", |c| c["process"]["args"] = json!(["a\u{0}b"])),
    ("process.cwd", |c| c["process"]["cwd"] = json!("relative")),
    ("process.user.uid", |c| c["process"]["user"]["uid"] = json!(-1)),
    ("process.rlimits[0]", |c| c["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 2, "hard": 1 }])),
    ("process.oomScoreAdj", |c| c["process"]["oomScoreAdj"] = json!(2000)),
    ("linux.sysctl.kernel.core_pattern", |c| c["linux"]["sysctl"] = json!({ "kernel.core_pattern": "|x" })),
    ("linux.uidMappings", |c| c["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }])),
    ("linux.timeOffsets", |c| c["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } })),
    ("linux.maskedPaths[0]", |c| c["linux"]["maskedPaths"] = json!(["relative"])),
    ("hooks.createRuntime[0].path", |c| c["hooks"] = json!({ "createRuntime": [{ "path": "relative" }] })),
    ("seccomp", |c| c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_NOPE" })),
    ("2.0.0", |c| c["ociVersion"] = json!("2.0.0")),
];

fn push(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

fn check(bundle: &Bundle, at: &str) {
    let error = bundle.run().failed();
    assert!(error.contains(at), "{at}: {error}");
    assert!(bundle.leftovers().is_empty(), "{at}: {:?}", bundle.leftovers());
}

#[test]
fn a_bad_field_is_named() {
    let mut bundle = bundle!("true");
    let good = bundle.config.clone();
    for (at, spoil) in BAD {
        bundle.config = good.clone();
        spoil(&mut bundle.config);
        check(&bundle, at);
    }
    bundle.config = good;
    bundle.run().ok();
}

#[test]
fn bad_ids_never_become_paths() {
    let bundle = bundle!("true");
    for id in ["", "..", ".", "a/b", "../x", "a b", "ä"] {
        for command in ["run", "state", "kill", "delete", "start", "exec"] {
            let error = bundle
                .call(&[command, id, "TERM"][..if command == "kill" || command == "exec" { 3 } else { 2 }])
                .failed();
            assert!(error.contains("container id"), "{command} {id:?}: {error}");
        }
    }
}

#[test]
fn no_json_and_no_bundle() {
    let bundle = bundle!("true");
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().to_str().unwrap();
    assert!(bundle.call(&["run", "-b", path, &bundle.id]).failed().contains("config.json"));
    std::fs::write(empty.path().join("config.json"), "{\"ociVersion\": \"1.0.0\", nope").unwrap();
    assert!(bundle.call(&["run", "-b", path, &bundle.id]).failed().contains("config.json is malformed"));
    assert!(bundle.call(&["run", "-b", "/nope", &bundle.id]).failed().contains("--bundle"));
    assert!(bundle.leftovers().is_empty());
}

#[test]
fn unknown_words_are_refused() {
    let bundle = bundle!("true");
    for args in [
        vec!["nope"],
        vec!["run", "--nope", "x"],
        vec!["run", "a", "b"],
        vec!["--nope", "run"],
        vec!["kill", "x", "NOSIG"],
    ] {
        bundle.call(&args).failed();
    }
}
