//! Finds and reads the files of a compilation: trees with places, nothing merged, nothing decided.

use std::path::{Path, PathBuf};

use super::files::{self, ENVIRONMENTS, PIPELINES};
use super::plan::{Layer, Provenance};
use super::problem::{Problems, STATE, suggest};
use super::source_map::SourceMap;
use super::tree::{Node, Table};
use super::{Request, parse, schema, sets};
use crate::diagnostic::{Code, Diagnose, Diagnostic, Place};
use crate::id::PipelineName;

/// The files of a compilation and the values of the command line, as written.
pub(super) struct Manifest {
    /// All text, in one offset space.
    pub(super) map: SourceMap,
    /// The pipeline's file.
    pub(super) pipeline: Node,
    /// The environment's file.
    pub(super) environment: Node,
    /// The values of the command line, in their order.
    pub(super) sets: Vec<(sets::Part, Table)>,
    /// What only the places of the files tell.
    pub(super) located: Located,
}

/// Where the files of a compilation lie.
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// Where the pipeline comes from.
    pub(super) provenance: Provenance,
    /// The folder above `pipelines/`.
    pub(super) project: PathBuf,
    /// The name that a file in `pipelines/` must give its pipeline.
    pub(super) name: Option<PipelineName>,
    pipeline: Text,
    environment: Text,
}

/// A file: its name as the operator knows it, and its content.
#[derive(Clone, Debug)]
struct Text {
    name: String,
    text: String,
}

/// Reads what a request names.
///
/// # Errors
/// A file that is not there, and all errors of TOML in all files.
pub(super) fn load(request: &Request) -> Result<Manifest, Vec<Diagnostic>> {
    parse_all(locate(request)?, request)
}

fn parse_all(located: Located, request: &Request) -> Result<Manifest, Vec<Diagnostic>> {
    let mut map = SourceMap::new(schema::secret_keys());
    let mut problems = Problems::default();
    let file = &located.pipeline;
    let pipeline = parse::parse(&mut map, &file.name, Layer::Pipeline, &file.text, &mut problems);
    let file = &located.environment;
    let environment = parse::parse(&mut map, &file.name, Layer::Environment, &file.text, &mut problems);
    let mut values = Vec::new();
    for argument in &request.sets {
        values.extend(sets::read(&mut map, argument, &mut problems));
    }
    if !problems.is_empty() {
        return Err(problems.finish(&map, &request.pipeline, &request.environment));
    }
    Ok(Manifest {
        map,
        pipeline,
        environment,
        sets: values,
        located,
    })
}

/// A pipeline of the least that is one: what only reads backups needs an environment and no pipeline of the project.
const READING: &str = "schema-version = 1\nname = \"strongroom-reads-backups\"\n\n[[step]]\nid = \"choose\"\ntype = \"select\"\nbackup = \"latest\"\n";

/// Reads the environment that a request names, without any pipeline of the project.
///
/// # Errors
/// A file that is not there, and all errors of TOML in it.
pub(super) fn load_environment(request: &Request) -> Result<Manifest, Vec<Diagnostic>> {
    let environment = find_environment(request, &request.project).map_err(|missing| vec![*missing])?;
    let located = Located {
        provenance: Provenance::BuiltIn,
        project: request.project.clone(),
        name: None,
        pipeline: Text {
            name: "(built in)".to_owned(),
            text: READING.to_owned(),
        },
        environment,
    };
    parse_all(located, request)
}

/// Finds both files; both may be missing at once.
fn locate(request: &Request) -> Result<Located, Vec<Diagnostic>> {
    let pipeline = find_pipeline(request);
    let project = match &pipeline {
        Ok(found) => found.project.clone(),
        Err(_) => request.project.clone(),
    };
    let environment = find_environment(request, &project);
    match (pipeline, environment) {
        (Ok(found), Ok(environment)) => Ok(Located {
            provenance: found.provenance,
            project,
            name: found.name,
            pipeline: found.text,
            environment,
        }),
        (pipeline, environment) => {
            let missing = pipeline.err().into_iter().chain(environment.err());
            Err(missing.map(|diagnostic| *diagnostic).collect())
        }
    }
}

struct Found {
    text: Text,
    provenance: Provenance,
    project: PathBuf,
    name: Option<PipelineName>,
}

fn find_pipeline(request: &Request) -> Result<Found, Box<Diagnostic>> {
    match request.pipeline.parse::<PipelineName>() {
        Ok(name) => find_by_name(request, name),
        Err(_) => find_by_path(request),
    }
}

fn find_by_name(request: &Request, name: PipelineName) -> Result<Found, Box<Diagnostic>> {
    let shown = format!("{PIPELINES}/{name}.toml");
    let path = request.project.join(&shown);
    if path.exists() {
        return Ok(Found {
            text: Text {
                text: files::read(&path).map_err(|error| unreadable(&error, &shown))?,
                name: shown,
            },
            provenance: Provenance::File(path),
            project: request.project.clone(),
            name: Some(name),
        });
    }
    match files::built_in(name.as_str()) {
        Some(text) => Ok(Found {
            text: Text {
                text: text.to_owned(),
                name: format!("{shown} (built in)"),
            },
            provenance: Provenance::BuiltIn,
            project: request.project.clone(),
            name: Some(name),
        }),
        None => Err(no_pipeline(request, &shown)),
    }
}

fn find_by_path(request: &Request) -> Result<Found, Box<Diagnostic>> {
    let given = PathBuf::from(&request.pipeline);
    let path = if given.exists() {
        given
    } else {
        request.project.join(&given)
    };
    if !path.exists() {
        return Err(no_pipeline(request, &request.pipeline));
    }
    let text = files::read(&path).map_err(|error| unreadable(&error, &request.pipeline))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let in_pipelines = folder.file_name().is_some_and(|name| name == PIPELINES);
    let project = if in_pipelines {
        or_here(folder.parent())
    } else {
        // Outside of any project the environment decides: one beside the manifest, else that of the project at hand.
        let own = or_here(Some(folder));
        let has = |folder: &Path| environment_path(folder, request).exists();
        if !has(&own) && has(&request.project) {
            request.project.clone()
        } else {
            own
        }
    };
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.parse().ok());
    Ok(Found {
        text: Text {
            name: request.pipeline.clone(),
            text,
        },
        name: stem.filter(|_| in_pipelines),
        provenance: Provenance::File(path.clone()),
        project: if same_folder(&project, &request.project) {
            request.project.clone()
        } else {
            project
        },
    })
}

fn or_here(folder: Option<&Path>) -> PathBuf {
    match folder {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn same_folder(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn environment_path(project: &Path, request: &Request) -> PathBuf {
    project
        .join(PIPELINES)
        .join(ENVIRONMENTS)
        .join(format!("{}.toml", request.environment))
}

fn find_environment(request: &Request, project: &Path) -> Result<Text, Box<Diagnostic>> {
    let path = environment_path(project, request);
    let shown = if project == request.project {
        format!("{PIPELINES}/{ENVIRONMENTS}/{}.toml", request.environment)
    } else {
        path.display().to_string()
    };
    if !path.exists() {
        let known = files::list_environments(project).map_err(|error| unreadable(&error, &shown))?;
        let help = suggest(
            request.environment.as_str(),
            known.iter().map(AsRef::as_ref),
            &format!("write `{shown}`"),
        );
        return Err(Box::new(
            Diagnostic::error(
                Code::ManifestUnreadable,
                format!("there is no environment `{}`", request.environment),
            )
            .at(beginning(&shown))
            .why(format!("`{shown}` does not exist"))
            .state(STATE)
            .help(help),
        ));
    }
    Ok(Text {
        text: files::read(&path).map_err(|error| unreadable(&error, &shown))?,
        name: shown,
    })
}

fn no_pipeline(request: &Request, shown: &str) -> Box<Diagnostic> {
    let listed = match files::list_pipelines(&request.project) {
        Ok(listed) => listed,
        Err(error) => return unreadable(&error, shown),
    };
    let known: Vec<&str> = listed.iter().map(|pipeline| pipeline.name.as_str()).collect();
    let missing = Diagnostic::error(
        Code::ManifestUnreadable,
        format!("there is no pipeline `{}`", request.pipeline),
    )
    .at(beginning(shown))
    .why(format!("`{shown}` does not exist"))
    .state(STATE)
    .help(suggest(&request.pipeline, known, "write a manifest first"));
    Box::new(missing)
}

fn unreadable(error: &impl Diagnose, shown: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::of(error).at(beginning(shown)))
}

/// The first place of a file that has no text to show.
fn beginning(file: &str) -> Place {
    Place {
        file: file.to_owned(),
        line: 1,
        column: 1,
        label: String::new(),
        excerpt: None,
    }
}
