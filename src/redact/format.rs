//! Which format a file has: by its name, else by how it begins.

/// A format that is looked through in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// JSON, JSON lines.
    Json,
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
    /// Lines.
    Lines(Lines),
}

/// What lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// `NAME=value`, as a shell reads it.
    Env,
    /// Java's properties: `key=value`, `key:value`.
    Properties,
    /// `key value`, `key = value`.
    Conf,
    /// `.netrc`.
    Netrc,
    /// `.pgpass`: five fields between colons.
    Pgpass,
    /// `user:hash`.
    Htpasswd,
    /// Anything.
    Any,
}

/// Ends of names that say only which copy it is.
const COPIES: &[&str] = &[
    "bak",
    "backup",
    "old",
    "orig",
    "example",
    "sample",
    "template",
    "tmpl",
    "tpl",
    "dist",
    "local",
    "j2",
    "erb",
    "gotmpl",
    "restored",
    "save",
    "swp",
    "new",
    "rpmnew",
    "rpmsave",
    "dpkg-old",
    "dpkg-new",
    "dpkg-dist",
    "prod",
    "production",
    "dev",
    "development",
    "staging",
    "live",
    "test",
    "default",
    "disabled",
    "in",
];

/// The last part of a path.
pub(super) fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}

/// The format of a file.
pub(super) fn of(path: &[u8], text: &[u8]) -> Format {
    let name = file_name(path).to_ascii_lowercase();
    let mut stem: &[u8] = name.strip_suffix(b"~").unwrap_or(&name);
    if let Some(format) = whole(stem) {
        return format;
    }
    for _ in 0..4 {
        let Some(dot) = stem.iter().rposition(|b| *b == b'.') else {
            break;
        };
        let (before, end) = (
            stem.get(..dot).unwrap_or_default(),
            stem.get(dot + 1..).unwrap_or_default(),
        );
        if let Some(format) = by_extension(end) {
            return format;
        }
        let copy = COPIES.iter().any(|copy| copy.as_bytes() == end) || end.iter().all(u8::is_ascii_digit);
        if !copy {
            break;
        }
        stem = before;
        if let Some(format) = whole(stem) {
            return format;
        }
    }
    sniff(text)
}

fn whole(name: &[u8]) -> Option<Format> {
    if name == b".env"
        || name.starts_with(b".env.")
        || name == b".envrc"
        || name == b"env"
        || name.starts_with(b".env-")
    {
        return Some(Format::Lines(Lines::Env));
    }
    Some(match name {
        b".netrc" | b"_netrc" | b"netrc" | b".authinfo" => Format::Lines(Lines::Netrc),
        b".pgpass" | b"pgpass.conf" | b"pgpass" => Format::Lines(Lines::Pgpass),
        b".htpasswd" | b"htpasswd" | b"shadow" | b"gshadow" | b"passwd" => Format::Lines(Lines::Htpasswd),
        b".npmrc" | b".yarnrc" | b".pypirc" | b".my.cnf" | b".s3cfg" | b".boto" | b"credentials" | b".gitconfig"
        | b".wgetrc" | b".curlrc" | b"gitconfig" => Format::Lines(Lines::Conf),
        b"pipfile" | b"poetry.lock" | b"cargo.lock" | b"uv.lock" => Format::Toml,
        _ => return None,
    })
}

fn by_extension(extension: &[u8]) -> Option<Format> {
    Some(match extension {
        b"json" | b"jsonl" | b"ndjson" | b"json5" | b"jsonc" | b"geojson" | b"webmanifest" | b"har" | b"ipynb"
        | b"tfstate" | b"avsc" | b"code-workspace" => Format::Json,
        b"toml" => Format::Toml,
        b"yaml" | b"yml" | b"eyaml" | b"sls" | b"cff" => Format::Yaml,
        b"env" | b"sh" | b"bash" | b"zsh" | b"profile" | b"envrc" | b"fish" => Format::Lines(Lines::Env),
        b"properties" => Format::Lines(Lines::Properties),
        b"ini" | b"cfg" | b"cnf" | b"conf" | b"config" | b"service" | b"timer" | b"socket" | b"mount" | b"network"
        | b"netdev" | b"nmconnection" | b"desktop" | b"rc" | b"acl" => Format::Lines(Lines::Conf),
        b"netrc" => Format::Lines(Lines::Netrc),
        b"pgpass" => Format::Lines(Lines::Pgpass),
        b"htpasswd" => Format::Lines(Lines::Htpasswd),
        b"md" | b"txt" | b"rst" | b"html" | b"htm" | b"xml" | b"log" | b"csv" | b"tsv" | b"sql" | b"py" | b"js"
        | b"ts" | b"rs" | b"go" | b"java" | b"rb" | b"php" | b"c" | b"h" | b"cpp" | b"hcl" | b"tf" | b"tfvars"
        | b"lua" | b"pl" | b"pem" | b"key" | b"crt" | b"cer" | b"css" | b"svg" => Format::Lines(Lines::Any),
        _ => return None,
    })
}

/// The format of a text without a name.
pub(super) fn sniff(text: &[u8]) -> Format {
    let head = text.get(..text.len().min(16 << 10)).unwrap_or_default();
    let first = head.trim_ascii_start();
    let next = |from: usize| {
        first
            .get(from..)
            .unwrap_or_default()
            .trim_ascii_start()
            .first()
            .copied()
            .unwrap_or(0)
    };
    let json = match first.first() {
        Some(b'{') => matches!(next(1), b'"' | b'}' | b'\''),
        Some(b'[') => matches!(next(1), b'{' | b'"' | b'[' | b']') && !first.starts_with(b"[["),
        _ => false,
    };
    if json {
        return Format::Json;
    }
    let (mut colons, mut equals, mut quoted) = (0, 0, 0);
    for line in head.split(|b| *b == b'\n').take(400) {
        let line = line.trim_ascii();
        let line = line.strip_prefix(b"- ").unwrap_or(line);
        let name = line
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'"'))
            .count();
        if name == 0 || line.starts_with(b"#") {
            continue;
        }
        match line.get(name..).unwrap_or_default().trim_ascii_start() {
            [b':'] | [b':', b' ' | b'\t', ..] => colons += 1,
            [b'=', value @ ..] => {
                equals += 1;
                quoted += usize::from(
                    matches!(value.trim_ascii_start().first(), Some(b'"' | b'[' | b'{'))
                        && value.first() == Some(&b' '),
                );
            }
            _ => {}
        }
    }
    if colons > equals && first.starts_with(b"---") || colons > equals * 2 {
        Format::Yaml
    } else if quoted * 2 > equals && equals > 1 && colons == 0 {
        Format::Toml
    } else {
        Format::Lines(Lines::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats_also_of_copies() {
        let of = |name: &str| of(name.as_bytes(), b"x");
        assert_eq!(of("a/.env.live"), Format::Lines(Lines::Env));
        assert_eq!(of("app.env.bak"), Format::Lines(Lines::Env));
        assert_eq!(of("service.toml.example"), Format::Toml);
        assert_eq!(of("Values.YAML~"), Format::Yaml);
        assert_eq!(of("users.json.1"), Format::Json);
        assert_eq!(of("redis.conf"), Format::Lines(Lines::Conf));
        assert_eq!(of(".pgpass"), Format::Lines(Lines::Pgpass));
        assert_eq!(of("NOTES"), Format::Lines(Lines::Any));
    }

    #[test]
    fn beginnings_tell_formats() {
        assert_eq!(sniff(b"\n{\"a\": 1}"), Format::Json);
        assert_eq!(sniff(b"[section]\na = 1"), Format::Lines(Lines::Any));
        assert_eq!(sniff(b"a: 1\nb:\n  - c: 2\n"), Format::Yaml);
        assert_eq!(sniff(b"a = \"x\"\nb = [1]\n"), Format::Toml);
        assert_eq!(sniff(b"A=1\nB=2\n"), Format::Lines(Lines::Any));
    }
}
