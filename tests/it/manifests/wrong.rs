//! Wrong manifests, one mistake each: one error, its code, its place to the column, and a way out.

use super::project::{Edit, Project, refused, told};
use strongroom::diagnostic::Severity;
use strongroom::pipeline::Purpose;

/// A mistake. `MARK` stands where the error belongs.
struct Wrong {
    claim: &'static str,
    code: &'static str,
    backup: &'static [Edit],
    restore: &'static [Edit],
    environment: &'static [Edit],
    set: &'static [&'static str],
    /// What the help or the reason says.
    says: &'static str,
}

const NONE: Wrong = Wrong {
    claim: "",
    code: "",
    backup: &[],
    restore: &[],
    environment: &[],
    set: &[],
    says: "",
};

/// A target in a bucket; where no key below is marked, its URL is.
macro_rules! concat_s3 {
    ($url:literal, "") => {
        concat!(
            "[target.offsite]\naccess-key-id = { secret = \"A\" }\nsecret-access-key = { secret = \"B\" }\nurl = «\"",
            $url,
            "\"\n"
        )
    };
    ($url:literal, $more:literal) => {
        concat!(
            "[target.offsite]\naccess-key-id = { secret = \"A\" }\nsecret-access-key = { secret = \"B\" }\nurl = \"",
            $url,
            "\"\n",
            $more
        )
    };
}

#[rustfmt::skip]
const SYNTAX: &[Wrong] = &[
    Wrong { claim: "text without quotes", code: "toml-syntax", backup: &[("codec = \"zstd\"", "codec = «zstd")],
        says: "quotes", ..NONE },
    Wrong { claim: "a key given twice", code: "toml-syntax", backup: &[("level = 3", "level = 3\n«level = 4")],
        says: "once", ..NONE },
    Wrong { claim: "an open bracket in the environment", code: "toml-syntax",
        environment: &[("[target.local]", "[target.local«")], says: "bracket", ..NONE },
    Wrong { claim: "a number beyond 64 bits", code: "invalid-value",
        backup: &[("level = 3", "level = «99999999999999999999")], says: "smaller", ..NONE },
];

#[rustfmt::skip]
const SCHEMA: &[Wrong] = &[
    Wrong { claim: "no version", code: "schema-version", backup: &[("schema-version = 1\n", "«")],
        says: "schema-version = 1", ..NONE },
    Wrong { claim: "a version of the future", code: "schema-version",
        environment: &[("schema-version = 1", "schema-version = «2")], says: "schema-version = 1", ..NONE },
    Wrong { claim: "a misspelt key of a step", code: "unknown-key", backup: &[("level = 3", "«levle = 3")],
        says: "did you mean `level`?", ..NONE },
    Wrong { claim: "a key of another step type", code: "unknown-key",
        backup: &[("type = \"checksum\"", "type = \"checksum\"\n«targets = [\"local\"]")], says: "algorithm",
        ..NONE },
    Wrong { claim: "a misspelt key of a source", code: "unknown-key", backup: &[("  exclude = [", "  «exlude = [")],
        says: "did you mean `exclude`?", ..NONE },
    Wrong { claim: "a misspelt key of the file", code: "unknown-key", backup: &[("description =", "«descripton =")],
        says: "did you mean `description`?", ..NONE },
    Wrong { claim: "a signer that is no key", code: "invalid-value",
        environment: &[("", "\n[signers]\nservice-1 = «\"x\"\n")], says: "write a value that matches", ..NONE },
    Wrong { claim: "a misspelt key of a target", code: "unknown-key",
        environment: &[("", "«endpont = \"https://objects.example.com\"\n")], says: "did you mean `endpoint`?", ..NONE },
    Wrong { claim: "a key of S3 at a folder", code: "unknown-key",
        environment: &[("", "endpoint = «\"https://objects.example.com\"\n")], says: "remove `endpoint`", ..NONE },
    Wrong { claim: "a bucket without its secret", code: "missing-key",
        environment: &[("", "[target.«offsite]\nurl = \"s3://bucket/x\"\naccess-key-id = { secret = \"A\" }\n")],
        says: "secret-access-key = { secret", ..NONE },
    Wrong { claim: "a bucket that no store can have", code: "invalid-value",
        environment: &[("", concat_s3!("s3://Bucket/x", ""))], says: "s3://bucket/prefix", ..NONE },
    Wrong { claim: "an endpoint without TLS", code: "invalid-value",
        environment: &[("", concat_s3!("s3://bucket/x", "endpoint = «\"http://127.0.0.1:8333\"\n"))],
        says: "allow-http = true", ..NONE },
    Wrong { claim: "an endpoint in clear on another host where data is protected", code: "invalid-value",
        environment: &[("schema-version = 1\n", "schema-version = 1\nprotected = true\n"),
            ("", concat_s3!("s3://bucket/x", "allow-http = true\nendpoint = «\"http://10.0.0.1:8333\"\n"))],
        says: "https://", ..NONE },
    Wrong { claim: "an access key written out", code: "secret-literal",
        environment: &[("", "[target.offsite]\nurl = \"s3://bucket/x\"\nsecret-access-key = { secret = \"A\" }\n\
            access-key-id = «\"wasWrittenOut\"\n")], says: "secret file", ..NONE },
    Wrong { claim: "a word where a number belongs", code: "wrong-type", backup: &[("level = 3", "level = «\"3\"")],
        says: "without quotes", ..NONE },
    Wrong { claim: "a number where a word belongs", code: "wrong-type",
        backup: &[("name = \"backup\"", "name = «7")], says: "quotes", ..NONE },
    Wrong { claim: "a date where text belongs", code: "wrong-type",
        backup: &[("description = \"A test\"", "description = «2026-11-22")], says: "quotes", ..NONE },
    Wrong { claim: "a word where a list belongs", code: "wrong-type",
        backup: &[("targets = [\"local\"]", "targets = «\"local\"")], says: "brackets", ..NONE },
    Wrong { claim: "a number in a list of words", code: "wrong-type",
        backup: &[("exclude = [\".env*\"]", "exclude = [\".env*\", «7]")], says: "quotes", ..NONE },
    Wrong { claim: "a float where a whole number belongs", code: "wrong-type",
        backup: &[("level = 3", "level = «3.5")], says: "an integer", ..NONE },
    Wrong { claim: "yes for true", code: "wrong-type", environment: &[("[path]", "protected = «\"yes\"\n[path]")],
        says: "write `true` or `false`", ..NONE },
    Wrong { claim: "a table where a word belongs", code: "wrong-type",
        backup: &[("type = \"checksum\"", "type = \"checksum\"\nalgorithm = «{ name = \"blake3\" }")],
        says: "a string", ..NONE },
    Wrong { claim: "a level beyond its range", code: "invalid-value", backup: &[("level = 3", "level = «42")],
        says: "19 or less", ..NONE },
    Wrong { claim: "a level below its range", code: "invalid-value", backup: &[("level = 3", "level = «0")],
        says: "1 or more", ..NONE },
    Wrong { claim: "a codec that does not exist", code: "invalid-value",
        backup: &[("codec = \"zstd\"", "codec = «\"zst\"")], says: "did you mean `zstd`?", ..NONE },
    Wrong { claim: "an empty list", code: "invalid-value", backup: &[("targets = [\"local\"]", "targets = «[]")],
        says: "add one", ..NONE },
    Wrong { claim: "an empty path", code: "invalid-value", backup: &[("path = \"{{path.config}}\"", "path = «\"\"")],
        says: "write a value", ..NONE },
    Wrong { claim: "a step without its key", code: "missing-key",
        backup: &[("[[step]]\nid = \"proof\"", "«[[step]]\nid = \"proof\""), ("by = \"read-back\"\n", "")],
        says: "add `by = \"…\"`", ..NONE },
    Wrong { claim: "a step without id", code: "missing-key",
        backup: &[("[[step]]\nid = \"digest\"\n", "«[[step]]\n")], says: "add `id = \"…\"`", ..NONE },
    Wrong { claim: "a step without type", code: "missing-key",
        backup: &[("[[step]]\nid = \"digest\"\ntype = \"checksum\"\n", "«[[step]]\nid = \"digest\"\n")],
        says: "one of `snapshot`", ..NONE },
    Wrong { claim: "a target without url", code: "missing-key", environment: &[("", "[target.«offsite]\n")],
        says: "add `url = \"…\"`", ..NONE },
    Wrong { claim: "a snapshot without sources", code: "missing-key",
        restore: &[("[[step]]\nid = \"choose\"\ntype = \"select\"\nbackup = \"{{arg.backup}}\"", "«[[step]]\nid = \"choose\"\ntype = \"snapshot\"")],
        says: "[[step.source]]", ..NONE },
    Wrong { claim: "a step type that does not exist", code: "unknown-type",
        backup: &[("type = \"checksum\"", "type = «\"checksums\"")], says: "did you mean `checksum`?", ..NONE },
    Wrong { claim: "a step type that is not built yet", code: "unknown-type",
        backup: &[("type = \"checksum\"", "type = «\"cleanup\"")], says: "snapshot", ..NONE },
    Wrong { claim: "a source type that does not exist", code: "unknown-type",
        backup: &[("type = \"files\"", "type = «\"file\"")], says: "did you mean `files`?", ..NONE },
    Wrong { claim: "a step id that is no name", code: "invalid-value",
        backup: &[("id = \"digest\"", "id = «\"My_Digest\"")], says: "call it `my-digest`", ..NONE },
    Wrong { claim: "a path name that is no name", code: "invalid-value",
        environment: &[("[target.local]", "«Logs = \"/l\"\n[target.local]")], says: "call it `logs`", ..NONE },
    Wrong { claim: "a name that is too long", code: "invalid-value",
        backup: &[("id = \"digest\"", "id = «\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg\"")],
        says: "shorten", ..NONE },
    Wrong { claim: "a share without its sign", code: "invalid-value",
        backup: &[("", "[[step]]\nid = \"old\"\ntype = \"retain\"\nkeep-daily = 7\nmax-remove = «\"30\"\n")],
        says: "`30%`", ..NONE },
    Wrong { claim: "a span in a wrong unit", code: "invalid-value",
        backup: &[("", "[[step]]\nid = \"old\"\ntype = \"retain\"\nkeep-within = «\"30min\"\n")],
        says: "`1y6m`", ..NONE },
    Wrong { claim: "a number in quotes where a word may stand too", code: "invalid-value",
        backup: &[("", "[[step]]\nid = \"old\"\ntype = \"retain\"\nkeep-daily = «\"7\"\n")],
        says: "without quotes", ..NONE },
    Wrong { claim: "a step id used twice", code: "duplicate-name", backup: &[("id = \"digest\"", "id = «\"pack\"")],
        says: "another", ..NONE },
    Wrong { claim: "a source name used twice", code: "duplicate-name",
        backup: &[("name = \"config\"", "name = «\"events\"")], says: "another", ..NONE },
    Wrong { claim: "a pipeline that is not called as its file", code: "invalid-value",
        backup: &[("name = \"backup\"", "name = «\"nightly\"")], says: "rename the file to `nightly.toml`", ..NONE },
];

#[rustfmt::skip]
const OVERLAYS: &[Wrong] = &[
    Wrong { claim: "a wrong type in an overlay", code: "wrong-type",
        environment: &[("", "[pipeline.backup.step.pack]\nlevel = «\"high\"\n")], says: "write an integer", ..NONE },
    Wrong { claim: "a value beyond its range in an overlay", code: "invalid-value",
        environment: &[("", "[pipeline.backup.step.pack]\nlevel = «0x2A\n")], says: "19 or less", ..NONE },
    Wrong { claim: "a misspelt key in an overlay", code: "unknown-key",
        environment: &[("", "[pipeline.backup.step.pack]\n«levl = 3\n")], says: "did you mean `level`?", ..NONE },
    Wrong { claim: "a misspelt step id in an overlay", code: "overlay-unknown",
        environment: &[("", "[pipeline.backup.step.«pakc]\nlevel = 3\n")], says: "did you mean `pack`?", ..NONE },
    Wrong { claim: "an overlay that adds a step", code: "overlay-unknown",
        environment: &[("", "[pipeline.backup.step.«second]\ntype = \"compress\"\n")], says: "`capture`", ..NONE },
    Wrong { claim: "an overlay that lists steps", code: "overlay-operator",
        environment: &[("", "[[pipeline.backup.«step]]\nid = \"x\"\ntype = \"compress\"\n")],
        says: "switches it off", ..NONE },
    Wrong { claim: "an overlay that adds a source", code: "overlay-unknown",
        environment: &[("", "[pipeline.backup.step.capture.source.«artifacts]\npath = \"/a\"\n")], says: "`events`",
        ..NONE },
    Wrong { claim: "an overlay that takes a step out", code: "overlay-operator",
        environment: &[("", "[pipeline.backup.step]\nscrub = «{ unset = true }\n")], says: "switches it off",
        ..NONE },
    Wrong { claim: "an overlay that appends a source", code: "overlay-operator",
        environment: &[("", "[pipeline.backup.step.capture]\nsource = «{ append = [{ name = \"x\" }] }\n")],
        says: "address one source by its name", ..NONE },
    Wrong { claim: "an overlay that changes a step's type", code: "invalid-value",
        environment: &[("", "[pipeline.backup.step.pack]\n«type = \"checksum\"\n")], says: "remove this line",
        ..NONE },
    Wrong { claim: "an overlay of a pipeline that does not exist", code: "overlay-unknown",
        environment: &[("", "[pipeline.«bakcup.step.pack]\nlevel = 3\n")], says: "did you mean `backup`?", ..NONE },
    Wrong { claim: "an overlay beside the steps", code: "unknown-key",
        environment: &[("", "[pipeline.backup]\n«description = \"x\"\n")], says: "[pipeline.backup.step.<id>]",
        ..NONE },
    Wrong { claim: "append on a number", code: "overlay-operator",
        environment: &[("", "[pipeline.backup.step.pack]\nlevel = «{ append = [1] }\n")], says: "level = …",
        ..NONE },
    Wrong { claim: "append of a word", code: "overlay-operator",
        environment: &[("", "[pipeline.backup.step.capture.source.config]\nexclude = { «append = \"*.pem\" }\n")],
        says: "append = [", ..NONE },
    Wrong { claim: "append of a wrong item", code: "wrong-type",
        environment: &[("", "[pipeline.backup.step.capture.source.config]\nexclude = { append = [«1] }\n")],
        says: "quotes", ..NONE },
    Wrong { claim: "unset with something else", code: "overlay-operator",
        environment: &[("", "[pipeline.backup.step.pack]\nlevel = { «unset = 1 }\n")], says: "unset = true",
        ..NONE },
    Wrong { claim: "unset of what is not set", code: "overlay-operator",
        environment: &[("", "[pipeline.backup.step.digest]\nalgorithm = «{ unset = true }\n")],
        says: "remove this line", ..NONE },
    Wrong { claim: "unset of what must be set", code: "missing-key",
        environment: &[("", "[pipeline.backup.step.proof]\n«by = { unset = true }\n")], says: "remove this line",
        ..NONE },
    Wrong { claim: "append to a list of one key too many", code: "overlay-operator",
        environment: &[("", "[pipeline.backup.step.store]\ntargets = { «append = [\"x\"], unset = true }\n")],
        says: "nothing beside it", ..NONE },
    Wrong { claim: "a plain value for a step", code: "wrong-type",
        environment: &[("", "[pipeline.backup.step]\npack = «false\n")], says: "pack.enabled = false", ..NONE },
];

#[rustfmt::skip]
const SETS: &[Wrong] = &[
    Wrong { claim: "--set without value", code: "usage", set: &["«step.pack.level"], says: "<value>", ..NONE },
    Wrong { claim: "--set beside steps, paths and targets", code: "usage", set: &["«name=x"], says: "step.<id>",
        ..NONE },
    Wrong { claim: "--set of a misspelt group", code: "usage", set: &["«stpe.pack.level=1"],
        says: "did you mean `step`?", ..NONE },
    Wrong { claim: "--set of a misspelt step", code: "overlay-unknown", set: &["step.«pakc.level=9"],
        says: "did you mean `pack`?", ..NONE },
    Wrong { claim: "--set of a misspelt key", code: "unknown-key", set: &["step.pack.«levle=9"],
        says: "did you mean `level`?", ..NONE },
    Wrong { claim: "--set of a wrong type", code: "wrong-type", set: &["step.pack.level=«high"],
        says: "write an integer", ..NONE },
    Wrong { claim: "--set beyond the range", code: "invalid-value",
        set: &["step.pack.level=9", "step.pack.level=«99"], says: "19 or less", ..NONE },
    Wrong { claim: "--set of an unknown path", code: "overlay-unknown", set: &["path.«dta=/x"],
        says: "did you mean `data`?", ..NONE },
    Wrong { claim: "--set of an unknown target", code: "overlay-unknown", set: &["target.«locl.url=file:x"],
        says: "did you mean `local`?", ..NONE },
    Wrong { claim: "--set of an unknown key of a target", code: "unknown-key", set: &["target.local.«urll=file:x"],
        says: "did you mean `url`?", ..NONE },
];

#[rustfmt::skip]
const TEMPLATES: &[Wrong] = &[
    Wrong { claim: "an unknown template name", code: "template-unknown",
        backup: &[("path = \"{{path.data}}/events\"", "path = «\"{{path.dta}}/events\"")],
        says: "did you mean `path.data`?", ..NONE },
    Wrong { claim: "an argument that is not declared", code: "template-unknown",
        restore: &[("backup = \"{{arg.backup}}\"", "backup = «\"{{arg.backpu}}\"")],
        says: "did you mean `arg.backup`?", ..NONE },
    Wrong { claim: "a template in a number", code: "template-in-typed-field",
        backup: &[("level = 3", "level = «\"{{path.data}}\"")], says: "overlay", ..NONE },
    Wrong { claim: "a template in a list's place", code: "template-in-typed-field",
        backup: &[("targets = [\"local\"]", "targets = «\"{{path.data}}\"")], says: "overlay", ..NONE },
    Wrong { claim: "a template in an id", code: "template-in-typed-field",
        backup: &[("id = \"digest\"", "id = «\"{{env.name}}\"")], says: "write it out", ..NONE },
    Wrong { claim: "a helper in a template", code: "template-invalid",
        backup: &[("path = \"{{path.config}}\"", "path = «\"{{#if path.data}}x{{/if}}\"")], says: "known name",
        ..NONE },
    Wrong { claim: "an open template", code: "template-invalid",
        backup: &[("path = \"{{path.config}}\"", "path = «\"{{path.config\"")], says: "known name", ..NONE },
    Wrong { claim: "a path that refers to a path", code: "template-unknown",
        environment: &[("config = \"/srv/config\"", "config = «\"{{path.data}}/config\"")],
        says: "do not refer to each other", ..NONE },
    Wrong { claim: "a run's value in an environment", code: "template-unknown",
        environment: &[("url = \"file:///var/backups/test\"", "url = «\"file:///var/{{run.id}}\"")],
        says: "the same for every run", ..NONE },
    Wrong { claim: "a line end in a filled value", code: "template-invalid",
        environment: &[("data = \"/srv/data\"", "data = \"/srv/\\ndata\"")],
        backup: &[("path = \"{{path.data}}/events\"", "path = «\"{{path.data}}/events\"")], says: "one line",
        ..NONE },
    Wrong { claim: "a required argument without example", code: "missing-key",
        restore: &[("[arg.backup]", "[arg.«backup]"), ("example = \"latest\"\n", "")], says: "example = ", ..NONE },
    Wrong { claim: "a required argument with a default", code: "invalid-value",
        restore: &[("example = \"latest\"", "default = «\"latest\"")], says: "remove", ..NONE },
    Wrong { claim: "an argument without default", code: "missing-key",
        restore: &[("[arg.backup]", "[arg.«backup]"), ("required = true\n", "")], says: "default = ", ..NONE },
    Wrong { claim: "a template in an argument's example", code: "template-invalid",
        restore: &[("example = \"latest\"", "example = «\"{{run.id}}\"")], says: "write it out", ..NONE },
];

#[rustfmt::skip]
const SECRETS: &[Wrong] = &[
    Wrong { claim: "a secret written out", code: "secret-literal",
        backup: &[("sources = [\"config\"]", "sources = [\"config\"]\nvalues = [«\"planted-in-plain\"]")],
        says: "{ secret = \"NAME\" }", ..NONE },
    Wrong { claim: "a secret written out in the place of the list", code: "secret-literal",
        backup: &[("sources = [\"config\"]", "sources = [\"config\"]\nvalues = «\"planted-in-plain\"")],
        says: "{ secret = \"NAME\" }", ..NONE },
    Wrong { claim: "a secret in the place of its name", code: "secret-literal",
        backup: &[("sources = [\"config\"]", "sources = [\"config\"]\nvalues = [{ secret = «\"planted-in-plain\" }]")],
        says: "{ secret = \"NAME\" }", ..NONE },
    Wrong { claim: "a secret behind a key that a reference does not have", code: "unknown-key",
        backup: &[("sources = [\"config\"]", "sources = [\"config\"]\nvalues = [{ «plain = \"planted-in-plain\" }]")],
        says: "`secret`", ..NONE },
    Wrong { claim: "a secret written out in an overlay", code: "secret-literal",
        environment: &[("", "[pipeline.backup.step.scrub]\nvalues = { append = [«\"planted-in-plain\"] }\n")],
        says: "{ secret = \"NAME\" }", ..NONE },
    Wrong { claim: "a secret written out on the command line", code: "secret-literal",
        set: &["step.scrub.values=[«\"planted-in-plain\"]"], says: "{ secret = \"NAME\" }", ..NONE },
    Wrong { claim: "a secret on the command line that is no list", code: "secret-literal",
        set: &["step.scrub.values=«planted-in-plain"], says: "{ secret = \"NAME\" }", ..NONE },
    Wrong { claim: "a template in a reference", code: "template-invalid",
        backup: &[("sources = [\"config\"]", "sources = [\"config\"]\nvalues = [{ file = «\"/run/{{env.name}}\" }]")],
        says: "secret file", ..NONE },
    Wrong { claim: "a reference with two origins", code: "invalid-value",
        backup: &[("sources = [\"config\"]", "sources = [\"config\"]\nvalues = [«{ secret = \"A\", file = \"/b\" }]")],
        says: "keep the one", ..NONE },
    Wrong { claim: "a broken line with a secret", code: "toml-syntax",
        environment: &[("", "password = \"planted-in-plain«\n")], says: "", ..NONE },
    Wrong { claim: "a broken list of secrets", code: "toml-syntax",
        environment: &[("", "tokens = [\n  \"a\",\n  \"planted-in-plain«\n]\n")], says: "", ..NONE },
    Wrong { claim: "a password in a target's unknown key", code: "unknown-key",
        environment: &[("", "«secret-key = \"planted-in-plain\"\n")], says: "url", ..NONE },
    Wrong { claim: "a key of a target written out", code: "secret-literal",
        environment: &[("", "secret-access-key = «\"planted-in-plain\"\n")], says: "secret file", ..NONE },
    Wrong { claim: "an identity written out", code: "secret-literal",
        environment: &[("", "[encryption]\nidentity = «\"planted-in-plain\"\n")], says: "secret file", ..NONE },
    Wrong { claim: "a password in a URL", code: "invalid-value",
        environment: &[("url = \"file:///var/backups/test\"", "url = «\"sftp://me:planted-in-plain@host/b\"")],
        says: "file", ..NONE },
];

#[rustfmt::skip]
const FLOW: &[Wrong] = &[
    Wrong { claim: "an upload without checksum", code: "flow-missing",
        backup: &[("[[step]]\nid = \"digest\"\ntype = \"checksum\"\n\n", ""),
            ("type = \"upload\"", "type = «\"upload\"")],
        says: "add a step with `type = \"checksum\"` before `store`", ..NONE },
    Wrong { claim: "an upload without compress and checksum", code: "flow-missing",
        backup: &[("[[step]]\nid = \"digest\"\ntype = \"checksum\"\n\n", ""),
            ("[[step]]\nid = \"pack\"\ntype = \"compress\"\ncodec = \"zstd\"\nlevel = 3\n\n", ""),
            ("type = \"upload\"", "type = «\"upload\"")],
        says: "`type = \"compress\"` and `type = \"checksum\"` before `store`", ..NONE },
    Wrong { claim: "a checksum behind the upload", code: "flow-order",
        backup: &[("[[step]]\nid = \"digest\"\ntype = \"checksum\"\n\n", ""),
            ("type = \"upload\"", "type = «\"upload\""),
            ("targets = [\"local\"]\n", "targets = [\"local\"]\n[[step]]\nid = \"late\"\ntype = \"checksum\"\n"),
            ("[[step]]\nid = \"proof\"\ntype = \"confirm\"\nby = \"read-back\"\n", "")],
        says: "move step `late` before `store`", ..NONE },
    Wrong { claim: "redaction behind compression", code: "flow-order",
        backup: &[("id = \"scrub\"\ntype = \"redact\"\nsources = [\"config\"]", "id = \"squeeze\"\ntype = \"compress\""),
            ("id = \"pack\"\ntype = \"compress\"\ncodec = \"zstd\"\nlevel = 3", "id = \"pack\"\ntype = «\"redact\"\nsources = [\"config\"]")],
        says: "move step `pack` before `squeeze`", ..NONE },
    Wrong { claim: "two snapshots", code: "flow-order",
        backup: &[("id = \"scrub\"\ntype = \"redact\"\nsources = [\"config\"]", "id = \"again\"\ntype = «\"snapshot\"\nsource = [{ name = \"more\", type = \"files\", path = \"/m\" }]")],
        says: "join `again` with `capture`", ..NONE },
    Wrong { claim: "two compressions", code: "flow-order",
        backup: &[("id = \"digest\"\ntype = \"checksum\"", "id = \"pack2\"\ntype = «\"compress\"\n[[step]]\nid = \"digest\"\ntype = \"checksum\"")],
        says: "remove one of `pack` and `pack2`", ..NONE },
    Wrong { claim: "a step of a restore in a backup", code: "flow-order",
        backup: &[("type = \"confirm\"\nby = \"read-back\"", "type = «\"swap\"")], says: "begins with `select`",
        ..NONE },
    Wrong { claim: "a swap without restore", code: "flow-missing",
        restore: &[("[[step]]\nid = \"stage\"\ntype = \"restore\"\n\n", ""), ("type = \"swap\"", "type = «\"swap\"")],
        says: "`type = \"restore\"` before `replace`", ..NONE },
    Wrong { claim: "a select in the middle of a backup", code: "flow-order",
        backup: &[("type = \"confirm\"\nby = \"read-back\"", "type = «\"select\"\nbackup = \"latest\"")],
        says: "two pipelines", ..NONE },
    Wrong { claim: "a backup that is not stored", code: "flow-missing",
        backup: &[("[[step]]\nid = \"store\"\ntype = \"upload\"\ntargets = [\"local\"]\n\n", ""),
            ("[[step]]\nid = \"proof\"\ntype = \"confirm\"\nby = \"read-back\"\n", ""),
            ("type = \"checksum\"", "type = «\"checksum\"")],
        says: "`type = \"upload\"`", ..NONE },
    Wrong { claim: "a step that is needed and switched off by an overlay", code: "flow-missing",
        backup: &[("type = \"upload\"", "type = «\"upload\"")],
        environment: &[("", "[pipeline.backup.step.digest]\nenabled = false\n")], says: "switch `digest` on",
        ..NONE },
    Wrong { claim: "redaction switched off where that is not allowed", code: "protected-step",
        environment: &[("[path]", "protected = true\n[path]"),
            ("", "[pipeline.backup.step.scrub]\nenabled = «false\n")],
        says: "remove this line", ..NONE },
    Wrong { claim: "proof switched off on the command line where that is not allowed", code: "protected-step",
        environment: &[("[path]", "protected = true\n[path]")], set: &["step.proof.enabled=«false"],
        says: "remove this line", ..NONE },
    Wrong { claim: "a target that is not declared", code: "reference-unknown",
        backup: &[("targets = [\"local\"]", "targets = [\"local\", «\"locale\"]")], says: "did you mean `local`?",
        ..NONE },
    Wrong { claim: "a target that is not declared, in an overlay", code: "reference-unknown",
        environment: &[("", "[pipeline.backup.step.store]\ntargets = { append = [«\"offsite\"] }\n")], says: "local",
        ..NONE },
    Wrong { claim: "a target named twice", code: "duplicate-name",
        backup: &[("targets = [\"local\"]", "targets = [\"local\", «\"local\"]")], says: "remove one", ..NONE },
    Wrong { claim: "a source to redact that does not exist", code: "reference-unknown",
        backup: &[("sources = [\"config\"]", "sources = [«\"confg\"]")], says: "did you mean `config`?", ..NONE },
    Wrong { claim: "a log to redact", code: "invalid-value",
        backup: &[("sources = [\"config\"]", "sources = [\"config\", «\"events\"]")], says: "`files` sources only",
        ..NONE },
    Wrong { claim: "more targets required than there are", code: "invalid-value",
        backup: &[("targets = [\"local\"]", "targets = [\"local\"]\nrequire = «2")], says: "1 or less", ..NONE },
    Wrong { claim: "a level that gzip does not have", code: "invalid-value",
        backup: &[("codec = \"zstd\"\nlevel = 3", "codec = \"gzip\"\nlevel = «12")], says: "9 or less", ..NONE },
    Wrong { claim: "a level without a codec", code: "invalid-value",
        backup: &[("codec = \"zstd\"", "codec = \"none\""), ("level = 3", "level = «3")], says: "remove `level`",
        ..NONE },
    Wrong { claim: "encryption for nobody", code: "missing-key",
        backup: &[("[[step]]\nid = \"digest\"", "[[step]]\nid = \"seal\"\ntype = «\"encrypt\"\n[[step]]\nid = \"digest\"")],
        says: "add `recipients", ..NONE },
    Wrong { claim: "encryption before compression", code: "flow-order",
        backup: &[("[[step]]\nid = \"pack\"", "[[step]]\nid = \"seal\"\ntype = «\"encrypt\"\n[[step]]\nid = \"pack\"")],
        environment: &[("", "[encryption]\nrecipients = [\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]\n")],
        says: "move step `pack` before `seal`", ..NONE },
    Wrong { claim: "a recipient that is none", code: "invalid-value",
        environment: &[("", "[encryption]\nrecipients = [«\"age1-of-nobody\"]\n")], says: "age1", ..NONE },
    Wrong { claim: "an upload that would run after a failure", code: "invalid-value",
        backup: &[("targets = [\"local\"]", "targets = [\"local\"]\nalways = «true")], says: "remove `always`", ..NONE },
    Wrong { claim: "a URL of an unknown scheme", code: "invalid-value",
        environment: &[("url = \"file:///var/backups/test\"", "url = «\"gs://bucket/x\"")], says: "file", ..NONE },
    Wrong { claim: "a path in place of a URL", code: "invalid-value",
        environment: &[("url = \"file:///var/backups/test\"", "url = «\"/var/backups/test\"")], says: "file:",
        ..NONE },
    Wrong { claim: "an exclude that is no glob", code: "invalid-value",
        backup: &[("exclude = [\".env*\"]", "exclude = [\".env*\", «\"a[b\"]")], says: "class", ..NONE },
];

fn check(wrong: &Wrong) -> Result<(), String> {
    let mut project = Project::new(wrong.backup, wrong.restore, wrong.environment);
    let sets: Vec<String> = wrong.set.iter().map(|set| project.unmark("--set", set)).collect();
    let pipeline = if wrong.restore.is_empty() { "backup" } else { "restore" };
    let mut request = project.request(pipeline);
    request.sets = sets;
    request.purpose = Purpose::Validate;
    let found = refused(&request);
    let fault = |what: &str| Err(format!("{}: {what}\n{}\n", wrong.claim, told(&found)));
    let [diagnostic] = found.as_slice() else {
        return fault("not exactly one error");
    };
    let place = diagnostic
        .places
        .first()
        .map(|place| (place.file.clone(), place.line, place.column));
    if diagnostic.code.as_str() != wrong.code {
        return fault(&format!("expected the code `{}`", wrong.code));
    }
    if place != project.marked {
        return fault(&format!("expected at {:?}", project.marked));
    }
    let help = diagnostic.help.as_deref().unwrap_or_default();
    let why = diagnostic.why.as_deref().unwrap_or_default();
    if help.is_empty() || !format!("{why} {help}").contains(wrong.says) {
        return fault(&format!("expected to read `{}`", wrong.says));
    }
    if diagnostic.severity != Severity::Error || diagnostic.state.as_deref() != Some("nothing was started") {
        return fault("expected an error that says that nothing was started");
    }
    if diagnostic.places.iter().any(|place| place.excerpt.is_none()) {
        return fault("expected an excerpt at every place");
    }
    let all = serde_json::to_string(&found).unwrap() + &format!("{found:?}");
    if all.contains("planted") {
        return fault("the secret was printed");
    }
    Ok(())
}

fn check_all(table: &[Wrong]) {
    let faults: Vec<String> = table.iter().filter_map(|wrong| check(wrong).err()).collect();
    assert!(
        faults.is_empty(),
        "{} of {} wrong:\n\n{}",
        faults.len(),
        table.len(),
        faults.join("\n")
    );
}

#[test]
fn a_file_that_is_no_toml_is_refused_at_its_line() {
    check_all(SYNTAX);
}

#[test]
fn a_value_that_does_not_meet_the_schema_is_refused_at_its_place() {
    check_all(SCHEMA);
}

#[test]
fn a_wrong_overlay_is_refused_at_its_place_in_the_environment() {
    check_all(OVERLAYS);
}

#[test]
fn a_wrong_set_is_refused_at_its_place_in_the_argument() {
    check_all(SETS);
}

#[test]
fn a_wrong_template_is_refused_at_its_string() {
    check_all(TEMPLATES);
}

#[test]
fn a_secret_that_is_written_out_is_refused_and_never_printed() {
    check_all(SECRETS);
}

#[test]
fn steps_that_do_not_fit_are_refused_with_the_missing_one() {
    check_all(FLOW);
}
