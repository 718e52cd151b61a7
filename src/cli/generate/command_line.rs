//! `docs/reference/cli.md` from the clap types, `exit-codes.md` from the tables of exit codes and error codes.

use std::fmt::Write as _;

use clap::{Arg, Command};

use crate::diagnostic::Code;
use crate::outcome::ExitCode;

use super::reference::{GENERATED, cell};

/// The page of the command line.
pub(super) fn page(command: &Command) -> String {
    let mut out = format!("{GENERATED}\n# The command line\n\n");
    let about = command
        .get_long_about()
        .or(command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default();
    let _ = writeln!(out, "{about}\n");
    let visible = || command.get_subcommands().filter(|verb| !verb.is_hide_set());
    out.push_str("| verb | |\n| --- | --- |\n");
    for verb in visible() {
        let name = verb.get_name();
        let anchor = format!("strongroom-{name}");
        let _ = writeln!(out, "| [`{name}`](#{anchor}) | {} |", cell(&about_of(verb)));
    }
    out.push_str("\nThe process ends with one of the [exit codes](exit-codes.md).\n\n## Global options\n\n");
    out.push_str("Every verb takes these, before or after its own.\n\n");
    options(&mut out, command.get_arguments().filter(|arg| arg.is_global_set()));
    for verb in visible() {
        verb_section(&mut out, verb, &format!("strongroom {}", verb.get_name()), 2);
    }
    out
}

fn verb_section(out: &mut String, verb: &Command, name: &str, level: usize) {
    let _ = writeln!(out, "\n{} `{name}`\n\n{}\n", "#".repeat(level), about_of(verb));
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let _ = writeln!(out, "```text\n{}\n```", usage.trim_end());
    let own = || {
        verb.get_arguments()
            .filter(|arg| !arg.is_global_set() && !is_built_in(arg) && !arg.is_hide_set())
    };
    if own().next().is_some() {
        out.push('\n');
        options(out, own());
    }
    let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples: Vec<&str> = after
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if !examples.is_empty() {
        let _ = writeln!(out, "\n```sh\n{}\n```", examples.join("\n"));
    }
    for below in verb.get_subcommands().filter(|below| !below.is_hide_set()) {
        verb_section(out, below, &format!("{name} {}", below.get_name()), level + 1);
    }
}

fn is_built_in(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

fn options<'a>(out: &mut String, args: impl Iterator<Item = &'a Arg>) {
    out.push_str("| option | meaning |\n| --- | --- |\n");
    for arg in args {
        let _ = writeln!(out, "| {} | {} |", cell(&written(arg)), cell(&meaning(arg)));
    }
}

/// How an option is written: `-e`, `--env ENV`.
fn written(arg: &Arg) -> String {
    let takes_value = arg.get_action().takes_values();
    let names: Vec<&str> = arg
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(clap::builder::Str::as_str)
        .collect();
    let value = if takes_value { names.join(" ") } else { String::new() };
    if arg.is_positional() {
        return format!("`{value}`");
    }
    let short = arg.get_short().map(|short| format!("`-{short}`"));
    let long = arg
        .get_long()
        .map(|long| format!("`{}`", format!("--{long} {value}").trim_end()));
    [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if !text.ends_with('.') {
        text.push('.');
    }
    let words: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && arg.get_action().takes_values())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}`: {help}", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    let separator = if words.iter().any(|word| word.contains(':')) {
        "; "
    } else {
        ", "
    };
    if !words.is_empty() {
        let _ = write!(text, " {}.", words.join(separator));
    }
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .filter(|_| arg.get_action().takes_values())
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !defaults.is_empty() {
        let _ = write!(text, " Default: {}.", defaults.join(", "));
    }
    text
}

fn about_of(command: &Command) -> String {
    let mut about = command.get_about().map(ToString::to_string).unwrap_or_default();
    if !about.ends_with('.') {
        about.push('.');
    }
    about
}

/// The page of the exit codes: what each means, and the error codes that lead to it.
pub(super) fn exit_codes() -> String {
    let mut out = format!("{GENERATED}\n# Exit codes\n\n");
    out.push_str(
        "The first error decides; where there are only warnings it is 3. `make` ends with 2 whatever failed, so automation \
         calls\n`scripts/backup.sh` and `scripts/restore.sh`, which pass the exit code on.\n\n\
         | code | meaning | [error codes](../errors.md) |\n| --- | --- | --- |\n",
    );
    for (exit, meaning) in ExitCode::ALL {
        let codes: Vec<String> = Code::ALL
            .iter()
            .filter(|code| code.exit() == *exit)
            .map(|code| format!("[`{code}`](../errors.md#{code})", code = code.as_str()))
            .collect();
        let _ = writeln!(out, "| {} | {} | {} |", exit.number(), cell(meaning), codes.join(", "));
    }
    out
}
