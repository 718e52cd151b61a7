//! A real S3 server for tests: `SeaweedFS` on loopback, with keys made at run time and data that goes with it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use strongroom::secret::{Secret, SecretRef};
use strongroom::target::{Access, Target, TargetSettings};

use crate::transcript::program;

/// The bucket that every server has.
pub(crate) const BUCKET: &str = "test-bucket";

/// A port and the one 10,000 above, which the server takes too, lie below those that the system hands out by itself.
const FIRST_PORT: u16 = 12_000;
const BLOCKS: u16 = 900;
const PORTS: [(&str, u16); 6] = [
    ("s3.port", 0),
    ("filer.port", 1),
    ("master.port", 2),
    ("volume.port", 3),
    ("admin.port", 4),
    ("s3.port.https", 5),
];

/// A running server. Dropped, it is killed and its data removed; killed itself, the test takes the server with it.
pub(crate) struct Weed {
    child: Child,
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) id: String,
    pub(crate) key: String,
    /// Holds the block of ports.
    _ports: File,
}

impl Drop for Weed {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `length` random letters and digits.
pub(crate) fn random(length: usize) -> String {
    let mut bytes = vec![0; length.div_ceil(2)];
    getrandom::fill(&mut bytes).unwrap();
    let mut text = hex::encode(bytes);
    text.truncate(length);
    text
}

/// The server's program, as `scripts/parts.sh` installs it.
fn binary() -> PathBuf {
    let installed = program().parent().unwrap().parent().unwrap().join("parts/bin/weed");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let anywhere = std::env::split_paths(&path).map(|folder| folder.join("weed"));
    let found = std::iter::once(installed).chain(anywhere).find(|path| path.is_file());
    found.expect("SeaweedFS is missing; run: scripts/parts.sh")
}

impl Weed {
    /// Starts a server and waits until it answers. What is not signed must be refused before anything else is done.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// The same with TLS on [`Weed::tls_port`], by a certificate that an authority of its own signed: `ca.pem`.
    pub(crate) fn with_tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificate(folder.path());
        let of = |name: &str| folder.path().join(name).display().to_string();
        let server = Self::with(&[
            &format!("-s3.cert.file={}", of("server.pem")),
            &format!("-s3.key.file={}", of("server.key")),
        ]);
        std::fs::copy(folder.path().join("ca.pem"), server.ca_file()).unwrap();
        server
    }

    fn with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (id, key) = (random(20), random(40));
        let (base, ports) = block();
        let log = File::create(folder.path().join("log")).unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(binary())
            .arg("mini")
            .arg(format!("-dir={}", data.display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .arg(format!("-bucket={BUCKET}"))
            .args([
                "-s3.autoCreateBucket=false",
                "-master.telemetry=false",
                "-webdav=false",
                "-admin.ui=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
            ])
            .args(more)
            .env_clear()
            .env("HOME", folder.path())
            .env("GOMEMLIMIT", "400MiB")
            .env("AWS_ACCESS_KEY_ID", &id)
            .env("AWS_SECRET_ACCESS_KEY", &key)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let tls = more.iter().any(|word| word.starts_with("-s3.cert"));
        for (name, offset) in PORTS {
            if tls || name != "s3.port.https" {
                command.arg(format!("-{name}={}", base + offset));
            }
        }
        let child = command.spawn().expect("setpriv: apt-get install -y util-linux");
        let mut server = Self {
            child,
            folder,
            port: base,
            id,
            key,
            _ports: ports,
        };
        server.wait(|server| server.unsigned("GET", &format!("/{BUCKET}?list-type=2")) == Some(403));
        assert_eq!(server.unsigned("GET", &format!("/{BUCKET}?list-type=2")), Some(403));
        assert_eq!(server.unsigned("PUT", &format!("/{BUCKET}/x")), Some(403));
        // The bucket is made a moment later.
        server.wait(|server| server.curl("GET", "?list-type=2").contains("<ListBucketResult"));
        server
    }

    fn wait(&mut self, until: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !until(self) {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || begin.elapsed() > Duration::from_mins(1) {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("SeaweedFS does not answer ({ended:?}):\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The status of an unsigned request; nothing where the server does not answer.
    fn unsigned(&self, method: &str, path: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(self.address()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok()?;
        std::str::from_utf8(&answer).ok()?.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The port that has TLS, where the server was started with it.
    pub(crate) fn tls_port(&self) -> u16 {
        self.port + 5
    }

    /// The certificate of the authority that signed the server's own.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The settings of a target at `prefix`, reached through `endpoint`.
    pub(crate) fn settings(endpoint: &str, prefix: &str) -> TargetSettings {
        let key = |name: &str| Some(SecretRef::Secret(name.into()));
        TargetSettings {
            endpoint: Some(endpoint.to_owned()),
            allow_http: Some(true),
            access_key_id: key("ID"),
            secret_access_key: key("KEY"),
            ..TargetSettings::of_url(format!("s3://{BUCKET}/{prefix}"))
        }
    }

    /// The keys of the server.
    pub(crate) fn access(&self) -> Access {
        Access {
            access_key_id: Some(Secret::new(self.id.clone())),
            secret_access_key: Some(Secret::new(self.key.clone())),
            ..Access::default()
        }
    }

    /// A target at `prefix`.
    pub(crate) fn target(&self, prefix: &str) -> Target {
        let settings = Self::settings(&self.endpoint(), prefix);
        Target::open("offsite".parse().unwrap(), &settings, Path::new("/"), &self.access()).unwrap()
    }

    /// Asks the server by curl, which knows nothing of this program, and gives the answer's body.
    pub(crate) fn curl(&self, method: &str, path_and_query: &str) -> String {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"])
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args(["--request", method, "--user", &format!("{}:{}", self.id, self.key)])
            .arg(format!("{}/{BUCKET}{path_and_query}", self.endpoint()))
            .output()
            .expect("curl: apt-get install -y curl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The keys of unfinished uploads below `prefix`.
    pub(crate) fn unfinished(&self, prefix: &str) -> Vec<String> {
        let answer = self.curl("GET", "?uploads=");
        assert!(answer.contains("ListMultipartUploadsResult"), "{answer}");
        texts(&answer, "Key")
            .into_iter()
            .filter(|key| key.starts_with(prefix))
            .collect()
    }
}

/// The texts of the elements of this name.
pub(crate) fn texts(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let inner = xml
        .split(&open)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(&close)?.0));
    inner.map(str::to_owned).collect()
}

/// A block of ports that no other test has, and that are free.
fn block() -> (u16, File) {
    let folder = std::env::temp_dir().join("strongroom-test-ports");
    std::fs::create_dir_all(&folder).unwrap();
    let mut random = [0; 2];
    getrandom::fill(&mut random).unwrap();
    let start = u16::from_le_bytes(random) % BLOCKS;
    for turn in 0..BLOCKS {
        let base = FIRST_PORT + (start + turn) % BLOCKS * 10;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(base.to_string()))
            .unwrap();
        let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        if rustix::fs::flock(lock.as_fd(), operation).is_err() {
            continue;
        }
        let mut ports = PORTS
            .iter()
            .flat_map(|(_, offset)| [base + offset, base + offset + 10_000]);
        if ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return (base, lock);
        }
    }
    panic!(
        "no block of free ports between {FIRST_PORT} and {}",
        FIRST_PORT + BLOCKS * 10
    );
}

/// An authority, and a certificate for 127.0.0.1 that it signed.
fn certificate(folder: &Path) {
    let script = "set -e\n\
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout ca.key -out ca.pem \
            -subj /CN=test-authority -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign\n\
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr \
            -subj /CN=test-server\n\
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\nbasicConstraints=CA:FALSE\\nextendedKeyUsage=serverAuth\\n' > ext\n\
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem\n";
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl: apt-get install -y openssl\n{text}");
}
