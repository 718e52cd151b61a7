//! Runs another program: no shell, nothing inherited but what is named, bounded in time and output, its whole group
//! killed when it is late, when it says too much, or when the one who waits goes away.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroize;

use crate::diagnostic::{Code, Diagnose};

/// Where programs are looked for when the command names no `PATH` of its own.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of the standard error that are kept: the end, where programs say why they failed.
const STDERR_KEPT: usize = 8 << 10;
/// Bytes of one read from a pipe.
const PIPE_BLOCK: usize = 8 << 10;
/// How long output is waited for after the program itself has ended: a background child may hold the pipe for ever.
const DRAIN: Duration = Duration::from_secs(1);

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments. A program without `/` is looked up in `PATH`.
    pub argv: Vec<OsString>,
    /// The whole environment of the program; `PATH` is [`DEFAULT_PATH`] where it is not among them.
    pub env: Vec<(OsString, OsString)>,
    /// The working folder; `None` for that of this process.
    pub folder: Option<PathBuf>,
    /// How long the program may take, from start to end.
    pub timeout: Duration,
    /// Bytes of standard output that are taken; more is an error.
    pub stdout_limit: usize,
}

/// What a program that ended well has said.
pub struct Output {
    /// All of its standard output. It may be a secret: it is wiped when dropped and does not print.
    pub stdout: Vec<u8>,
    /// The end of its standard error, at most 8 KiB, not scrubbed.
    pub stderr: Vec<u8>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("stdout_bytes", &self.stdout.len())
            .field("stderr_bytes", &self.stderr.len())
            .finish()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.stdout.zeroize();
    }
}

/// Why a program gave no output. Arguments are not in it: they may be secret.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no program in the command.
    #[error("a command without a program")]
    Empty,
    /// The program could not be started.
    #[error("`{program}` could not be started")]
    Start {
        /// The program as named.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The program was killed because it took too long.
    #[error("`{program}` took longer than {} and was stopped", crate::units::Span(*.after))]
    Timeout {
        /// The program as named.
        program: String,
        /// How long it had.
        after: Duration,
    },
    /// The program was killed because it wrote too much.
    #[error("`{program}` wrote more than {limit} bytes and was stopped")]
    TooMuchOutput {
        /// The program as named.
        program: String,
        /// The bound in bytes.
        limit: usize,
    },
    /// The program ended badly.
    #[error("`{program}` {}", ending(*.status))]
    Failed {
        /// The program as named.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error, at most 8 KiB. It may hold secrets: scrub it before it is shown.
        stderr: Vec<u8>,
    },
    /// Its pipes could not be read, or its end could not be waited for.
    #[error("the output of `{program}` could not be read")]
    Pipe {
        /// The program as named.
        program: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Diagnose for ProcessError {
    fn code(&self) -> Code {
        Code::ProcessFailed
    }

    fn state(&self) -> Option<String> {
        Some(match self {
            Self::Empty | Self::Start { .. } => "the program did not run".to_owned(),
            Self::Timeout { .. } | Self::TooMuchOutput { .. } => {
                "the program and all it had started in its group were killed".to_owned()
            }
            Self::Failed { .. } | Self::Pipe { .. } => "the program has ended; its output is not used".to_owned(),
        })
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Some(format!(
                "install the program or name it by its full path; it was looked for in {DEFAULT_PATH} unless `PATH` \
                 is given"
            )),
            _ => None,
        }
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// Kills the group of a program unless it was disarmed: on an early return and when the future is dropped.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // The one error there can be is that nobody is left, which is what was wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end and gives what it wrote.
///
/// Dropping the future kills the program and its group.
///
/// # Errors
/// When the program cannot be started, is late, writes too much or ends with anything but 0.
pub async fn run(command: Command) -> Result<Output, ProcessError> {
    let program = match command.argv.first() {
        Some(program) if !program.is_empty() => program.to_string_lossy().into_owned(),
        _ => return Err(ProcessError::Empty),
    };
    let mut child = builder(&command).spawn().map_err(|source| ProcessError::Start {
        program: program.clone(),
        source,
    })?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let mut output = Output {
        stdout: Vec::with_capacity(command.stdout_limit.min(PIPE_BLOCK)),
        stderr: Vec::new(),
    };
    let ended = tokio::time::timeout(
        command.timeout,
        attend(&mut child, &mut output, command.stdout_limit, &mut group),
    )
    .await;
    match ended {
        Err(_) => {
            group.kill();
            // Reaps the leader, so that no zombie is left; it is dead, so this is soon over.
            let _ = child.wait().await;
            Err(ProcessError::Timeout {
                program,
                after: command.timeout,
            })
        }
        Ok(Err(Stopped::TooMuch)) => {
            group.kill();
            let _ = child.wait().await;
            Err(ProcessError::TooMuchOutput {
                program,
                limit: command.stdout_limit,
            })
        }
        Ok(Err(Stopped::Pipe(source))) => Err(ProcessError::Pipe { program, source }),
        Ok(Ok(status)) if status.success() => Ok(output),
        Ok(Ok(status)) => Err(ProcessError::Failed {
            program,
            status,
            stderr: std::mem::take(&mut output.stderr),
        }),
    }
}

fn builder(command: &Command) -> tokio::process::Command {
    let mut argv = command.argv.iter();
    let mut builder = tokio::process::Command::new(argv.next().cloned().unwrap_or_default());
    builder
        .args(argv)
        .env_clear()
        .env("PATH", DEFAULT_PATH)
        .envs(command.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(folder) = &command.folder {
        builder.current_dir(folder);
    }
    builder
}

/// Why attending ended before the program did.
enum Stopped {
    TooMuch,
    Pipe(std::io::Error),
}

/// Reads both pipes until the program has ended and they are empty.
async fn attend(
    child: &mut tokio::process::Child,
    output: &mut Output,
    limit: usize,
    group: &mut Group,
) -> Result<ExitStatus, Stopped> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let Output {
        stdout: taken,
        stderr: kept,
    } = output;
    let mut pipes = std::pin::pin!(async {
        let all = async {
            match stdout {
                Some(pipe) => take_all(pipe, taken, limit).await,
                None => Ok(()),
            }
        };
        let end = async {
            match stderr {
                Some(pipe) => keep_end(pipe, kept).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(all, end).map(|_| ())
    });
    let status = tokio::select! {
        read = &mut pipes => {
            read?;
            let status = child.wait().await.map_err(Stopped::Pipe)?;
            group.0 = None;
            return Ok(status);
        }
        status = child.wait() => status.map_err(Stopped::Pipe)?,
    };
    // The leader is gone and its number may be given to another program: the group is not killed any more.
    group.0 = None;
    // Where the time runs out, a background child holds the pipe. What the program itself wrote was in the pipe when it
    // ended and is read.
    if let Ok(read) = tokio::time::timeout(DRAIN, pipes).await {
        read?;
    }
    Ok(status)
}

async fn take_all(mut pipe: impl AsyncRead + Unpin, into: &mut Vec<u8>, limit: usize) -> Result<(), Stopped> {
    let mut block = zeroize::Zeroizing::new(vec![0; PIPE_BLOCK]);
    loop {
        let read = pipe.read(&mut block).await.map_err(Stopped::Pipe)?;
        let Some(data) = block.get(..read).filter(|data| !data.is_empty()) else {
            return Ok(());
        };
        if into.len() + data.len() > limit {
            return Err(Stopped::TooMuch);
        }
        grow_wiped(into, data.len());
        into.extend_from_slice(data);
    }
}

/// Makes room without leaving a copy of the old content behind.
fn grow_wiped(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        let mut larger = Vec::with_capacity((bytes.len() + more) * 2);
        larger.extend_from_slice(bytes);
        bytes.zeroize();
        *bytes = larger;
    }
}

async fn keep_end(mut pipe: impl AsyncRead + Unpin, into: &mut Vec<u8>) -> Result<(), Stopped> {
    let mut block = vec![0; PIPE_BLOCK];
    loop {
        let read = pipe.read(&mut block).await.map_err(Stopped::Pipe)?;
        let Some(data) = block.get(..read).filter(|data| !data.is_empty()) else {
            return Ok(());
        };
        into.extend_from_slice(data);
        let surplus = into.len().saturating_sub(STDERR_KEPT);
        into.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command {
            argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
            env: Vec::new(),
            folder: None,
            timeout: Duration::from_secs(20),
            stdout_limit: 1 << 20,
        }
    }

    #[tokio::test]
    async fn output_is_taken_and_stdin_is_empty() {
        let output = run(shell("cat; printf out; printf err >&2")).await.unwrap();
        assert_eq!(output.stdout, b"out");
        assert_eq!(output.stderr, b"err");
    }

    #[tokio::test]
    async fn nothing_is_inherited_but_the_path() {
        let mut command = shell("env");
        command.env = vec![("ONLY".into(), "this".into())];
        let output = run(command).await.unwrap();
        let mut names: Vec<_> = output
            .stdout
            .split(|b| *b == b'\n')
            .filter_map(|line| line.split(|b| *b == b'=').next())
            .filter(|name| !name.is_empty() && ![&b"PWD"[..], b"SHLVL", b"_", b"OLDPWD"].contains(name))
            .collect();
        names.sort_unstable();
        assert_eq!(names, [&b"ONLY"[..], b"PATH"]);
    }

    #[tokio::test]
    async fn no_shell_reads_the_arguments() {
        let mut command = shell("");
        command.argv = vec!["printf".into(), "%s".into(), "$(id) ; `id`".into()];
        assert_eq!(run(command).await.unwrap().stdout, b"$(id) ; `id`");
    }

    #[tokio::test]
    async fn a_late_program_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = shell("sleep 600 & echo $! > child; sleep 600");
        command.folder = Some(folder.path().to_owned());
        command.timeout = Duration::from_secs(1);
        assert!(matches!(run(command).await, Err(ProcessError::Timeout { .. })));
        let child: i32 = std::fs::read_to_string(folder.path().join("child"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert!(gone(child).await, "the background child still runs");
    }

    #[tokio::test]
    async fn a_dropped_future_kills_the_group() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = shell("sleep 600 & echo $! > child.tmp; mv child.tmp child; sleep 600");
        command.folder = Some(folder.path().to_owned());
        command.timeout = Duration::from_secs(500);
        let task = tokio::spawn(run(command));
        let file = folder.path().join("child");
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        task.abort();
        let _ = task.await;
        let child: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        assert!(gone(child).await, "the background child still runs");
    }

    /// Whether the process ends; a zombie whose parent does not reap it counts as ended.
    async fn gone(process: i32) -> bool {
        for _ in 0..2000 {
            let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    #[tokio::test]
    async fn too_much_output_is_an_error_and_stops_the_program() {
        let mut command = shell("yes");
        command.stdout_limit = 10_000;
        assert!(matches!(
            run(command).await,
            Err(ProcessError::TooMuchOutput { limit: 10_000, .. })
        ));
    }

    #[tokio::test]
    async fn a_failure_keeps_the_end_of_what_was_said_and_no_argument() {
        let error = run(shell("yes noise | head -c 100000 >&2; printf 'the reason' >&2; exit 7"))
            .await
            .unwrap_err();
        let ProcessError::Failed { stderr, .. } = &error else {
            panic!("{error}")
        };
        assert!(stderr.len() <= STDERR_KEPT && stderr.ends_with(b"the reason"));
        assert_eq!(error.to_string(), "`/bin/sh` ended with exit code 7");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let mut command = shell("");
        command.argv = vec!["surely-no-such-program".into()];
        let error = run(command).await.unwrap_err();
        assert!(error.to_string().contains("surely-no-such-program") && error.help().is_some());
        assert!(matches!(
            run(Command {
                argv: vec![],
                ..shell("")
            })
            .await,
            Err(ProcessError::Empty)
        ));
    }

    #[tokio::test]
    async fn a_background_child_that_keeps_the_pipe_does_not_hold_the_run() {
        let output = run(shell("sleep 4 & printf done")).await.unwrap();
        assert_eq!(output.stdout, b"done");
    }
}
