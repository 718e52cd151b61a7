//! Ctrl-C, SIGTERM and SIGHUP: the first asks the run to end, the second ends the process at once.
//!
//! A signal that was ignored when the program started stays ignored: `nohup` and a shell's background jobs rely on it.
//!
//! SIGXFSZ, which ends a process that writes a file larger than it may (`ulimit -f`), is caught and passed over: the write then
//! fails with an error of its own, and the run says what became of the data.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::commands::{Stop, StopSignal};
use crate::diagnostic::Code;

use super::screen::Screen;

/// A file would become larger than this process may make one.
const TOO_LARGE: i32 = rustix::process::Signal::XFSZ.as_raw();

/// Listens on a thread of its own, so that a busy run cannot keep a signal waiting.
///
/// # Errors
/// When the operating system gives no thread or no signal handler.
pub(super) fn listen(stop: &Stop, screen: &Screen) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let ignored = ignored();
    let mut signals = {
        // Signals are caught from here on, not from whenever the thread gets going.
        let _entered = runtime.enter();
        Signals {
            interrupt: catch(SignalKind::interrupt(), ignored)?,
            terminate: catch(SignalKind::terminate(), ignored)?,
            hangup: catch(SignalKind::hangup(), ignored)?,
            _too_large: catch(SignalKind::from_raw(TOO_LARGE), ignored)?,
        }
    };
    let (stop, screen) = (stop.clone(), screen.clone());
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let first = signals.next().await;
            stop.request(first);
            screen.write("\nstopping; the run ends as soon as nothing is left half done (again to stop at once)\n");
            signals.next().await;
            screen.pause();
            screen.write("stopped at once\n");
            std::process::exit(i32::from(number(first)));
        });
    })?;
    Ok(())
}

/// The exit code of a process that `signal` stopped.
fn number(signal: StopSignal) -> u8 {
    let code: Code = signal.code();
    code.exit().number()
}

struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
    /// Nobody waits for it.
    _too_large: Option<Signal>,
}

impl Signals {
    async fn next(&mut self) -> StopSignal {
        tokio::select! {
            () = arrival(&mut self.interrupt) => StopSignal::Interrupt,
            () = arrival(&mut self.terminate) => StopSignal::Terminate,
            () = arrival(&mut self.hangup) => StopSignal::Terminate,
        }
    }
}

async fn arrival(signal: &mut Option<Signal>) {
    let arrived = match signal {
        Some(signal) => signal.recv().await.is_some(),
        None => false,
    };
    if !arrived {
        // Ignored, or no more can come, which the operating system does not do: wait for the others.
        std::future::pending::<()>().await;
    }
}

fn catch(kind: SignalKind, ignored: u64) -> io::Result<Option<Signal>> {
    let bit = u32::try_from(kind.as_raw_value() - 1).unwrap_or(0);
    if ignored.checked_shr(bit).unwrap_or(0) & 1 == 1 {
        return Ok(None);
    }
    signal(kind).map(Some)
}

/// The set of signals ignored by this process, signal N as bit N-1. Where `/proc` does not say, none: then a signal
/// stops the run, which is the safer reading.
fn ignored() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| parse_ignored(&status))
        .unwrap_or(0)
}

fn parse_ignored(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status = "Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert_eq!(parse_ignored(status), Some(0x1001));
        assert_eq!(parse_ignored("Name:\tx\n"), None);
    }

    #[test]
    fn exit_codes_are_the_shells() {
        assert_eq!(
            (number(StopSignal::Interrupt), number(StopSignal::Terminate)),
            (130, 143)
        );
    }
}
