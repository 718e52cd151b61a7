//! Runs another program: no shell, nothing inherited but what is named, bounded in time and output. One that is late, says
//! too much or is not wanted any more is asked to end, and then killed with its whole group.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroize;

use crate::diagnostic::{Code, Diagnose};
use crate::limits::OUTPUT_KEPT;
use crate::secret::Secret;

/// Where programs are looked for when the command names no `PATH` of its own.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of one read from a pipe.
const PIPE_BLOCK: usize = 8 << 10;
/// How long output is waited for after the program itself has ended: a background child may hold the pipe for ever.
const DRAIN: Duration = Duration::from_secs(1);
/// Time between two looks whether a program that was asked to end has done so.
const POLL: Duration = Duration::from_millis(10);

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments. A program without `/` is looked up in `PATH`.
    pub argv: Vec<OsString>,
    /// The whole environment of the program; `PATH` is [`DEFAULT_PATH`] where it is not among them.
    pub env: Vec<(String, Secret<String>)>,
    /// The working folder; `None` for that of this process.
    pub folder: Option<PathBuf>,
    /// How long the program may take, from start to end.
    pub timeout: Duration,
    /// How long a program that is late or not wanted any more has, with all in its group, to end by itself (SIGTERM) before
    /// they are killed. Zero kills at once.
    pub patience: Duration,
    /// What is taken of its standard output.
    pub stdout: Take,
}

/// What is taken of a program's standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// All of it; more bytes than this are an error.
    All(usize),
    /// Its end: [`OUTPUT_KEPT`] bytes.
    End,
}

/// What a program has said.
#[derive(Default)]
pub struct Output {
    /// Its standard output, as far as it was to be taken. It may be a secret: it is wiped when dropped and does not print.
    pub stdout: Vec<u8>,
    /// The end of its standard error, at most [`OUTPUT_KEPT`] bytes. It may hold secrets: scrub it before it is shown.
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
        self.stderr.zeroize();
    }
}

/// Why a program did not do what it should. Arguments are not in it: they may be secret.
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
    /// The program was ended because it took too long.
    #[error("`{program}` took longer than {} and was stopped", crate::units::Span(*.after))]
    Timeout {
        /// The program as named.
        program: String,
        /// How long it had.
        after: Duration,
        /// What it had said.
        output: Output,
    },
    /// The program was ended because nobody waits for it any more.
    #[error("`{program}` was stopped")]
    Stopped {
        /// The program as named.
        program: String,
        /// What it had said.
        output: Output,
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
        /// What it said.
        output: Output,
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

impl ProcessError {
    /// What the program had said, where it ran.
    pub const fn output(&self) -> Option<&Output> {
        match self {
            Self::Timeout { output, .. } | Self::Stopped { output, .. } | Self::Failed { output, .. } => Some(output),
            Self::Empty | Self::Start { .. } | Self::TooMuchOutput { .. } | Self::Pipe { .. } => None,
        }
    }
}

impl Diagnose for ProcessError {
    fn code(&self) -> Code {
        Code::ProcessFailed
    }

    fn state(&self) -> Option<String> {
        Some(match self {
            Self::Empty | Self::Start { .. } => "the program did not run".to_owned(),
            Self::Timeout { .. } | Self::Stopped { .. } | Self::TooMuchOutput { .. } => {
                "the program and all it had started in its group were ended".to_owned()
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

/// The group of a program, until its leader is reaped: its number may then be given to another one. Killed when dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// The one error there can be is that nobody is left, which is what is wanted.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, signal);
        }
    }

    /// Whether the leader has ended; it is not reaped by this, so the group keeps its number.
    fn has_no_leader(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.0
            .is_none_or(|leader| !matches!(waitid(WaitId::Pid(leader), look), Ok(None)))
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.0 = None;
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
    run_until(command, std::future::pending()).await
}

/// Runs a program as [`run`] does, and ends it when `stop` comes.
///
/// # Errors
/// As there, and when `stop` came first.
pub async fn run_until(command: Command, stop: impl Future<Output = ()>) -> Result<Output, ProcessError> {
    let program = match command.argv.first() {
        Some(program) if !program.is_empty() => program.to_string_lossy().into_owned(),
        _ => return Err(ProcessError::Empty),
    };
    let mut child = builder(&command).spawn().map_err(|source| ProcessError::Start {
        program: program.clone(),
        source,
    })?;
    let mut group = Group::of(&child);
    let mut output = Output::default();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut pipes = Pipes::new(read(stdout, stderr, &mut output, command.stdout));
    let end = tokio::select! {
        ended = attend(&mut child, &mut pipes) => match ended {
            Ok(status) => End::Ended(status),
            Err(halt) => End::Halted(halt),
        },
        () = tokio::time::sleep(command.timeout) => End::Late,
        () = stop => End::Stopped,
    };
    match &end {
        End::Ended(_) => {
            group.0 = None;
            // Where the time runs out, a background child holds the pipe. What the program itself wrote was in the pipe when
            // it ended and is read.
            let _ = tokio::time::timeout(DRAIN, pipes.end()).await;
        }
        End::Late | End::Stopped => wind_up(&mut child, &mut group, &mut pipes, command.patience).await,
        End::Halted(_) => wind_up(&mut child, &mut group, &mut pipes, Duration::ZERO).await,
    }
    let halted = pipes.halted.take();
    drop(pipes);
    match (end, halted) {
        (End::Halted(Halt::TooMuch(limit)), _) | (End::Ended(_), Some(Halt::TooMuch(limit))) => {
            Err(ProcessError::TooMuchOutput { program, limit })
        }
        (End::Halted(Halt::Pipe(source)), _) | (End::Ended(_), Some(Halt::Pipe(source))) => {
            Err(ProcessError::Pipe { program, source })
        }
        (End::Late, _) => Err(ProcessError::Timeout {
            program,
            after: command.timeout,
            output,
        }),
        (End::Stopped, _) => Err(ProcessError::Stopped { program, output }),
        (End::Ended(status), None) if status.success() => Ok(output),
        (End::Ended(status), None) => Err(ProcessError::Failed {
            program,
            status,
            output,
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
        .envs(command.env.iter().map(|(name, value)| (name, value.expose())))
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

/// How attending a program came to its end.
enum End {
    Ended(ExitStatus),
    Halted(Halt),
    Late,
    Stopped,
}

/// Why reading ended before the pipes did.
enum Halt {
    TooMuch(usize),
    Pipe(std::io::Error),
}

/// The pipes of a program, read until they end.
struct Pipes<F> {
    reading: Pin<Box<F>>,
    ended: bool,
    /// Why they were not read to their end, where that came to light after the program had ended.
    halted: Option<Halt>,
}

impl<F: Future<Output = Result<(), Halt>>> Pipes<F> {
    fn new(reading: F) -> Self {
        Self {
            reading: Box::pin(reading),
            ended: false,
            halted: None,
        }
    }

    /// Waits for their end. Comes at once where they have ended.
    async fn end(&mut self) {
        if !self.ended {
            let read = self.reading.as_mut().await;
            self.ended = true;
            self.halted = read.err();
        }
    }
}

/// Reads the pipes until the program has ended.
async fn attend<F: Future<Output = Result<(), Halt>>>(
    child: &mut tokio::process::Child,
    pipes: &mut Pipes<F>,
) -> Result<ExitStatus, Halt> {
    tokio::select! {
        () = pipes.end() => {}
        status = child.wait() => return status.map_err(Halt::Pipe),
    }
    match pipes.halted.take() {
        Some(halt) => Err(halt),
        None => child.wait().await.map_err(Halt::Pipe),
    }
}

/// Ends a program and its group: asks, waits, kills.
async fn wind_up<F: Future<Output = Result<(), Halt>>>(
    child: &mut tokio::process::Child,
    group: &mut Group,
    pipes: &mut Pipes<F>,
    patience: Duration,
) {
    if !patience.is_zero() {
        group.signal(Signal::TERM);
        // The pipes end when the last of the group that holds them does.
        let over = async {
            pipes.end().await;
            while !group.has_no_leader() {
                tokio::time::sleep(POLL).await;
            }
        };
        let _ = tokio::time::timeout(patience, over).await;
    }
    group.kill();
    // Reaps the leader, so that no zombie is left; it is dead, so this is soon over.
    let _ = child.wait().await;
    let _ = tokio::time::timeout(DRAIN, pipes.end()).await;
}

async fn read(
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
    output: &mut Output,
    taken: Take,
) -> Result<(), Halt> {
    // Two bindings, so that both halves can be filled at once.
    let (out, err) = (&mut output.stdout, &mut output.stderr);
    let first = async {
        match (stdout, taken) {
            (Some(pipe), Take::All(limit)) => take_all(pipe, out, limit).await,
            (Some(pipe), Take::End) => keep_end(pipe, out).await,
            (None, _) => Ok(()),
        }
    };
    let second = async {
        match stderr {
            Some(pipe) => keep_end(pipe, err).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(first, second).map(|_| ())
}

async fn take_all(mut pipe: impl AsyncRead + Unpin, into: &mut Vec<u8>, limit: usize) -> Result<(), Halt> {
    let mut block = zeroize::Zeroizing::new(vec![0; PIPE_BLOCK]);
    loop {
        let read = pipe.read(&mut block).await.map_err(Halt::Pipe)?;
        let Some(data) = block.get(..read).filter(|data| !data.is_empty()) else {
            return Ok(());
        };
        if into.len() + data.len() > limit {
            return Err(Halt::TooMuch(limit));
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

async fn keep_end(mut pipe: impl AsyncRead + Unpin, into: &mut Vec<u8>) -> Result<(), Halt> {
    let mut block = zeroize::Zeroizing::new(vec![0; PIPE_BLOCK]);
    loop {
        let read = pipe.read(&mut block).await.map_err(Halt::Pipe)?;
        let Some(data) = block.get(..read).filter(|data| !data.is_empty()) else {
            break;
        };
        grow_wiped(into, data.len());
        into.extend_from_slice(data);
        // Cut now and then only: each cut moves all that is kept.
        if into.len() > 2 * OUTPUT_KEPT {
            cut(into);
        }
    }
    cut(into);
    Ok(())
}

fn cut(into: &mut Vec<u8>) {
    let surplus = into.len().saturating_sub(OUTPUT_KEPT);
    into.drain(..surplus);
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
            patience: Duration::ZERO,
            stdout: Take::All(1 << 20),
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
        command.env = vec![("ONLY".into(), Secret::new("this".into()))];
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
    async fn the_end_of_much_output_is_kept_and_the_program_goes_on() {
        let mut command = shell("yes noise | head -c 1200000; printf 'the end'");
        command.stdout = Take::End;
        let output = run(command).await.unwrap();
        assert!(output.stdout.len() <= OUTPUT_KEPT && output.stdout.ends_with(b"noise\nthe end"));
    }

    /// Waits for a file, and gives the process ids in it.
    async fn pids(file: &std::path::Path) -> Vec<i32> {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let text = std::fs::read_to_string(file).unwrap();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn who_is_asked_to_end_can_tidy_up_and_what_does_not_listen_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("child");
        // The program tidies up; its child does not hear the request and would hold the pipe for ever.
        let mut command = shell(
            "trap 'echo tidy; exit 3' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $! > c; mv c child; wait",
        );
        command.folder = Some(folder.path().to_owned());
        command.patience = Duration::from_millis(300);
        command.timeout = Duration::from_mins(10);
        let stop = async {
            pids(&file).await;
        };
        let error = run_until(command, stop).await.unwrap_err();
        assert!(matches!(error, ProcessError::Stopped { .. }), "{error}");
        assert_eq!(error.output().unwrap().stdout, b"tidy\n");
        assert!(gone(pids(&file).await[0]).await, "the child still runs");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_group_that_has_ended() {
        let mut command = shell("sleep 600 & sleep 600");
        command.timeout = Duration::from_millis(50);
        // Were it waited for, the test would be killed by its runner.
        command.patience = Duration::from_secs(100_000);
        assert!(matches!(run(command).await, Err(ProcessError::Timeout { .. })));
    }

    #[tokio::test]
    async fn too_much_output_is_an_error_and_stops_the_program() {
        let mut command = shell("yes");
        command.stdout = Take::All(10_000);
        assert!(matches!(
            run(command).await,
            Err(ProcessError::TooMuchOutput { limit: 10_000, .. })
        ));
    }

    #[tokio::test]
    async fn a_failure_keeps_the_end_of_what_was_said_and_no_argument() {
        let error = run(shell(
            "yes noise | head -c 1000000 >&2; printf 'the reason' >&2; exit 7",
        ))
        .await
        .unwrap_err();
        let stderr = &error.output().unwrap().stderr;
        assert!(stderr.len() <= OUTPUT_KEPT && stderr.ends_with(b"the reason"));
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
