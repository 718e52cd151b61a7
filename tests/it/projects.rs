//! A project with a pipeline of its own, run by the built program.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::namespace::Namespace;
use crate::transcript::program;

/// A project with a pipeline `backup` and an environment `dev`; more are added by the test.
pub(crate) struct Project(tempfile::TempDir);

/// A run of the program.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

impl Ran {
    /// The run ended with `code`.
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{:#}", self.stderr, self.json);
        self
    }

    /// The first problem: its code, and everything it says.
    pub(crate) fn problem(&self) -> (String, String) {
        let first = &self.json["diagnostics"][0];
        let text = |key: &str| first[key].as_str().unwrap_or_default().to_owned();
        let said = ["what", "why", "state", "help"].map(text).join("\n");
        (text("code"), said)
    }

    pub(crate) fn id(&self) -> String {
        self.json["backup"].as_str().unwrap().to_owned()
    }
}

pub(crate) const STORE: &str = r#"
[[step]]
id = "pack"
type = "compress"
[[step]]
id = "digest"
type = "checksum"
[[step]]
id = "store"
type = "upload"
targets = ["local"]
"#;

impl Project {
    /// A pipeline `backup` that captures `sources`.
    pub(crate) fn new(sources: &str) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        project.pipeline("backup", sources);
        project.environment("dev", "");
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn pipeline(&self, name: &str, sources: &str) {
        let text = format!(
            "schema-version = 1\nname = \"{name}\"\ndescription = \"x\"\n[[step]]\nid = \"capture\"\ntype = \"snapshot\"\n\
             {sources}\n{STORE}"
        );
        self.write(&format!("pipelines/{name}.toml"), &text);
    }

    pub(crate) fn environment(&self, name: &str, settings: &str) {
        let text =
            format!("schema-version = 1\ndescription = \"x\"\n{settings}\n[target.local]\nurl = \"file:backups\"\n");
        self.write(&format!("pipelines/environments/{name}.toml"), &text);
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.output(Command::new(program()).args(words))
    }

    /// The same where no file may become larger than so many KiB.
    pub(crate) fn run_with_small_files(&self, most: u32, words: &[&str]) -> Ran {
        let limited = format!("ulimit -f {most}; exec \"$@\"");
        let mut command = Command::new("bash");
        self.output(command.args(["-c", &limited, "bash"]).arg(program()).args(words))
    }

    /// The same in a namespace.
    pub(crate) fn run_in(&self, namespace: &Namespace, words: &[&str]) -> Ran {
        self.output(namespace.command(self.0.path(), program()).args(words))
    }

    fn output(&self, command: &mut Command) -> Ran {
        let output = command
            .args(["--json", "--no-progress"])
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        Ran {
            code: output.status.code().unwrap_or_else(|| panic!("{}", output.status)),
            json: serde_json::from_str(&stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn backup(&self, more: &[&str]) -> Ran {
        self.run(&[&["backup", "--env", "dev"], more].concat())
    }

    /// Begins a backup that goes on by itself, for whoever kills it.
    pub(crate) fn begin_backup(&self) -> Child {
        Command::new(program())
            .args(["backup", "--env", "dev", "-q"])
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    pub(crate) fn restore(&self, id: &str, more: &[&str]) -> Ran {
        self.run(&[&["restore", id, "--env", "dev"], more].concat())
    }

    pub(crate) fn backups(&self) -> usize {
        let is_record = |entry: std::io::Result<fs::DirEntry>| {
            let path = entry.unwrap().path();
            path.extension().is_some_and(|extension| extension == "json")
        };
        fs::read_dir(self.path("backups/backups/dev"))
            .map_or(0, |all| all.filter_map(|entry| is_record(entry).then_some(())).count())
    }

    /// Every event of the journal, and what is said with it.
    pub(crate) fn journal(&self, environment: &str) -> Vec<Value> {
        let shown = self.run(&["journal", "show", "--env", environment]).ended(0);
        shown.json["records"]
            .as_array()
            .unwrap_or_else(|| panic!("{:#}", shown.json))
            .clone()
    }
}
