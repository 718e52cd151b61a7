//! Names and numbers of owners and groups, from the host's `/etc/passwd` and `/etc/group`.

use std::collections::HashMap;

/// The host's users and groups, read once a run.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    users: Names,
    groups: Names,
}

#[derive(Clone, Debug, Default)]
struct Names {
    by_number: HashMap<u32, String>,
    by_name: HashMap<String, u32>,
}

impl Names {
    /// Reads `name:password:number:…` lines; the first line of a name or number counts.
    fn parse(text: &str) -> Self {
        let mut names = Self::default();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else {
                continue;
            };
            let Ok(number) = number.parse::<u32>() else { continue };
            names.by_number.entry(number).or_insert_with(|| name.to_owned());
            names.by_name.entry(name.to_owned()).or_insert(number);
        }
        names
    }
}

impl Owners {
    /// Reads the host's tables; one that is missing has no names.
    ///
    /// # Errors
    /// When a table is there and cannot be read.
    pub fn of_host() -> std::io::Result<Self> {
        let read = |path: &str| match std::fs::read(path) {
            Ok(bytes) => Ok(Names::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Names::default()),
            Err(error) => Err(error),
        };
        Ok(Self {
            users: read("/etc/passwd")?,
            groups: read("/etc/group")?,
        })
    }

    /// The name of a user's number.
    pub fn user(&self, uid: u32) -> Option<&str> {
        self.users.by_number.get(&uid).map(String::as_str)
    }

    /// The name of a group's number.
    pub fn group(&self, gid: u32) -> Option<&str> {
        self.groups.by_number.get(&gid).map(String::as_str)
    }

    /// The number of a user's name.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.users.by_name.get(name).copied()
    }

    /// The number of a group's name.
    pub fn gid(&self, name: &str) -> Option<u32> {
        self.groups.by_name.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_number_counts() {
        let names = Names::parse("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbroken\n");
        assert_eq!(names.by_number.get(&0).map(String::as_str), Some("root"));
        assert_eq!(names.by_name.get("toor"), Some(&0));
    }
}
