//! A proxy on loopback that stands before a server and lets go wrong what it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What becomes of a request.
#[derive(Clone)]
pub(crate) enum Fate {
    /// The connection is closed without an answer; the server hears nothing.
    Refuse,
    /// Nothing is answered; the connection stays open until the other side leaves.
    Stall,
    /// The server does it, and its answer is lost.
    LoseAnswer,
    /// So many bytes of the answer's body come, then the connection ends.
    Cut(usize),
    /// So many bytes of the answer's body come, then nothing more does.
    StallAfter(usize),
    /// This is answered instead; the server hears nothing.
    Answer(u16, String),
    /// The answer is another one than the server's, as long as that was.
    Change(Arc<dyn Fn(&str) -> String + Send + Sync>),
    /// Something is done before the server hears of it.
    First(Arc<dyn Fn(&Request) + Send + Sync>),
}

/// A request as it came.
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) head: String,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn has_header(&self, name: &str) -> bool {
        let named = |line: &str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        self.head.lines().any(named)
    }
}

type Which = Arc<dyn Fn(&Request) -> bool + Send + Sync>;

struct Rule {
    which: Which,
    pass: usize,
    strike: usize,
    fate: Fate,
}

/// The proxy. Dropped, it takes no more connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    rules: Arc<Mutex<Vec<Rule>>>,
    seen: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the one who waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

impl Proxy {
    /// Stands before the server at `server`.
    pub(crate) fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            rules: Arc::default(),
            seen: Arc::default(),
            ended: Arc::default(),
        };
        let (rules, seen, ended) = (
            Arc::clone(&proxy.rules),
            Arc::clone(&proxy.seen),
            Arc::clone(&proxy.ended),
        );
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (rules, seen) = (Arc::clone(&rules), Arc::clone(&seen));
                std::thread::spawn(move || serve(client.ok()?, server, &rules, &seen));
            }
        });
        proxy
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets `fate` befall requests that `which` picks, after `pass` of them, `strike` times.
    pub(crate) fn befall(
        &self,
        pass: usize,
        strike: usize,
        fate: Fate,
        which: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) {
        let which: Which = Arc::new(which);
        let rule = Rule {
            which,
            pass,
            strike,
            fate,
        };
        self.rules.lock().unwrap().push(rule);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.rules.lock().unwrap().clear();
    }

    /// What was asked so far: method, path and query.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn fate(rules: &Mutex<Vec<Rule>>, request: &Request) -> Option<Fate> {
    let mut rules = rules.lock().unwrap();
    let mut struck = None;
    for rule in rules.iter_mut().filter(|rule| (rule.which)(request)) {
        if rule.pass > 0 {
            rule.pass -= 1;
        } else if rule.strike > 0 && struck.is_none() {
            rule.strike -= 1;
            struck = Some(rule.fate.clone());
        }
    }
    struck
}

/// One request a connection: both sides are told so.
fn serve(mut client: TcpStream, server: SocketAddr, rules: &Mutex<Vec<Rule>>, seen: &Mutex<Vec<String>>) -> Option<()> {
    client.set_read_timeout(Some(Duration::from_mins(2))).ok()?;
    let request = read(&mut client)?;
    seen.lock()
        .unwrap()
        .push(format!("{} {}", request.method, request.path));
    let fate = fate(rules, &request);
    match &fate {
        Some(Fate::Refuse) => return None,
        Some(Fate::Stall) => return stay(&mut client),
        Some(Fate::Answer(status, body)) => {
            let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
            let now = printer.timestamp_to_rfc9110_string(&jiff::Timestamp::now()).ok()?;
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} Told\r\nDate: {now}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            client.write_all(head.as_bytes()).ok()?;
            return client.write_all(body.as_bytes()).ok();
        }
        Some(Fate::First(act)) => act(&request),
        _ => {}
    }
    let mut upstream = TcpStream::connect(server).ok()?;
    let kept = request
        .head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let mut head: String = kept.flat_map(|line| [line, "\r\n"]).collect();
    if matches!(fate, Some(Fate::Change(_))) {
        // So that the answer comes in one piece.
        head = head.replacen("HTTP/1.1", "HTTP/1.0", 1);
    }
    upstream
        .write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
        .ok()?;
    upstream.write_all(&request.body).ok()?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).ok()?;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    match fate {
        Some(Fate::LoseAnswer) => None,
        Some(Fate::Cut(keep)) => client.write_all(&answer[..answer.len().min(body + keep)]).ok(),
        Some(Fate::StallAfter(keep)) => {
            client.write_all(&answer[..answer.len().min(body + keep)]).ok()?;
            stay(&mut client)
        }
        Some(Fate::Change(change)) => {
            let changed = change(std::str::from_utf8(&answer).ok()?);
            assert_eq!(changed.len(), answer.len());
            client.write_all(changed.as_bytes()).ok()
        }
        _ => client.write_all(&answer).ok(),
    }
}

/// Waits until the other side leaves.
fn stay(client: &mut TcpStream) -> Option<()> {
    let mut byte = [0];
    while client.read(&mut byte).ok()? > 0 {}
    None
}

fn read(client: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.trim_end().to_owned();
    let mut words = head.lines().next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        head,
        body,
    })
}
