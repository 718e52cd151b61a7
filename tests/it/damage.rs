//! Every kind of object × (deleted, cut, one bit flipped, swapped): it is found and named, what does not need it is restored, and
//! where another target is sound, that one is used. Nothing is ever restored wrong, and nothing damaged passes for sound.
//!
//! Which kinds there are follows from `archive::layout`: an object of a kind that is not looked at here fails the test.

mod made;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use strongroom::archive::layout::Kind;

use crate::chunks::{Random, SOURCES, objects};
use crate::projects::{Project, Ran};
use crate::sealed::planted;
use made::{Damage, Form, Made, NEWEST, OLDEST};

/// Which run finds a damaged object of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finder {
    /// `verify --level objects`, which needs no key.
    Objects,
    /// `verify` with the key.
    Content,
    /// The next backup.
    Backup,
    /// The next sweep.
    Sweep,
    /// Nobody: it was only for what may happen later, and what is lost is made again. Every backup is whole all the same.
    Nobody,
}

/// Who finds what, and how the run ends that does. `None` where there is no such kind in a form.
fn finder(kind: Kind, damage: Damage) -> (Finder, &'static [i32]) {
    match (kind, damage) {
        (Kind::Repository, Damage::Deleted) => (Finder::Objects, &[4, 5]),
        (Kind::Repository, Damage::Cut | Damage::Grown) => (Finder::Objects, &[4]),
        // A number like any other: the host knows which one it was.
        (Kind::Repository, Damage::Flipped | Damage::Swapped) => (Finder::Backup, &[5]),
        // What is not there is no backup; who knows its name is told so.
        (Kind::Record, Damage::Deleted | Damage::Cut | Damage::Swapped) => (Finder::Objects, &[10]),
        (Kind::Record, Damage::Flipped | Damage::Grown) => (Finder::Objects, &[4, 10]),
        (
            Kind::Recovery | Kind::Signature | Kind::Archive | Kind::Sums | Kind::Catalog | Kind::Pack | Kind::Refs,
            Damage::Deleted | Damage::Cut | Damage::Flipped | Damage::Swapped,
        ) => (Finder::Objects, &[4]),
        // Who knows how many bytes an object has does not read behind them.
        (Kind::Archive | Kind::Pack, Damage::Grown) => (Finder::Content, &[4]),
        (Kind::Recovery | Kind::Signature | Kind::Sums | Kind::Catalog | Kind::Refs, Damage::Grown) => {
            (Finder::Objects, &[4])
        }
        (Kind::Key, Damage::Deleted) => (Finder::Content, &[12]),
        (Kind::Key, Damage::Cut | Damage::Flipped | Damage::Swapped | Damage::Grown) => (Finder::Content, &[4, 12]),
        // Which objects were listed is no more than when they may go: the next sweep lists them anew.
        (Kind::SweepList, Damage::Deleted | Damage::Flipped) => (Finder::Nobody, &[0]),
        (Kind::SweepList, Damage::Cut | Damage::Swapped | Damage::Grown) => (Finder::Sweep, &[3]),
    }
}

/// Every kind, each once: the match above does not let one be forgotten that has a name here or there.
const KINDS: [Kind; 11] = [
    Kind::Repository,
    Kind::Recovery,
    Kind::Record,
    Kind::Signature,
    Kind::Archive,
    Kind::Sums,
    Kind::Catalog,
    Kind::Pack,
    Kind::Refs,
    Kind::SweepList,
    Kind::Key,
];

/// Whether the run that should find a damage is one over a sound target: a detection that is switched off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detection {
    On,
    Off,
}

struct Case<'m> {
    made: &'m Made,
    object: &'m str,
    kind: Kind,
    damage: Damage,
}

impl Case<'_> {
    /// What a run does not do as it should; nothing where all is well.
    fn look(&self, detection: Detection) -> Vec<String> {
        let mut faults = Vec::new();
        let sound = fs::read(self.made.path(self.object)).unwrap();
        if detection == Detection::On {
            self.made.damage(self.object, self.damage);
        }
        self.found(&mut faults);
        if detection == Detection::On {
            self.others(&mut faults);
            self.itself(&mut faults);
            self.rest(&mut faults);
            self.elsewhere(&mut faults);
        }
        let path = self.made.path(self.object);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, sound).unwrap();
        let about = format!("{:?} {:?} `{}`", self.kind, self.damage, self.object);
        faults.into_iter().map(|fault| format!("{about}: {fault}")).collect()
    }

    fn names(&self, ran: &Ran) -> bool {
        let said = format!("{:#}\n{}", ran.json["diagnostics"], ran.stderr);
        let id = &self.made.ids[NEWEST];
        let means = |name: &str| said.contains(name);
        match self.kind {
            // The keys of an epoch are named by it.
            Kind::Key => means(self.object) || means(&self.made.epoch),
            Kind::Signature | Kind::Record => means(self.object) || means(id),
            Kind::Repository => means(self.object) || means("`local`"),
            Kind::Recovery | Kind::Archive | Kind::Sums | Kind::Catalog | Kind::Pack | Kind::Refs | Kind::SweepList => {
                means(self.object)
            }
        }
    }

    fn found(&self, faults: &mut Vec<String>) {
        let newest = self.made.ids[NEWEST].as_str();
        let (finder, codes) = finder(self.kind, self.damage);
        let ran = match finder {
            Finder::Objects => self
                .made
                .run(&["verify", newest, "--level", "objects", "--target", "local"]),
            Finder::Content => self.made.open(&["verify", newest, "--target", "local"]),
            Finder::Backup => self.made.run(&["backup", "--target", "local"]),
            Finder::Sweep => self.made.run(&["sweep", "--target", "local"]),
            Finder::Nobody => {
                for id in &self.made.ids {
                    let ran = self.made.open(&["verify", id, "--target", "local"]);
                    if ran.code != 0 {
                        faults.push(format!("`{id}` is not whole any more: {}", ran.stderr));
                    }
                }
                return;
            }
        };
        if !codes.contains(&ran.code) {
            faults.push(format!(
                "{finder:?} ends with {}, not {codes:?}: {}",
                ran.code, ran.stderr
            ));
        } else if !self.names(&ran) {
            faults.push(format!("{finder:?} does not name it: {}\n{:#}", ran.stderr, ran.json));
        }
    }

    /// A backup that does not need the object comes back as it was.
    fn others(&self, faults: &mut Vec<String>) {
        if self.made.needs(OLDEST, self.object) {
            return;
        }
        let ran = self.made.restore(OLDEST, &["--target", "local"]);
        let warned = ran.code == 3 && self.names(&ran);
        if ran.code != 0 && !warned {
            faults.push(format!("another backup ends with {}: {}", ran.code, ran.stderr));
        }
        faults.extend(self.made.restored(OLDEST));
    }

    /// A backup that needs it is refused by its name, or comes back as it was: never anything else.
    fn itself(&self, faults: &mut Vec<String>) {
        let ran = self.made.restore(NEWEST, &["--target", "local"]);
        match ran.code {
            0 | 3 => faults.extend(self.made.restored(NEWEST)),
            4 | 5 | 10 | 12 if !self.names(&ran) => {
                faults.push(format!("the restore does not name it: {}", ran.stderr))
            }
            4 | 5 | 10 | 12 if self.made.left_anything() => {
                faults.push("something of a refused restore is left".into())
            }
            4 | 5 | 10 | 12 => {}
            code => faults.push(format!("the restore ends with {code}: {}", ran.stderr)),
        }
        let needed = matches!(
            self.kind,
            Kind::Archive | Kind::Catalog | Kind::Pack | Kind::Refs | Kind::Signature
        );
        if needed && ran.code != 4 {
            faults.push(format!("the restore ends with {}: {}", ran.code, ran.stderr));
        }
    }

    /// What can be had of a backup with damaged content is restored where that is asked for, into a folder, and what is lost is
    /// named. Where nobody can say what is lost, the object is.
    fn rest(&self, faults: &mut Vec<String>) {
        if !matches!(self.kind, Kind::Pack | Kind::Archive | Kind::Catalog | Kind::Refs) {
            return;
        }
        let ran = self.made.restore(NEWEST, &["--target", "local", "--past-damage"]);
        if ran.code != 4 || !self.names(&ran) {
            faults.push(format!("the rest: {} {}\n{:#}", ran.code, ran.stderr, ran.json));
        }
        // An archive is read without the list of objects, and where its table of frames is there frame by frame.
        let parts = self.kind == Kind::Pack || (self.kind, self.damage) == (Kind::Archive, Damage::Flipped);
        // What stands behind an object's last byte takes nothing away.
        let grown = self.damage == Damage::Grown && matches!(self.kind, Kind::Pack | Kind::Archive);
        let whole = grown || self.kind == Kind::Refs && self.made.form == Form::Archive;
        if whole {
            faults.extend(self.made.restored(NEWEST));
            return;
        }
        if !parts {
            if self.made.left_anything() {
                faults.push("something is left of which nobody can say what".into());
            }
            return;
        }
        let named = ran.json["lost"].as_array().into_iter().flatten();
        let named: BTreeSet<String> = named.map(|one| one["path"].as_str().unwrap().to_owned()).collect();
        let lost = self.made.lost(NEWEST);
        if lost.is_empty() || lost != named || ran.json["lost-count"] != lost.len() {
            faults.push(format!("lost are {lost:?}, named {named:?}"));
        }
        if self.damage != Damage::Flipped {
            return;
        }
        let verified = self.made.open(&["verify", &self.made.ids[NEWEST], "--target", "local"]);
        if verified.json["lost-count"] != lost.len() {
            faults.push(format!("`verify` does not name the same: {:#}", verified.json));
        }
    }

    /// With a second, sound target the newest backup comes from there.
    fn elsewhere(&self, faults: &mut Vec<String>) {
        let ran = self.made.restore_latest();
        if !matches!(ran.code, 0 | 3) {
            faults.push(format!(
                "with a second target it ends with {}: {}",
                ran.code, ran.stderr
            ));
        }
        if ran.code == 3 && !self.names(&ran) {
            faults.push(format!("the warning does not name it: {}", ran.stderr));
        }
        faults.extend(self.made.restored(NEWEST));
    }
}

/// Looks at all kinds that `wanted` lets through; each must be there.
fn matrix(form: Form, wanted: &[Kind]) {
    let made = Made::new(form);
    let chosen = made.chosen();
    let mut faults = Vec::new();
    for kind in wanted {
        let objects: &Vec<String> = chosen.get(kind).unwrap_or_else(|| panic!("no {kind:?} in {form:?}"));
        for object in objects {
            for damage in Damage::ALL {
                let case = Case {
                    made: &made,
                    object,
                    kind: *kind,
                    damage,
                };
                faults.extend(case.look(Detection::On));
            }
        }
    }
    // As it was all along, nothing is wrong.
    for id in &made.ids {
        let ran = made.open(&["verify", id]);
        if ran.code != 0 {
            faults.push(format!("`{id}` is not whole at the end: {}", ran.stderr));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn damage_of_what_chunked_and_sealed_backups_share_is_found_and_named_and_the_rest_restores() {
    matrix(Form::SealedChunks, &[Kind::Pack, Kind::Catalog, Kind::Refs, Kind::Sums]);
}

#[test]
fn damage_of_what_makes_a_sealed_backup_one_is_found_and_named_and_the_rest_restores() {
    matrix(Form::SealedChunks, &[Kind::Record, Kind::Signature, Kind::Key]);
}

#[test]
fn damage_of_what_a_target_has_beside_its_backups_is_found_and_named_and_they_restore() {
    matrix(Form::SealedChunks, &[Kind::Repository, Kind::Recovery, Kind::SweepList]);
}

#[test]
fn damage_of_a_plain_archive_is_found_and_named_and_the_rest_restores() {
    matrix(
        Form::Archive,
        &[Kind::Archive, Kind::Catalog, Kind::Refs, Kind::Sums, Kind::Signature],
    );
}

#[test]
fn past_damage_goes_a_restore_into_a_folder_of_a_backup_that_is_signed_and_of_nothing_else() {
    let made = Made::new(Form::SealedChunks);
    let newest = made.ids[NEWEST].clone();
    let pack = made.chosen()[&Kind::Pack][0].clone();
    let past = &["--past-damage", "--target", "local"];
    // Of a sound one it is a restore like any other.
    assert_eq!(
        made.restore(NEWEST, past).ended(0).json["lost"],
        serde_json::Value::Null
    );
    assert_eq!(made.restored(NEWEST), None);
    assert_eq!(made.open(&["restore", &newest, "--past-damage"]).code, 2);
    made.damage(&pack, Damage::Deleted);
    let told = made.restore(NEWEST, &["--target", "local"]).ended(4);
    assert!(told.problem().1.contains("--past-damage"), "{:#}", told.json);
    // A part of which nothing is lost, and one that is lost.
    let lost: Vec<String> = {
        made.restore(NEWEST, past).ended(4);
        made.lost(NEWEST).into_iter().collect()
    };
    let gone = lost[0].as_str();
    let kept = ["files/large", "files/deep/0", "files/holes"];
    let kept = *kept.iter().find(|path| !lost.iter().any(|gone| gone == *path)).unwrap();
    let part = made.restore(NEWEST, &[&[kept][..], past].concat()).ended(4);
    assert_eq!(part.json["lost-count"], 0, "{:#}", part.json);
    assert!(made.has(kept) && !made.has(gone));
    let part = made.restore(NEWEST, &[&[kept, gone][..], past].concat()).ended(4);
    assert_eq!(
        (&part.json["lost"][0]["path"], &part.json["lost-count"]),
        (&gone.into(), &1.into())
    );
    assert!(made.has(kept) && !made.has(gone));
    // The second target is sound.
    assert_eq!(
        made.restore(NEWEST, &["--past-damage"]).ended(3).json["lost"],
        serde_json::Value::Null
    );
    assert_eq!(made.restored(NEWEST), None);
    // Who made it counts all the same.
    made.damage(&format!("backups/dev/{newest}.sig"), Damage::Cut);
    assert_eq!(made.restore(NEWEST, past).ended(4).problem().0, "unsigned");
    assert!(!made.left_anything());
    let trusting = [&["--trust-unsigned"][..], past].concat();
    let told = made.restore(NEWEST, &trusting).ended(4);
    assert!(told.json["lost-count"] == lost.len() && told.json.to_string().contains("\"unsigned\""));
}

#[test]
fn damage_that_no_file_of_a_backup_needs_is_named_and_said_to_touch_none() {
    let project = Project::new(SOURCES);
    planted(&project);
    let mut random = Random::new(91);
    let [kept, gone] = ["kept", "later-gone"].map(|name| project.path("data/files").join(name));
    fs::write(&kept, random.bytes(3 << 20)).unwrap();
    fs::write(&gone, random.bytes(3 << 20)).unwrap();
    let older = project.backup(&[]).ended(0).id();
    fs::remove_file(&gone).unwrap();
    let newer = project.backup(&[]).ended(0).id();
    let packs = objects(&project, "packs");
    let (pack, _) = packs.iter().max_by_key(|(_, bytes)| **bytes).unwrap();
    let path = project.path("backups").join(pack);
    // The second file lies behind the first, before the table of frames at the end.
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 4 * 3;
    bytes[at] ^= 1;
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(&path, permissions).unwrap();
    fs::write(&path, bytes).unwrap();
    let verify = |id: &str| {
        project
            .run(&["verify", id, "--env", "dev", "--level", "content"])
            .ended(4)
    };
    let told = verify(&newer);
    assert!(told.problem().1.contains(pack.as_str()), "{:#}", told.json);
    assert!(
        told.problem().1.contains("no file of this backup is touched"),
        "{:#}",
        told.json
    );
    assert_eq!(told.json["lost-count"], 0);
    assert_eq!(
        told.json["headline"],
        format!("backup {newer} is damaged, but no file of it is")
    );
    let told = verify(&older);
    assert_eq!(told.json["headline"], format!("backup {older} is damaged"));
    assert_eq!(
        (&told.json["lost"][0]["path"], &told.json["lost-count"]),
        (&"files/later-gone".into(), &1.into())
    );
    assert!(!told.problem().1.contains("no file of this backup"), "{:#}", told.json);
}

#[test]
fn a_further_name_of_a_lost_file_is_lost_with_it() {
    let made = Made::new(Form::Archive);
    let large = made.chosen()[&Kind::Archive][0].clone();
    made.damage(&large, Damage::Flipped);
    made.restore(NEWEST, &["--past-damage", "--target", "local"]).ended(4);
    let lost = made.lost(NEWEST);
    assert!(
        lost.contains("files/large") && lost.contains("files/second"),
        "{lost:?}"
    );
}

#[test]
fn every_object_of_a_target_is_of_a_kind_that_is_looked_at() {
    let mut found: BTreeMap<Kind, usize> = BTreeMap::new();
    for form in [Form::SealedChunks, Form::Archive] {
        for object in Made::new(form).objects() {
            let kind = Kind::of(&object).unwrap_or_else(|| panic!("`{object}` is of no kind"));
            *found.entry(kind).or_default() += 1;
        }
    }
    let missing: Vec<&Kind> = KINDS.iter().filter(|kind| !found.contains_key(kind)).collect();
    assert!(
        missing.is_empty() && found.len() == KINDS.len(),
        "{missing:?}, {found:?}"
    );
}

#[test]
fn a_kind_whose_damage_nobody_looks_for_is_found_by_this_matrix() {
    let mut blind = Vec::new();
    for form in [Form::SealedChunks, Form::Archive] {
        let made = Made::new(form);
        for (kind, objects) in made.chosen() {
            let damage = Damage::Cut;
            let case = Case {
                made: &made,
                object: &objects[0],
                kind,
                damage,
            };
            if case.look(Detection::Off).is_empty() {
                blind.push((form, kind));
            }
        }
    }
    assert!(blind.is_empty(), "{blind:?}");
}
