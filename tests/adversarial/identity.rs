//! C: who a container runs as.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use onggi_testkit::{captured, needs};

use crate::{evil, script};

#[test]
fn b05_c01_users_are_parsed_whole_or_not_at_all() {
    needs!("root");
    let onggi = evil(|_| {});
    for user in [
        "0x1",
        "1 2",
        "4294967295",
        "4294967296",
        "4294967296:0",
        "-1",
        "1:2:3",
        ":",
        "1:-1",
        "+1",
        "1:0x0",
        "99999999999999999999",
    ] {
        let outcome = script(&onggi, &["-u", user], "id -u");
        assert!(outcome.code == 125 && outcome.stderr.starts_with("error: "), "{user:?}: {outcome:?}");
    }
    assert_eq!(script(&onggi, &["-u", "2147483646"], "id -u").stdout, "2147483646\n");
}

#[test]
fn c02_digits_are_never_a_name() {
    needs!("root");
    let onggi = evil(|root| {
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\n1234:x:0:0::/:/bin/sh\n99999999999:x:0:0::/:/bin/sh\n",
        )
        .unwrap();
    });
    assert_eq!(script(&onggi, &["-u", "1234"], "id -u").stdout, "1234\n");
    assert_eq!(script(&onggi, &["-u", "99999999999"], "id -u").code, 125);
}

#[test]
fn c03_c06_user_databases_that_are_traps() {
    needs!("root");
    let giant = |root: &std::path::Path| {
        std::fs::File::create(root.join("etc/group")).unwrap().set_len(200 << 20).unwrap();
    };
    let fifo = |root: &std::path::Path| {
        std::fs::remove_file(root.join("etc/passwd")).unwrap();
        captured(Command::new("mkfifo").arg(root.join("etc/passwd"))).unwrap();
    };
    let zeros = |root: &std::path::Path| {
        std::fs::remove_file(root.join("etc/passwd")).unwrap();
        symlink("/dev/zero", root.join("etc/passwd")).unwrap();
    };
    let outside = |root: &std::path::Path| {
        std::fs::remove_file(root.join("etc/passwd")).unwrap();
        symlink("/../../../../../../etc/shadow", root.join("etc/passwd")).unwrap();
    };
    let traps: [&dyn Fn(&std::path::Path); 4] = [&giant, &fifo, &zeros, &outside];
    for (number, trap) in traps.into_iter().enumerate() {
        // The archive of the giant is sparse, as GNU tar writes one.
        let rootfs = onggi_testkit::Rootfs::busybox().unwrap().unwrap();
        trap(rootfs.path());
        let archive = rootfs.path().with_extension("sparse.tar");
        captured(Command::new("tar").arg("-C").arg(rootfs.path()).arg("-Scf").arg(&archive).arg(".")).unwrap();
        let onggi = onggi_testkit::Onggi::new(crate::BINARY).unwrap();
        let imported = onggi.run(["import", archive.to_str().unwrap(), "evil"]);
        std::fs::remove_file(&archive).unwrap();
        if imported.code != 0 {
            assert!(imported.stderr.starts_with("error: "), "{number}: {imported:?}");
            continue;
        }
        let began = Instant::now();
        let outcome = script(&onggi, &["-u", "nobody:staff"], "id -u");
        assert!(outcome.code == 125 && outcome.stderr.contains("error: "), "{number}: {outcome:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{number}");
    }
}

#[test]
fn c04_a_home_with_a_newline_writes_no_line_anywhere() {
    needs!("root");
    let onggi = evil(|_| {});
    let outcome = script(&onggi, &["-e", "HOME=/x\ny::0:0::/:/bin/sh"], "grep -c ^y /etc/passwd");
    assert_eq!(outcome.stdout, "0\n");
}

#[test]
fn c05_supplementary_groups_are_those_of_the_image_for_a_named_user_only() {
    needs!("root");
    let onggi = evil(|root| {
        std::fs::write(root.join("etc/group"), "root:x:0:\nwheel:x:10:nobody\nnogroup:x:65534:\n").unwrap();
    });
    assert_eq!(script(&onggi, &["-u", "nobody"], "id -G").stdout, "65534 10\n");
    assert_eq!(script(&onggi, &["-u", "nobody:wheel"], "id -G").stdout, "10\n");
}
