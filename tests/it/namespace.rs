//! A mount namespace of a test's own, in which it mounts what no one else sees and what goes with it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::trees;

/// A process that holds the namespace. It ends with the test, and the mounts with it.
pub(crate) struct Namespace(Child);

impl Namespace {
    /// Makes a namespace and mounts a file system in memory on each of these folders, in order.
    pub(crate) fn with_mounts(folders: &[&Path]) -> Self {
        Self::with_sized_mounts(&folders.iter().map(|folder| (*folder, "256m")).collect::<Vec<_>>())
    }

    /// The same with the size of each file system.
    pub(crate) fn with_sized_mounts(folders: &[(&Path, &str)]) -> Self {
        trees::need_root();
        let mut script = "set -e; ".to_owned();
        for (folder, size) in folders {
            let folder = folder.display();
            script.push_str(&format!(
                "mkdir -p '{folder}'; mount -t tmpfs -o size={size},mode=755 none '{folder}'; "
            ));
        }
        script.push_str("echo ready; read -r end");
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("`unshare` is needed ({error}): apt-get install -y util-linux"));
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(
            line, "ready\n",
            "this test mounts file systems in a namespace of its own: run it as root, where mounting is allowed"
        );
        Self(holder)
    }

    /// A command in the namespace, in `folder`. It becomes the program itself, so its process id is the program's.
    pub(crate) fn command(&self, folder: &Path, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.0.id()))
            .arg(format!("--wd={}", folder.display()))
            .arg("--")
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Where the namespace's `path` is reached from outside.
    pub(crate) fn outside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.0.id()));
        root.join(path.strip_prefix("/").unwrap())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.0.stdin.take().map(|mut stdin| stdin.write_all(b"end\n")));
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
