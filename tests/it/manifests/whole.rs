//! Compiling as a whole: what is found, what is reported together, what a plan says.

use std::path::PathBuf;

use serde_json::json;
use strongroom::id::PipelineName;
use strongroom::pipeline::{Layer, Provenance, Purpose, compile, environment, list_environments, list_pipelines};
use strongroom::steps::{Flow, Step};

use super::project::{BACKUP, ENVIRONMENT, Project, plan, refused, request, told};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_shipped_pipeline_compiles_in_every_shipped_environment() {
    let environments = list_environments(&repository()).unwrap();
    assert_eq!(environments.len(), 3);
    for pipeline in list_pipelines(&repository()).unwrap() {
        assert!(matches!(pipeline.provenance, Provenance::File(_)), "{pipeline:?}");
        for environment in &environments {
            plan(&request(&repository(), pipeline.name.as_str(), environment.as_str()));
        }
    }
}

#[test]
fn a_plan_knows_what_flows_between_its_steps() {
    let project = Project::new(&[], &[], &[("", "[pipeline.backup.step.scrub]\nenabled = false\n")]);
    let plan = plan(&project.request("backup"));
    let flows: Vec<(&str, bool, Flow, Flow)> = plan
        .steps()
        .iter()
        .map(|step| (step.id.as_str(), step.enabled, step.takes, step.gives))
        .collect();
    assert_eq!(
        flows,
        [
            ("capture", true, Flow::Nothing, Flow::Tree),
            ("scrub", false, Flow::Tree, Flow::Tree),
            ("pack", true, Flow::Tree, Flow::Packed),
            ("digest", true, Flow::Packed, Flow::Digested),
            ("store", true, Flow::Digested, Flow::Stored),
            ("proof", true, Flow::Stored, Flow::Confirmed),
        ]
    );
    let place = &plan.steps()[2].place;
    assert_eq!(
        (place.file.as_str(), place.line, place.column),
        ("pipelines/backup.toml", 25, 8)
    );
}

#[test]
fn glob_characters_of_a_path_are_literal_and_those_of_the_pipeline_are_not() {
    let project = Project::new(
        &[("path = \"{{path.config}}\"", "path = \"{{path.config}}/*.toml\"")],
        &[],
        &[("config = \"/srv/config\"", "config = \"/srv/[old] {{env.name}}*\"")],
    );
    let plan = plan(&project.request("backup"));
    let found = plan.explain(Some("step.capture.source.config.path"));
    assert_eq!(found[0].value, json!("/srv/[[]old[]] test[*]/*.toml"));
    assert_eq!(plan.explain(Some("path.config"))[0].value, json!("/srv/[old] test*"));
}

#[test]
fn a_pipeline_without_a_file_is_the_built_in_one_and_says_so() {
    let project = Project::new(&[], &[], &[]);
    std::fs::remove_file(project.folder.path().join("pipelines/restore.toml")).unwrap();
    let plan = plan(&project.request("restore"));
    assert_eq!(plan.provenance(), &Provenance::BuiltIn);
    let name = &plan.explain(Some("pipeline.name"))[0];
    assert_eq!(name.place.as_ref().unwrap().file, "pipelines/restore.toml (built in)");
    let listed = list_pipelines(project.folder.path()).unwrap();
    let restore = listed
        .iter()
        .find(|pipeline| pipeline.name.as_str() == "restore")
        .unwrap();
    assert_eq!(restore.provenance, Provenance::BuiltIn);
}

#[test]
fn a_required_argument_is_demanded_by_a_run_and_exemplified_by_validation() {
    let project = Project::new(&[], &[], &[]);
    let mut request = project.request("restore");
    assert_eq!(
        plan(&request).explain(Some("step.choose.backup"))[0].value,
        json!("latest")
    );
    request.purpose = Purpose::Run;
    let found = refused(&request);
    assert_eq!(found.len(), 1, "{}", told(&found));
    assert_eq!(found[0].code.as_str(), "usage");
    assert_eq!(found[0].help.as_deref(), Some("add `--arg backup=latest`"));
    assert_eq!((found[0].places[0].line, found[0].places[0].column), (4, 6));
    request.args.insert("backup".into(), "2026".into());
    assert_eq!(
        plan(&request).explain(Some("step.choose.backup"))[0].value,
        json!("2026")
    );
}

#[test]
fn an_argument_that_is_not_declared_is_a_wrong_command_line() {
    let project = Project::new(&[], &[], &[]);
    let mut request = project.request("restore");
    request.args.insert("backpu".into(), "latest".into());
    let found = refused(&request);
    assert_eq!(found.len(), 1, "{}", told(&found));
    assert_eq!(found[0].code.exit().number(), 2);
    assert_eq!(found[0].help.as_deref(), Some("did you mean `backup`?"));
}

#[test]
fn a_line_end_in_an_argument_is_refused() {
    let project = Project::new(&[], &[], &[]);
    let mut request = project.request("restore");
    request.args.insert("backup".into(), "latest\nexclude".into());
    let found = refused(&request);
    assert_eq!(found[0].code.as_str(), "template-invalid", "{}", told(&found));
}

#[test]
fn files_that_are_not_there_are_reported_together_with_their_neighbours() {
    let project = Project::new(&[], &[], &[]);
    let found = refused(&request(project.folder.path(), "bakcup", "tset"));
    let told: Vec<(&str, &str)> = found
        .iter()
        .map(|d| (d.places[0].file.as_str(), d.help.as_deref().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("pipelines/bakcup.toml", "did you mean `backup`?"),
            ("pipelines/environments/tset.toml", "did you mean `test`?"),
        ]
    );
}

#[test]
fn all_problems_of_a_stage_are_reported_at_once_sorted_by_place() {
    let project = Project::new(
        &[
            ("level = 3", "levle = \"x\"\ncodec2 = 1"),
            ("codec = \"zstd\"", "codec = \"zip\""),
            ("path = \"{{path.data}}/events\"", "path = \"{{path.a}}{{path.b}}\""),
            (
                "id = \"proof\"\ntype = \"confirm\"\nby = \"read-back\"\n",
                "type = \"confirm\"\n",
            ),
        ],
        &[],
        &[("url = ", "ulr = "), ("", "[pipeline.backup.step.nothing]\nx = 1\n")],
    );
    let mut request = project.request("backup");
    request.sets = vec!["step.pack.enabled=maybe".into()];
    let found = refused(&request);
    let places: Vec<(&str, &str, u32)> = found
        .iter()
        .map(|d| (d.code.as_str(), d.places[0].file.as_str(), d.places[0].line))
        .collect();
    let (backup, test) = ("pipelines/backup.toml", "pipelines/environments/test.toml");
    assert_eq!(
        places,
        [
            ("template-unknown", backup, 11),
            ("template-unknown", backup, 11),
            ("invalid-value", backup, 26),
            ("unknown-key", backup, 27),
            ("unknown-key", backup, 28),
            ("missing-key", backup, 39),
            ("missing-key", backup, 39),
            ("missing-key", test, 8),
            ("unknown-key", test, 9),
            ("overlay-unknown", test, 10),
            ("wrong-type", "--set", 1),
        ],
        "{}",
        told(&found)
    );
    assert_eq!(found[2].step.as_deref(), Some("pack"));
    assert_eq!(found[2].environment.as_deref(), Some("test"));
}

#[test]
fn one_broken_line_is_reported_once() {
    let project = Project::new(
        &[
            ("level = 3", "level = = 3 4 [ \"x"),
            ("codec = \"zstd\"", "codec = zstd lz4"),
        ],
        &[],
        &[],
    );
    let found = refused(&project.request("backup"));
    let lines: Vec<u32> = found.iter().map(|d| d.places[0].line).collect();
    assert_eq!(lines, [26, 27], "{}", told(&found));
}

#[test]
fn a_manifest_is_found_by_its_path_and_keeps_to_its_own_project() {
    let project = Project::new(&[], &[], &[]);
    let path = project.folder.path().join("pipelines/backup.toml");
    let elsewhere = tempfile::tempdir().unwrap();
    let plan = plan(&request(elsewhere.path(), path.to_str().unwrap(), "test"));
    assert_eq!(plan.project(), project.folder.path());
    assert_eq!(plan.pipeline(), &"backup".parse::<PipelineName>().unwrap());
}

#[test]
fn a_manifest_outside_of_any_project_uses_the_environments_of_the_project_at_hand() {
    let project = Project::new(&[], &[], &[]);
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("mine.toml");
    std::fs::write(&path, BACKUP.replace("\"backup\"", "\"whatever\"")).unwrap();
    let plan = plan(&request(project.folder.path(), path.to_str().unwrap(), "test"));
    assert_eq!(plan.project(), project.folder.path());
    assert_eq!(plan.pipeline().as_str(), "whatever");
}

#[test]
fn the_digest_is_of_what_is_decided_not_of_how_it_is_written() {
    let written = Project::new(&[], &[], &[]);
    let reordered = Project::new(
        &[("codec = \"zstd\"\nlevel = 3", "# fast\nlevel = 3\ncodec   = \"zstd\"")],
        &[],
        &[],
    );
    let changed = Project::new(&[("level = 3", "level = 4")], &[], &[]);
    let digest = |project: &Project| plan(&project.request("backup")).digest().to_owned();
    assert_eq!(digest(&written), digest(&reordered));
    assert_ne!(digest(&written), digest(&changed));
    assert_eq!(digest(&written).len(), 64);
}

#[test]
fn every_value_of_the_environment_is_explained_and_defaults_are_named() {
    let project = Project::new(&[], &[], &[]);
    let plan = plan(&project.request("backup"));
    let told = |path: &str| plan.explain(Some(path))[0].clone();
    assert_eq!(told("path.data").place.unwrap().line, 5);
    assert_eq!(told("target.local.url").layer, Layer::Environment);
    assert_eq!(told("environment.protected").layer, Layer::Default);
    assert_eq!(told("step.scrub.binary").value, json!("refuse"));
    assert!(plan.explain(Some("step.nothing")).is_empty());
    assert!(plan.explain(Some("step.sto")).is_empty());
}

#[test]
fn a_second_pipeline_with_gzip_and_no_redaction_compiles() {
    let mut project = Project::new(&[], &[], &[]);
    project.write(
        "pipelines/weekly.toml",
        r#"schema-version = 1
name = "weekly"

[[step]]
id = "take"
type = "snapshot"
source = [{ name = "data", type = "files", path = "{{path.data}}", one-file-system = true }]

[[step]]
id = "ask"
type = "confirm"
by = "operator"

[[step]]
id = "squeeze"
type = "compress"
codec = "gzip"

[[step]]
id = "sums"
type = "checksum"

[[step]]
id = "keep"
type = "upload"
targets = ["local"]
require = 1
"#,
    );
    let plan = plan(&project.request("weekly"));
    assert!(matches!(&plan.steps()[2].step, Step::Compress(settings) if settings.level.is_none()));
}

#[test]
fn files_with_a_byte_order_mark_windows_line_ends_or_nothing_in_them_are_read() {
    let mut project = Project::new(&[], &[], &[]);
    project.write(
        "pipelines/backup.toml",
        &format!("\u{feff}{}", BACKUP.replace('\n', "\r\n")),
    );
    plan(&project.request("backup"));
    project.write("pipelines/environments/test.toml", "");
    let found = refused(&project.request("backup"));
    assert_eq!(found[0].code.as_str(), "schema-version", "{}", told(&found));
    assert_eq!((found[0].places[0].line, found[0].places[0].column), (1, 1));
}

#[test]
fn files_that_are_no_text_or_too_large_are_refused() {
    let mut project = Project::new(&[], &[], &[]);
    let path = project.folder.path().join("pipelines/backup.toml");
    std::fs::write(&path, [0xff, 0xfe, b'x']).unwrap();
    let found = refused(&project.request("backup"));
    assert!(found[0].what.contains("not UTF-8"), "{}", told(&found));
    std::fs::write(&path, vec![b'#'; 5 << 20]).unwrap();
    let found = refused(&project.request("backup"));
    assert!(found[0].what.contains("larger"), "{}", told(&found));
    let deep = format!("{ENVIRONMENT}\nx = {}1{}", "[".repeat(200), "]".repeat(200));
    project.write("pipelines/backup.toml", BACKUP);
    project.write("pipelines/environments/test.toml", &deep);
    assert!(compile(&project.request("backup")).is_err());
}

#[test]
fn an_environment_alone_is_checked_as_with_a_pipeline() {
    let values = request(&repository(), "backup", "dev").run;
    let name = "test".parse().unwrap();
    let good = Project::new(&[], &[], &[("", "[pipeline.backup.step.pack]\nlevel = 9\n")]);
    let read = environment(good.folder.path(), &name, &values).unwrap();
    assert_eq!(read.path["data"], "/srv/data");
    for (edit, code) in [
        (
            ("url = \"file:///var/backups/test\"", "url = \"gs://x/y\""),
            "invalid-value",
        ),
        (("url =", "ulr ="), "missing-key"),
    ] {
        let wrong = Project::new(&[], &[], &[edit]);
        let found = environment(wrong.folder.path(), &name, &values).unwrap_err();
        assert_eq!(found[0].code.as_str(), code, "{}", told(&found));
        assert_eq!(found[0].pipeline, None);
    }
}

#[test]
fn of_very_many_problems_the_first_hundred_are_told() {
    let many: Vec<String> = (0..2000).map(|number| format!("unknown-{number} = 1\n")).collect();
    let many = many.concat();
    let mut project = Project::new(&[], &[], &[]);
    project.write(
        "pipelines/environments/test.toml",
        &many.replacen("unknown-0 = 1", "schema-version = 1", 1),
    );
    let found = refused(&project.request("backup"));
    assert_eq!(found.len(), 101);
    assert!(found[100].what.contains("further problems"), "{}", found[100].what);
    project.write("pipelines/environments/test.toml", &"x = [\n= ]\n".repeat(2000));
    assert!(refused(&project.request("backup")).len() <= 101);
}
