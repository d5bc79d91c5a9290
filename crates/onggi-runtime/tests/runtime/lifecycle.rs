//! created, running, stopped; and what is left afterwards.

use std::time::Duration;

use onggi_testkit::wait_until;
use serde_json::json;

use crate::support::bundle;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn from_created_to_gone() {
    let mut bundle = bundle!("trap 'exit 3' TERM; while :; do sleep 0.05; done");
    bundle.config["annotations"] = json!({ "a": "b" });
    bundle.create().ok();
    let state = bundle.state();
    assert_eq!((state["status"].as_str(), state["annotations"]["a"].as_str()), (Some("created"), Some("b")));
    assert!(bundle.call(&["create", &bundle.id]).failed().contains("exists already"));
    bundle.call(&["start", &bundle.id]).ok();
    assert_eq!(bundle.state()["status"], "running");
    assert!(bundle.call(&["start", &bundle.id]).failed().contains("running"));
    assert!(bundle.call(&["delete", &bundle.id]).failed().contains("running"));
    assert_eq!(bundle.call(&["list", "-q"]).ok(), format!("{}\n", bundle.id));
    let list: serde_json::Value = serde_json::from_str(&bundle.call(&["list", "-f", "json"]).ok()).unwrap();
    assert_eq!(list[0]["pid"], bundle.pid());
    bundle.call(&["kill", &bundle.id, "TERM"]).ok();
    wait_until("the container ends", PATIENCE, || bundle.state()["status"] == "stopped").unwrap();
    assert!(bundle.call(&["kill", &bundle.id, "TERM"]).failed().contains("stopped"));
    bundle.call(&["delete", &bundle.id]).ok();
    assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());
    assert!(bundle.call(&["delete", &bundle.id]).failed().contains("does not exist"));
    bundle.call(&["delete", "--force", &bundle.id]).ok();
}

#[test]
fn run_ends_with_the_programs_code() {
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -9 $$; sleep 9", 137)] {
        let bundle = bundle!(&format!("sh -c '{script}'; exit $?"));
        assert_eq!(bundle.run().code, code, "{script}");
        assert!(bundle.leftovers().is_empty());
    }
}

#[test]
fn pause_and_resume() {
    let bundle = bundle!("sleep 100");
    bundle.start();
    bundle.call(&["pause", &bundle.id]).ok();
    assert_eq!(bundle.state()["status"], "paused");
    assert!(bundle.call(&["exec", &bundle.id, "true"]).failed().contains("paused"));
    bundle.call(&["resume", &bundle.id]).ok();
    assert_eq!(bundle.state()["status"], "running");
    bundle.call(&["pause", &bundle.id]).ok();
    bundle.call(&["delete", "--force", &bundle.id]).ok();
    assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());
}

#[test]
fn kill_all_reaches_everybody() {
    let bundle = bundle!("sleep 100 & sleep 100 & wait; sleep 100");
    bundle.start();
    wait_until("three processes", PATIENCE, || {
        serde_json::from_str::<Vec<i32>>(&bundle.call(&["ps", "-f", "json", &bundle.id]).ok()).unwrap().len() == 3
    })
    .unwrap();
    bundle.call(&["kill", "--all", &bundle.id, "KILL"]).ok();
    wait_until("the container ends", PATIENCE, || bundle.state()["status"] == "stopped").unwrap();
}

#[test]
fn a_pid_in_use_again_is_not_signalled() {
    let bundle = bundle!("sleep 100");
    bundle.start();
    let pid = bundle.pid();
    // What the record would say if the container's pid were another process's by now.
    let file = bundle.dir().join("state").join(&bundle.id).join("state.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let true_start = record["startTime"].clone();
    record["startTime"] = json!(true_start.as_u64().unwrap() - 1);
    std::fs::write(&file, record.to_string()).unwrap();
    assert_eq!(bundle.state()["status"], "stopped");
    assert!(bundle.call(&["kill", &bundle.id, "KILL"]).failed().contains("stopped"));
    assert!(bundle.call(&["exec", &bundle.id, "true"]).failed().contains("stopped"));
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    record["startTime"] = true_start;
    std::fs::write(&file, record.to_string()).unwrap();
    assert_eq!(bundle.state()["status"], "running");
}

#[test]
fn a_killed_create_leaves_an_id_that_can_be_had_again() {
    let mut bundle = bundle!("true");
    bundle.config["hooks"] =
        json!({ "createRuntime": [{ "path": "/bin/sleep", "args": ["sleep", "30"], "timeout": 60 }] });
    let mut child = bundle.command(&["create", &bundle.id]).spawn().unwrap();
    let state = bundle.dir().join("state").join(&bundle.id).join("state.json");
    wait_until("the claim is on record", PATIENCE, || state.exists()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    child.kill().unwrap();
    child.wait().unwrap();
    bundle.config["hooks"] = json!({});
    assert_eq!(bundle.run().ok(), "");
    assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());
}

#[test]
fn what_cannot_be_executed() {
    for (args, code) in
        [(json!(["nope"]), 127), (json!(["/bin/nope"]), 127), (json!(["/etc/passwd"]), 126), (json!(["/etc"]), 126)]
    {
        let mut bundle = bundle!("");
        bundle.config["process"]["args"] = args.clone();
        let outcome = bundle.run();
        assert_eq!(outcome.code, code, "{args}: {outcome:?}");
        assert!(outcome.err.contains(args[0].as_str().unwrap()), "{outcome:?}");
        assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());
    }
}

#[test]
fn a_log_in_json() {
    let mut bundle = bundle!("");
    bundle.config["process"]["args"] = json!(["nope"]);
    let log = bundle.dir().join("log.json");
    let log_name = log.to_str().unwrap();
    bundle.call(&["--log", log_name, "--log-format", "json", "run", &bundle.id]).failed();
    let text = std::fs::read_to_string(&log).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().unwrap().contains("executable file not found in $PATH"), "{line}");
}

/// An ordinary user, in a user namespace that maps himself alone.
#[test]
fn an_ordinary_user() {
    onggi_testkit::needs!("root", "setpriv");
    let mut bundle = bundle!("id -u; echo x > /dev/null && echo null; cat /proc/self/uid_map | tr -s ' '");
    let home = tempfile::tempdir().unwrap();
    let runtime = home.path().join("runtime");
    std::fs::copy(crate::support::runtime(), &runtime).unwrap();
    let own = |path: &std::path::Path| std::os::unix::fs::chown(path, Some(54_321), Some(54_321)).unwrap();
    own(home.path());
    let as_user = |args: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=54321", "--regid=54321", "--clear-groups"]).arg(&runtime);
        command.args(args).current_dir(home.path()).stdin(std::process::Stdio::null());
        command.env("XDG_RUNTIME_DIR", home.path());
        crate::support::Outcome::from(command.output().unwrap())
    };
    as_user(&["spec", "--rootless"]).ok();
    let file = home.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = bundle.config["process"]["args"].take();
    config["root"]["path"] = json!(bundle.rootfs.path());
    std::fs::set_permissions(bundle.rootfs.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(&file, config.to_string()).unwrap();
    assert_eq!(as_user(&["run", "mine"]).ok(), "0\nnull\n 0 54321 1\n");
    assert!(home.path().join("onggi/runtime").read_dir().unwrap().next().is_none());
}
