//! A terminal of the container's own.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::support::bundle;

#[test]
fn the_program_leads_a_session_on_it() {
    let mut bundle = bundle!(
        "tty; stty size; echo by console > /dev/console; echo by tty > /dev/tty; stat -c '%t:%T' /dev/console; \
         ps -o pid,tty | head -2 | tail -1"
    );
    bundle.config["process"]["terminal"] = json!(true);
    bundle.config["process"]["consoleSize"] = json!({ "height": 33, "width": 99 });
    let out = bundle.run().ok().replace('\r', "");
    assert!(out.starts_with("/dev/pts/0\n33 99\nby console\nby tty\n88:0\n"), "{out}");
}

#[test]
fn the_master_goes_to_who_asked_for_it() {
    let mut bundle = bundle!("read line; echo got $line");
    bundle.config["process"]["terminal"] = json!(true);
    let path = bundle.dir().join("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let receiver = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut buffer = [0; 256];
        let (_, fd) = onggi_sys::socket::receive(socket.as_fd(), &mut buffer).unwrap();
        fd.unwrap()
    });
    bundle.call(&["create", "--console-socket", path.to_str().unwrap(), &bundle.id]).ok();
    let master: OwnedFd = receiver.join().unwrap();
    bundle.call(&["start", &bundle.id]).ok();
    onggi_sys::file::write_all(&master, b"hello\n").unwrap();
    let mut text = String::new();
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = onggi_sys::file::read(&master, &mut buffer) {
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(text.contains("got hello"), "{text}");
}

#[test]
fn exec_has_one_too() {
    let bundle = bundle!("sleep 100");
    bundle.start();
    let out = bundle.call(&["exec", "-t", &bundle.id, "/bin/sh", "-c", "tty; exit 5"]);
    assert_eq!((out.code, out.out.trim()), (5, "/dev/pts/0"));
    let error = bundle.call(&["exec", "-t", "-d", &bundle.id, "true"]).failed();
    assert!(error.contains("--console-socket"), "{error}");
}
