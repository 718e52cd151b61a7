//! What is sealed here the `age` program opens, and the other way round.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use strongroom::crypto::age::{self, CHUNK, Identity};

/// Runs a program with `input`; gives what it prints. It must end well.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; apt-get install -y age"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    drop(feeder.join().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn plain(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

const LENGTHS: [usize; 6] = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_age_program_opens_what_is_sealed_here_for_each_recipient() {
    let folder = tempfile::tempdir().unwrap();
    let keys: Vec<Identity> = (0..3).map(|_| Identity::generate().unwrap()).collect();
    let recipients: Vec<age::Recipient> = keys.iter().map(Identity::recipient).collect();
    for (number, length) in LENGTHS.into_iter().enumerate() {
        let sealed = age::seal(&recipients, &plain(length)).unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, keys[number % 3].text().expose()).unwrap();
        assert_eq!(run("age", &["-d", "-i", text(&file)], &sealed), plain(length));
    }
}

#[test]
fn what_the_age_program_seals_is_opened_here() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    run("age-keygen", &["-o", text(&file)], b"");
    let keys = Identity::parse_all(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let other = Identity::generate().unwrap();
    let (own, other) = (keys[0].recipient().to_string(), other.recipient().to_string());
    let shown = run("age-keygen", &["-y", text(&file)], b"");
    assert_eq!(String::from_utf8(shown).unwrap().trim(), own);
    for length in LENGTHS {
        let sealed = run("age", &["-r", &other, "-r", &own], &plain(length));
        assert_eq!(age::open(&keys, &sealed).unwrap(), plain(length));
    }
}
