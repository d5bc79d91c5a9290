//! An HTTP server that says what the test tells it to: registries that lie, hang, or send elsewhere.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// A server on a loopback port; it takes one request per connection and remembers all of them.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    ended: Arc<AtomicBool>,
}

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// `GET`.
    pub method: String,
    /// Path and query, or a whole URL from who takes us for a proxy.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What came after them.
    pub body: Vec<u8>,
}

impl Seen {
    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub struct Reply {
    head: String,
    body: Vec<u8>,
    length: Option<u64>,
    hang: bool,
}

impl Reply {
    /// An answer with this status and body, whose length is told truly.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = u64::try_from(body.len()).ok();
        Self { head: format!("HTTP/1.1 {status} Told\r\nConnection: close\r\n"), body, length, hang: false }
    }

    /// The same with another header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// The same with a length that may be a lie; `None` leaves it out, and the end of the connection ends the body.
    #[must_use]
    pub fn length(mut self, length: Option<u64>) -> Self {
        self.length = length;
        self
    }

    /// The same, and then silence on an open connection.
    #[must_use]
    pub fn then_hang(mut self) -> Self {
        self.hang = true;
        self
    }

    fn send(&self, stream: &mut TcpStream, method: &str) -> std::io::Result<()> {
        stream.write_all(self.head.as_bytes())?;
        if let Some(length) = self.length {
            write!(stream, "Content-Length: {length}\r\n")?;
        }
        stream.write_all(b"\r\n")?;
        if method != "HEAD" {
            stream.write_all(&self.body)?;
        }
        stream.flush()
    }
}

impl FakeServer {
    /// Starts one that answers as `answer` says.
    ///
    /// # Errors
    /// No port to be had.
    pub fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (seen, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, over, answer) = (Arc::clone(&seen), Arc::clone(&ended), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (log, over, answer) = (Arc::clone(&log), Arc::clone(&over), Arc::clone(&answer));
                // Who goes away in the middle is no failure of the server.
                thread::spawn(move || drop(serve(stream, &log, &over, answer.as_ref())));
            }
        });
        Ok(Self { address, seen, ended })
    }

    /// Where it listens, as image names begin: `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The one that accepts looks at the flag when it is woken.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(200)));
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    over: &AtomicBool,
    answer: &(impl Fn(&Seen) -> Reply + ?Sized),
) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let seen = read(&stream)?;
    log.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());
    let reply = answer(&seen);
    reply.send(&mut stream, &seen.method)?;
    while reply.hang && !over.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(20));
    }
    // Closed at once, what was sent could be lost to a reset: the other side may still be writing.
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(())
}

fn read(stream: &TcpStream) -> Result<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().context("no method")?, words.next().context("no target")?);
    let mut seen = Seen { method, target, ..Seen::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        seen.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut seen.body)?;
    Ok(seen)
}
