use proptest::prelude::*;

use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn names_are_completed_as_docker_completes_them() {
    for (typed, full, familiar) in [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/library/alpine:x", "docker.io/library/alpine:x", "alpine:x"),
        ("grafana/loki", "docker.io/grafana/loki:latest", "grafana/loki:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("docker.io/localhost/x", "docker.io/localhost/x:latest", "docker.io/localhost/x:latest"),
        ("index.docker.io/quay.io/x", "docker.io/quay.io/x:latest", "docker.io/quay.io/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        // Nothing but a tag follows a name without a slash.
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("ghcr.io/a/b/c", "ghcr.io/a/b/c:latest", "ghcr.io/a/b/c:latest"),
        ("host:1/x", "host:1/x:latest", "host:1/x:latest"),
        ("HOST/x", "HOST/x:latest", "HOST/x:latest"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("a__b/c---d.e_f", "docker.io/a__b/c---d.e_f:latest", "a__b/c---d.e_f:latest"),
        ("x:_.-A", "docker.io/library/x:_.-A", "x:_.-A"),
    ] {
        let reference = Reference::parse(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
        assert_eq!(reference.to_string(), full, "{typed}");
        assert_eq!(reference.familiar(), familiar, "{typed}");
    }
}

#[test]
fn a_digest_is_kept_beside_a_tag_and_wins() {
    let both = Reference::parse(&format!("alpine:3@sha256:{HEX}")).unwrap();
    assert_eq!((both.tag(), both.selector()), (Some("3"), format!("sha256:{HEX}").as_str()));
    assert_eq!(both.familiar(), format!("alpine:3@sha256:{HEX}"));
    let one = Reference::parse(&format!("alpine@sha256:{HEX}")).unwrap();
    assert_eq!(one.tag(), None);
    assert_eq!(one.to_string(), format!("docker.io/library/alpine@sha256:{HEX}"));
}

#[test]
fn what_is_no_name_is_refused_with_the_reason() {
    let long = format!("{}/x", "a".repeat(260));
    let long_tag = format!("x:{}", "t".repeat(129));
    for (typed, reason) in [
        ("", "empty"),
        (HEX, "ID"),
        ("Alpine", "upper-case"),
        ("grafana/Loki", "upper-case"),
        ("a//b", "part of a repository"),
        ("a/", "part of a repository"),
        ("/a", "part of a repository"),
        ("localhost/", "repository is empty"),
        ("a/../b", "part of a repository"),
        ("../b", "registry"),
        ("a___b", "part of a repository"),
        ("-a", "part of a repository"),
        ("a..b", "part of a repository"),
        ("a b", "part of a repository"),
        ("a%2fb", "part of a repository"),
        ("x:", "tag is empty"),
        ("x:-t", "cannot be a tag"),
        ("x:a b", "cannot be a tag"),
        ("h:99999/x", "registry"),
        ("h:/x:y:z", "registry"),
        ("-h.io/x", "registry"),
        ("h..io/x", "registry"),
        ("[::g]:1/x", "registry"),
        ("x@sha256:../..", "not a digest"),
        ("x@md5:00", "not supported"),
        (&long, "longer than"),
        (&long_tag, "cannot be a tag"),
    ] {
        let error = Reference::parse(typed).expect_err(typed);
        assert!(error.to_string().contains(reason), "{typed}: {error}");
    }
    assert_eq!(Reference::parse("Alpine").unwrap_err().hint().unwrap(), "did you mean `alpine`?");
}

proptest! {
    #[test]
    fn both_forms_mean_the_same_again(text in "[a-zA-Z0-9.:/@_-]{0,40}") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
            prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
        }
    }

    #[test]
    fn no_part_can_leave_a_path_or_url(text in "\\PC{0,60}") {
        if let Ok(reference) = Reference::parse(&text) {
            for part in reference.repository().split('/') {
                prop_assert!(!part.is_empty() && part != "." && part != "..");
                prop_assert!(!part.contains(['%', '?', '#', '\\', ' ']));
            }
        }
    }
}
