//! Reads the Markdown of the manuals: fenced blocks, headings and links, each with its line.

use std::path::{Path, PathBuf};

/// A page, relative to the project.
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A fenced block.
pub(crate) struct Block {
    /// Where its first line stands: `docs/MANIFEST.md:12`.
    pub(crate) place: String,
    /// First word behind the fence.
    pub(crate) language: String,
    /// The rest behind the fence.
    pub(crate) note: String,
    pub(crate) lines: Vec<String>,
}

impl Block {
    /// The value of `key="…"` behind the fence.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        let (_, rest) = self.note.split_once(&format!("{key}=\""))?;
        Some(rest.split_once('"')?.0)
    }

    pub(crate) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page that belongs to the project.
pub(crate) fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    let mut folders = vec![project().to_owned(), project().join("docs"), project().join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && folder != project() && name != "var" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(project()).unwrap().to_owned();
                pages.push(Page { path, text });
            }
        }
    }
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    pages
}

pub(crate) fn page(path: &str) -> Page {
    let text = std::fs::read_to_string(project().join(path)).unwrap();
    Page {
        path: path.into(),
        text,
    }
}

impl Page {
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<(String, Block)> = None;
        for (index, line) in self.text.lines().enumerate() {
            let fence: String = line.trim_start().chars().take_while(|c| *c == '`').collect();
            match &mut open {
                Some((opening, _)) if fence == *opening && line.trim() == fence => {
                    blocks.extend(open.take().map(|(_, block)| block));
                }
                Some((_, block)) => block.lines.push(line.to_owned()),
                None if fence.len() >= 3 => {
                    let words = line.trim_start().trim_start_matches('`').trim();
                    let (language, note) = words.split_once(' ').unwrap_or((words, ""));
                    let block = Block {
                        place: format!("{}:{}", self.path.display(), index + 2),
                        language: language.to_owned(),
                        note: note.to_owned(),
                        lines: Vec::new(),
                    };
                    open = Some((fence, block));
                }
                None => {}
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.path.display());
        blocks
    }

    /// Lines of prose: what stands in no fenced block, with inline code blanked, and line numbers from 1.
    fn prose(&self) -> Vec<(usize, String)> {
        let mut inside = false;
        let mut lines = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                inside = !inside;
            } else if !inside {
                lines.push((index + 1, line.to_owned()));
            }
        }
        lines
    }

    /// Headings with their level.
    pub(crate) fn headings(&self) -> Vec<(usize, String)> {
        let prose = self.prose();
        let heads = prose.iter().filter_map(|(_, line)| {
            let level = line.bytes().take_while(|b| *b == b'#').count();
            let text = line.get(level..)?.strip_prefix(' ')?;
            (level > 0).then(|| (level, text.trim().to_owned()))
        });
        heads.collect()
    }

    /// The names by which headings can be linked to.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let slug = |text: String| {
            let lower = text.to_lowercase();
            let kept = lower
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        self.headings().into_iter().map(|(_, text)| slug(text)).collect()
    }

    /// Inline links: line and destination.
    pub(crate) fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (number, line) in self.prose() {
            let outside_code: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
            for (index, _) in outside_code.match_indices("](") {
                let rest = &outside_code[index + 2..];
                if let Some(end) = rest.find(')') {
                    links.push((number, rest[..end].to_owned()));
                }
            }
        }
        links
    }
}
