//! From what was typed to what is asked for: the environment is there where it is needed, arguments are pairs, paths
//! are absolute. What does not fit is a problem with code `usage`, and the process ends with 2.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::commands::request::{
    Action, CatRequest, DiffRequest, ExplainErrorRequest, ExplainRequest, ExportRequest, FindRequest, ForgetRequest,
    Guarding, JournalAction, JournalRequest, KeysAction, KeysRequest, ListRequest, LsRequest, Mode, RetentionOfBackups,
    RetentionOfTimes, RetentionRequest, Rollback, RollbackRequest, RunRequest, SchemaRequest, ShowRequest,
    SweepRequest, ValidateRequest, VerifyRequest,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::id::{ArgName, EnvName};
use crate::limits;
use crate::pipeline;
use crate::pipeline::run::Damaged;
use crate::steps::restore::Owner;

use super::args::{self, BackupOptions, FromOptions, RestoreOptions, RunOptions, SchemaOf, Verb};
use super::input;

/// Everything that can be asked for: one variant a verb of the library, and the verbs that only the command line has.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// `run`, `backup`, `restore`, `drill`, `plan`.
    Run(RunRequest),
    /// `rollback`.
    Rollback(RollbackRequest),
    /// `validate`.
    Validate(ValidateRequest),
    /// `explain`.
    Explain(ExplainRequest),
    /// `schema`.
    Schema(SchemaRequest),
    /// `list`.
    List(ListRequest),
    /// `show`.
    Show(ShowRequest),
    /// `ls`.
    Ls(LsRequest),
    /// `cat`.
    Cat(CatRequest),
    /// `diff`.
    Diff(DiffRequest),
    /// `find`.
    Find(FindRequest),
    /// `export`.
    Export(ExportRequest),
    /// `verify`.
    Verify(VerifyRequest),
    /// `retention`.
    Retention(RetentionRequest),
    /// `forget`.
    Forget(ForgetRequest),
    /// `sweep`.
    Sweep(SweepRequest),
    /// `journal`.
    Journal(JournalRequest),
    /// `keys`.
    Keys(KeysRequest),
    /// `explain-error`.
    ExplainError(ExplainErrorRequest),
    /// `completions`.
    Completions(clap_complete::Shell),
    /// `man`: into a folder (absolute), else the first page as the result.
    Man(Option<PathBuf>),
    /// `generate`.
    Generate(Compare),
}

/// Whether generated files are written or compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Written.
    Write,
    /// Compared; nothing is written.
    Check,
}

/// What a request is read in.
pub(super) struct Typed<'a> {
    /// `--env`, if given.
    pub environment: Option<EnvName>,
    /// The current folder, absolute.
    pub folder: &'a Path,
    /// The project folder, absolute.
    pub project: &'a Path,
    /// The file of `--output`, if any.
    pub output: Option<&'a Path>,
}

/// A command line that cannot become a request.
pub(super) type Refused = Box<Diagnostic>;

impl Typed<'_> {
    /// Makes the request.
    pub(super) fn request(&self, verb: Verb) -> Result<Request, Refused> {
        let command = verb.name();
        match verb {
            Verb::Run(verb) => self.run(
                command,
                &verb.pipeline,
                mode(verb.dry_run),
                (verb.options, verb.backups, verb.restore),
                Vec::new(),
            ),
            Verb::Backup(verb) => self.run(
                command,
                "backup",
                mode(verb.dry_run),
                (verb.options, verb.backups, RestoreOptions::default()),
                Vec::new(),
            ),
            Verb::Restore(verb) => {
                let options = self.with_backup(verb.options, &verb.backup, &verb.restore.origin)?;
                let options = (options, BackupOptions::default(), verb.restore);
                self.run(command, "restore", mode(verb.dry_run), options, verb.paths)
            }
            Verb::Drill(verb) => self.drill(command, verb),
            Verb::Rollback(verb) => self.rollback(verb),
            Verb::Plan(verb) => self.plan(command, verb),
            Verb::Validate(verb) => Ok(Request::Validate(ValidateRequest {
                pipelines: verb.pipelines.iter().map(|name| self.pipeline(name)).collect(),
                environment: self.environment.clone(),
            })),
            Verb::Explain(verb) => self.explain(verb),
            Verb::Schema(verb) => Ok(Request::Schema(match verb.of {
                SchemaOf::Pipeline => SchemaRequest::Pipeline,
                SchemaOf::Environment => SchemaRequest::Environment,
            })),
            Verb::List(verb) => Ok(Request::List(ListRequest {
                environment: self.environment()?,
                pipeline: verb.pipeline,
                targets: verb.targets,
            })),
            Verb::Show(verb) => self.show(verb),
            Verb::Ls(verb) => self.ls(verb),
            Verb::Cat(verb) => self.cat(verb),
            Verb::Diff(verb) => self.diff(verb),
            Verb::Find(verb) => self.find(verb),
            Verb::Export(verb) => self.export(verb),
            Verb::Verify(verb) => self.verify(verb),
            Verb::Retention(verb) => self.retention(verb),
            Verb::Forget(verb) => self.forget(verb),
            Verb::Sweep(verb) => Ok(Request::Sweep(SweepRequest {
                environment: self.environment()?,
                mode: mode(verb.dry_run),
                targets: verb.targets,
                wait: verb.wait.map(|span| span.0),
            })),
            Verb::Journal(verb) => self.journal(verb.action),
            Verb::Keys(verb) => self.keys(verb.action),
            Verb::ExplainError(verb) => Ok(Request::ExplainError(ExplainErrorRequest { code: verb.code })),
            Verb::Completions(verb) => Ok(Request::Completions(verb.shell)),
            Verb::Man(verb) => Ok(Request::Man(verb.out.map(|out| self.folder.join(out)))),
            Verb::Generate(verb) => Ok(Request::Generate(if verb.check {
                Compare::Check
            } else {
                Compare::Write
            })),
        }
    }

    fn drill(&self, command: &'static str, verb: args::DrillVerb) -> Result<Request, Refused> {
        let options = match &verb.backup {
            Some(backup) => self.with_backup(verb.options, backup, &verb.origin)?,
            None => verb.options,
        };
        let restore = RestoreOptions {
            origin: verb.origin,
            ..RestoreOptions::default()
        };
        let options = (options, BackupOptions::default(), restore);
        self.run(command, "drill", mode(verb.dry_run), options, Vec::new())
    }

    fn plan(&self, command: &'static str, verb: args::PlanVerb) -> Result<Request, Refused> {
        let options = match &verb.backup {
            Some(backup) => self.with_backup(verb.options, backup, &verb.restore.origin)?,
            None => verb.options,
        };
        let mode = if verb.offline { Mode::PlanOffline } else { Mode::Plan };
        let options = (options, verb.backups, verb.restore);
        self.run(command, &verb.pipeline, mode, options, verb.paths)
    }

    fn run(
        &self,
        command: &'static str,
        pipeline: &str,
        mode: Mode,
        (options, backup, restore): (RunOptions, BackupOptions, RestoreOptions),
        paths: Vec<String>,
    ) -> Result<Request, Refused> {
        let environment = self.environment()?;
        let owner = match (restore.no_owner, restore.numeric_owner) {
            (true, _) => Some(Owner::None),
            (false, true) => Some(Owner::Numbers),
            (false, false) => None,
        };
        Ok(Request::Run(RunRequest {
            command,
            pipeline: self.pipeline(pipeline),
            environment,
            mode,
            sets: options.sets,
            args: arguments(&options.args)?,
            confirm: options.confirm,
            targets: options.targets,
            from: restore.origin.from,
            allow_unredacted: restore.origin.allow_unredacted,
            to: restore.to.map(|to| self.folder.join(to)),
            damaged: if restore.past_damage {
                Damaged::Salvaged
            } else {
                Damaged::Refused
            },
            paths,
            include: restore.include,
            exclude: restore.exclude,
            owner,
            accept_log_rewrites: backup.accept_log_rewrites,
            rewind_logs: restore.rewind_logs,
            wait: options.wait.map(|span| span.0),
            while_running: restore.while_running,
            identity: restore.origin.identity.map(|path| self.folder.join(path)),
            trust_unsigned: restore.origin.trust_unsigned,
        }))
    }

    fn rollback(&self, verb: args::RollbackVerb) -> Result<Request, Refused> {
        let action = match (verb.list, verb.drop) {
            (true, _) => Action::List,
            (false, true) => Action::Drop(verb.point),
            (false, false) => Action::Back(verb.point),
        };
        Ok(Request::Rollback(RollbackRequest {
            environment: self.environment()?,
            rollback: Rollback {
                action,
                confirm: verb.confirm,
                while_running: verb.while_running,
                wait: verb.wait.map(|span| span.0),
            },
        }))
    }

    fn explain(&self, verb: args::ExplainVerb) -> Result<Request, Refused> {
        Ok(Request::Explain(ExplainRequest {
            pipeline: self.pipeline(&verb.pipeline),
            environment: self.environment()?,
            path: verb.path,
            sets: verb.sets,
            args: arguments(&verb.args)?,
        }))
    }

    fn show(&self, verb: args::ShowVerb) -> Result<Request, Refused> {
        let (environment, backup) = self.backup(&verb.backup)?;
        Ok(Request::Show(ShowRequest {
            environment,
            backup,
            pipeline: verb.pipeline,
            targets: verb.targets,
        }))
    }

    fn retention(&self, verb: args::RetentionVerb) -> Result<Request, Refused> {
        let Some(file) = &verb.times else {
            return Ok(Request::Retention(RetentionRequest::Backups(RetentionOfBackups {
                environment: self.environment()?,
                policy: verb.policy,
                at: verb.at,
                pipeline: verb.pipeline,
                sets: verb.sets,
                targets: verb.targets,
            })));
        };
        if self.environment.is_some() {
            let what = "rules are applied either to the times of a file or to the backups of an environment";
            return Err(Box::new(
                Diagnostic::error(Code::Usage, what).help("leave `--times` or `--env` out"),
            ));
        }
        Ok(Request::Retention(RetentionRequest::Times(RetentionOfTimes {
            text: input::text(self.folder, file, limits::TIMES_MAX)?,
            policy: verb.policy.unwrap_or_default(),
            at: verb.at,
            guards: if verb.guards { Guarding::On } else { Guarding::Off },
        })))
    }

    fn forget(&self, verb: args::ForgetVerb) -> Result<Request, Refused> {
        let mut backups = Vec::new();
        let mut environment = self.environment.clone();
        for text in &verb.backups {
            let typed = Typed { environment, ..*self };
            let (named, backup) = typed.backup(text)?;
            // All of them are of one environment: the lock, the journal and the confirmation are.
            environment = Some(named);
            backups.push(backup);
        }
        Ok(Request::Forget(ForgetRequest {
            environment: environment.ok_or_else(|| no_environment(self.project))?,
            backups,
            mode: mode(verb.dry_run),
            pipeline: verb.pipeline,
            purge: verb.purge,
            even_newest: verb.even_newest,
            confirm: verb.confirm,
            targets: verb.targets,
            wait: verb.wait.map(|span| span.0),
        }))
    }

    fn journal(&self, action: args::JournalAction) -> Result<Request, Refused> {
        let action = match action {
            args::JournalAction::Verify => JournalAction::Verify,
            args::JournalAction::Show { run, last } => JournalAction::Show { run, last },
            args::JournalAction::Export { run, since, until } => JournalAction::Export { run, since, until },
            args::JournalAction::Restart { confirm } => JournalAction::Restart { confirm },
        };
        let environment = self.environment()?;
        Ok(Request::Journal(JournalRequest { environment, action }))
    }

    fn keys(&self, action: args::KeysAction) -> Result<Request, Refused> {
        let file = |path: PathBuf| self.folder.join(path);
        let action = match action {
            args::KeysAction::New { file: path } => return Ok(Request::Keys(KeysRequest::New(file(path)))),
            args::KeysAction::Show { identity } => KeysAction::Show {
                identity: identity.map(file),
            },
            args::KeysAction::Add { identity, confirm } => KeysAction::Add {
                identity: identity.map(file),
                confirm,
            },
            args::KeysAction::Rotate { confirm } => KeysAction::Rotate { confirm },
        };
        Ok(Request::Keys(KeysRequest::Of(self.environment()?, action)))
    }

    pub(super) fn environment(&self) -> Result<EnvName, Refused> {
        self.environment.clone().ok_or_else(|| no_environment(self.project))
    }

    /// A short name as it is; a path made absolute where it would mean something else seen from the project folder.
    fn pipeline(&self, text: &str) -> String {
        let is_path = text.contains('/') || Path::new(text).extension().is_some_and(|end| end == "toml");
        if is_path && self.folder != self.project {
            return self.folder.join(text).to_string_lossy().into_owned();
        }
        text.to_owned()
    }

    /// Takes `<env>/<id>` apart. The environment in front stands in for `--env` and may not contradict it.
    pub(super) fn backup(&self, text: &str) -> Result<(EnvName, String), Refused> {
        let Some((front, backup)) = text.split_once('/') else {
            return Ok((self.environment()?, text.to_owned()));
        };
        let named: EnvName = front.parse().map_err(|_| {
            let help = "name it by its id, a unique prefix of one, `latest`, `latest~1` or `<env>/<id>`";
            Box::new(Diagnostic::error(Code::Usage, format!("`{text}` does not name a backup")).help(help))
        })?;
        match &self.environment {
            Some(given) if *given != named => Err(Box::new(
                Diagnostic::error(
                    Code::Usage,
                    format!("backup `{text}` is of environment `{named}`, not of `{given}`"),
                )
                .help(format!(
                    "write `--env {named}`; a restore into another environment takes it by `--from {named}`"
                )),
            )),
            _ => Ok((named, backup.to_owned())),
        }
    }

    /// Adds the backup as the argument that a restore pipeline declares.
    fn with_backup(&self, mut options: RunOptions, backup: &str, origin: &FromOptions) -> Result<RunOptions, Refused> {
        if options.args.iter().any(|pair| pair.starts_with("backup=")) {
            let what = "the backup is named twice: as an argument of the verb and by `--arg backup=`";
            return Err(Box::new(
                Diagnostic::error(Code::Usage, what).help("leave `--arg backup=` out"),
            ));
        }
        let named_by = Typed {
            environment: origin.from.clone().or_else(|| self.environment.clone()),
            ..*self
        };
        let (_, backup) = named_by.backup(backup)?;
        options.args.push(format!("backup={backup}"));
        Ok(options)
    }
}

const fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::Plan } else { Mode::Run }
}

/// Reads `key=value` pairs. The value is never repeated in a message.
fn arguments(pairs: &[String]) -> Result<BTreeMap<String, String>, Refused> {
    let mut arguments = BTreeMap::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            let what = "`--arg` takes a name, `=` and a value";
            Box::new(Diagnostic::error(Code::Usage, what).help("write `--arg backup=latest`"))
        })?;
        if key.parse::<ArgName>().is_err() {
            let what = format!("`{key}` in `--arg` is not the name of an argument");
            return Err(Box::new(Diagnostic::error(Code::Usage, what).help(
                "names are lower-case letters, digits and `-`, and stand in the pipeline under `[arg.<name>]`",
            )));
        }
        if arguments.insert(key.to_owned(), value.to_owned()).is_some() {
            let what = format!("argument `{key}` is given twice");
            return Err(Box::new(Diagnostic::error(Code::Usage, what).help("give it once")));
        }
    }
    Ok(arguments)
}

/// The problem of a verb that needs `--env` and has none: there is no default, so that nobody backs up or restores the
/// wrong environment by leaving something out.
fn no_environment(project: &Path) -> Refused {
    let names = pipeline::list_environments(project).map(|names| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        names.join(", ")
    });
    let help = match names {
        Ok(names) if !names.is_empty() => format!("add `--env` and one of: {names}"),
        // A folder that is missing or cannot be read has none to offer; the message is about `--env` all the same.
        Ok(_) | Err(_) => format!(
            "there is no environment yet: `{}` has no `*.toml`",
            project.join("pipelines/environments").display()
        ),
    };
    Box::new(
        Diagnostic::error(Code::Usage, "no environment was named")
            .why("there is no default environment")
            .state("nothing was started")
            .help(help),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::Cli;

    fn read(words: &[&str], folder: &str) -> Result<Request, Refused> {
        let cli = Cli::try_parse_from([&["strongroom"], words].concat()).unwrap();
        let typed = Typed {
            environment: cli.global.env,
            folder: Path::new(folder),
            project: Path::new("/project"),
            output: cli.global.output.as_deref(),
        };
        typed.request(cli.verb)
    }

    fn run(words: &[&str]) -> RunRequest {
        match read(words, "/project").unwrap() {
            Request::Run(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_short_forms_are_the_long_forms() {
        let short = run(&["restore", "latest", "-e", "dev", "-n", "--to", "out"]);
        let long = run(&[
            "run",
            "restore",
            "--arg",
            "backup=latest",
            "--env=dev",
            "--dry-run",
            "--to=out",
        ]);
        assert_eq!(
            RunRequest {
                command: "run",
                ..short.clone()
            },
            long
        );
        let plan = run(&["plan", "restore", "latest", "-e", "dev", "--to", "out"]);
        assert_eq!(
            RunRequest {
                command: "restore",
                ..plan
            },
            short
        );
        assert_eq!(short.to.as_deref(), Some(Path::new("/project/out")));
        assert_eq!(run(&["backup", "-e", "dev"]).pipeline, "backup");
        assert_eq!(
            run(&["plan", "backup", "-e", "dev", "--offline"]).mode,
            Mode::PlanOffline
        );
    }

    #[test]
    fn without_env_nothing_is_asked_for() {
        for words in [
            ["backup", "-q"],
            ["list", "-q"],
            ["show", "latest"],
            ["explain", "backup"],
        ] {
            let refused = read(&words, "/project").unwrap_err();
            assert_eq!(refused.code, Code::Usage, "{words:?}");
            assert!(refused.help.unwrap().contains("environment"), "{words:?}");
        }
        assert!(read(&["validate"], "/project").is_ok());
    }

    #[test]
    fn the_environments_that_exist_are_listed() {
        let project = tempfile::tempdir().unwrap();
        let folder = project.path().join("pipelines/environments");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["live.toml", "dev.toml", "notes.md", "Bad.toml"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let help = no_environment(project.path()).help.unwrap();
        assert_eq!(help, "add `--env` and one of: dev, live");
    }

    #[test]
    fn an_environment_before_the_id_stands_in_for_env() {
        let Request::Show(request) = read(&["show", "live/2026"], "/project").unwrap() else {
            panic!()
        };
        assert_eq!(
            (request.environment.as_str(), request.backup.as_str()),
            ("live", "2026")
        );
        let refused = read(&["show", "live/2026", "-e", "dev"], "/project").unwrap_err();
        assert!(refused.what.contains("`live`"), "{}", refused.what);
        assert!(read(&["show", "../x", "-e", "dev"], "/project").is_err());
    }

    #[test]
    fn arguments_are_pairs_given_once() {
        let wrong = [["--arg", "backup"], ["--arg", "Backup=x"], ["--arg", "=x"]];
        for pair in wrong {
            let words = [&["run", "restore", "-e", "dev"], pair.as_slice()].concat();
            assert_eq!(read(&words, "/project").unwrap_err().code, Code::Usage, "{pair:?}");
        }
        for twice in [
            vec!["run", "restore", "-e", "dev", "--arg", "a=1", "--arg", "a=2"],
            vec!["restore", "latest", "-e", "dev", "--arg", "backup=x"],
        ] {
            assert!(read(&twice, "/project").is_err(), "{twice:?}");
        }
        let request = run(&["run", "restore", "-e", "dev", "--arg", "a=b=c"]);
        assert_eq!(request.args.get("a").map(String::as_str), Some("b=c"));
    }

    #[test]
    fn a_manifest_path_is_meant_from_where_it_was_typed() {
        let asked = |words: &[&str], folder| match read(words, folder).unwrap() {
            Request::Run(request) => request.pipeline,
            other => panic!("{other:?}"),
        };
        assert_eq!(asked(&["run", "nightly", "-e", "dev"], "/project/sub"), "nightly");
        assert_eq!(asked(&["run", "x/y.toml", "-e", "dev"], "/project"), "x/y.toml");
        assert_eq!(
            asked(&["run", "y.toml", "-e", "dev"], "/project/sub"),
            "/project/sub/y.toml"
        );
    }
}
