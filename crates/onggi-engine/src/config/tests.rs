use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn image(entrypoint: &str, cmd: &str) -> Config {
    let list = |text: &str| (text != "-").then(|| words(text));
    Config { entrypoint: list(entrypoint), cmd: list(cmd), ..Config::default() }
}

#[test]
fn entry_point_and_command() {
    let table = [
        // image's entry point and command; --entrypoint; command; what runs ("" is an error)
        ("-", "sh", None, "", "sh"),
        ("-", "sh", None, "ls -l", "ls -l"),
        ("init --", "serve", None, "", "init -- serve"),
        ("init --", "serve", None, "ls", "init -- ls"),
        ("init", "-", None, "", "init"),
        ("init --", "serve", Some("ls"), "", "ls"),
        ("init --", "serve", Some("ls"), "-a", "ls -a"),
        ("init --", "serve", Some(""), "ls", "ls"),
        ("init --", "serve", Some(""), "", ""),
        ("-", "-", None, "", ""),
        ("-", "-", None, "true", "true"),
    ];
    for (entrypoint, cmd, given, command, expected) in table {
        let request = CreateContainer {
            entrypoint: given.map(|word| vec![word.to_owned()]),
            command: words(command),
            ..CreateContainer::default()
        };
        let merged = merge(&request, &image(entrypoint, cmd));
        let ran = merged.as_ref().map(|config| arguments(config).join(" "));
        match expected {
            "" => assert!(matches!(ran, Err(RequestError::NoCommand(_))), "{ran:?}"),
            _ => assert_eq!(ran.unwrap(), expected),
        }
    }
}

#[test]
fn environment_of_three() {
    let image = Config { env: words("PATH=/bin LANG=C GONE=1"), cmd: Some(words("sh")), ..Config::default() };
    let request = CreateContainer { env: words("LANG=ko EXTRA=a=b GONE"), ..CreateContainer::default() };
    let merged = merge(&request, &image).unwrap();
    assert_eq!(merged.env, words("LANG=ko EXTRA=a=b GONE PATH=/bin"));
    assert_eq!(process_environment(&merged, "box", true), words("PATH=/bin HOSTNAME=box TERM=xterm LANG=ko EXTRA=a=b"));
    let bare = process_environment(&Config::default(), "box", false);
    assert_eq!(bare, vec![format!("PATH={}", defaults::PATH), "HOSTNAME=box".to_owned()]);
}

#[test]
fn a_nameless_variable_is_refused() {
    let request = CreateContainer { env: words("=x"), command: words("true"), ..CreateContainer::default() };
    assert!(matches!(merge(&request, &Config::default()), Err(RequestError::Env(_))));
}

#[test]
fn the_request_wins_over_the_image() {
    let image = Config {
        user: "app".to_owned(),
        working_dir: "/srv".to_owned(),
        stop_signal: Some("SIGINT".to_owned()),
        labels: [("a", "image"), ("b", "image")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        cmd: Some(words("sh")),
        ..Config::default()
    };
    let untouched = merge(&CreateContainer::default(), &image).unwrap();
    assert_eq!((untouched.user.as_str(), untouched.working_dir.as_str()), ("app", "/srv"));
    let request = CreateContainer {
        user: Some("0".to_owned()),
        working_dir: Some("/".to_owned()),
        stop_signal: Some("9".to_owned()),
        labels: [("b".to_owned(), "request".to_owned())].into(),
        ..CreateContainer::default()
    };
    let merged = merge(&request, &image).unwrap();
    assert_eq!((merged.user.as_str(), merged.working_dir.as_str()), ("0", "/"));
    assert_eq!(merged.stop_signal.as_deref(), Some("9"));
    assert_eq!((merged.labels["a"].as_str(), merged.labels["b"].as_str()), ("image", "request"));
    let relative = CreateContainer { working_dir: Some("srv".to_owned()), ..request };
    assert!(matches!(merge(&relative, &image), Err(RequestError::WorkingDir(_))));
}

#[test]
fn volumes_of_both() {
    let image = Config {
        volumes: ["/data/deep", "/data"].map(|path| (path.to_owned(), serde_json::json!({}))).into(),
        ..Config::default()
    };
    let request = CreateContainer { volumes: vec!["/host:/data".parse().unwrap()], ..CreateContainer::default() };
    let merged = volumes(&request, &image).unwrap();
    let places: Vec<_> = merged.iter().map(|volume| volume.destination.to_str().unwrap()).collect();
    assert_eq!(places, ["/data", "/data/deep"]);
    assert_eq!(merged[0], "/host:/data".parse().unwrap());
    let twice = CreateContainer {
        volumes: ["/a:/x", "b1:/x/"].iter().map(|text| text.parse().unwrap()).collect(),
        ..CreateContainer::default()
    };
    assert!(matches!(volumes(&twice, &image), Err(RequestError::DuplicateMount(_))));
}
