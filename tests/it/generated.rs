//! Files that are written from tables and doc comments are what the program would write now.

use std::process::Command;

use crate::pages::project;
use crate::transcript::{Scratch, program};

#[test]
fn generated_files_are_what_the_program_writes() {
    let output = Command::new(program())
        .args(["generate", "--check", "--project"])
        .arg(project())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "run `make generate` and look at what it changes\n{text}"
    );
}

#[test]
fn a_changed_or_missing_generated_file_is_found_and_written_anew() {
    let scratch = Scratch::new();
    let run = |arguments: &str| {
        scratch
            .bash(&format!("strongroom generate {arguments}"))
            .output()
            .unwrap()
    };
    let schema = scratch.project().join("schemas/pipeline.schema.json");
    let page = scratch.project().join("docs/reference/cli.md");
    let before = std::fs::read(&schema).unwrap();
    std::fs::write(&schema, "{}\n").unwrap();
    std::fs::remove_file(&page).unwrap();

    let compared = run("--check");
    let text = String::from_utf8_lossy(&compared.stdout).into_owned() + &String::from_utf8_lossy(&compared.stderr);
    assert!(!compared.status.success());
    assert!(
        text.contains("schemas/pipeline.schema.json") && text.contains("docs/reference/cli.md"),
        "{text}"
    );
    assert!(!page.exists(), "comparing writes nothing");

    assert!(run("").status.success());
    assert_eq!(std::fs::read(&schema).unwrap(), before);
    assert!(run("--check").status.success());
}

#[test]
fn the_template_of_secrets_has_every_name_and_no_value() {
    let mut referred = std::collections::BTreeSet::new();
    for folder in ["pipelines", "pipelines/environments"] {
        for entry in std::fs::read_dir(project().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let text = std::fs::read_to_string(path).unwrap();
                let code = text.lines().map(|line| line.split('#').next().unwrap_or_default());
                for line in code.filter(|line| line.contains("secret = \"")) {
                    let rest = line.split("secret = \"").nth(1).unwrap();
                    referred.insert(rest.split('"').next().unwrap().to_owned());
                }
            }
        }
    }
    let template = std::fs::read_to_string(project().join(".env.template")).unwrap();
    let mut listed = std::collections::BTreeSet::new();
    for line in template
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        let name = line
            .strip_suffix('=')
            .unwrap_or_else(|| panic!("`.env.template` has a value: {line}"));
        listed.insert(name.to_owned());
    }
    assert_eq!(listed, referred);
}
