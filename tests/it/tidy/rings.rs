//! The imports between the files of one module of the crate, and the rings in them: files that import each other, directly
//! or through others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

/// Names that a path may pass through before it counts as unknown.
const STEPS_MAX: usize = 12;

/// The segments of a path: `super::run::Run`.
type Segments = Vec<String>;

/// What the check needs to know of a file.
struct Source {
    /// The file as a module: `dedup::fleet` of `dedup/fleet.rs`.
    module: Segments,
    /// The imports, each with the name under which the file knows it.
    imports: Vec<(Segments, String)>,
    /// All paths that the file names, also outside of imports.
    paths: Vec<Segments>,
    /// Names of what it defines.
    items: HashSet<String>,
    /// Names of the modules that it declares.
    children: HashSet<String>,
}

/// The files of the crate and how they import each other.
pub(crate) struct Imports {
    files: Vec<PathBuf>,
    sources: Vec<Source>,
    by_module: HashMap<Segments, usize>,
}

impl Imports {
    /// Reads the texts of files without their tests, by their path below `src`.
    pub(crate) fn of(texts: Vec<(PathBuf, String)>) -> Self {
        let (files, texts): (Vec<PathBuf>, Vec<String>) = texts.into_iter().unzip();
        let sources: Vec<Source> = files.iter().zip(&texts).map(|(file, text)| Source::read(file, text)).collect();
        let by_module = sources.iter().enumerate().map(|(index, source)| (source.module.clone(), index)).collect();
        Self { files, sources, by_module }
    }

    /// Every ring of files of one module, sorted.
    pub(crate) fn rings(&self) -> BTreeSet<Vec<String>> {
        let edges: Vec<BTreeSet<usize>> = (0..self.files.len()).map(|file| self.imported_by(file)).collect();
        let reached: Vec<BTreeSet<usize>> = (0..edges.len()).map(|start| reachable(&edges, start)).collect();
        let ring = |file: usize| -> Vec<String> {
            let members = reached[file].iter().filter(|other| reached[**other].contains(&file));
            members.map(|other| self.files[*other].display().to_string()).collect::<BTreeSet<_>>().into_iter().collect()
        };
        (0..edges.len()).map(ring).filter(|ring| ring.len() > 1).collect()
    }

    /// Which imports make `from` depend on each other file of its ring, for the message of a failure.
    pub(crate) fn reasons(&self, ring: &[String]) -> Vec<String> {
        let members: BTreeMap<usize, &String> =
            ring.iter().filter_map(|name| Some((self.files.iter().position(|file| file == Path::new(name))?, name))).collect();
        let mut reasons = BTreeSet::new();
        for (file, name) in &members {
            for path in &self.sources[*file].paths {
                if let Some(target) = self.resolve(*file, path, STEPS_MAX).filter(|target| target != file)
                    && let Some(target) = members.get(&target)
                {
                    reasons.insert(format!("{name} → {target}: {}", path.join("::")));
                }
            }
        }
        reasons.into_iter().collect()
    }

    /// The other files of the same module that a file imports from.
    fn imported_by(&self, file: usize) -> BTreeSet<usize> {
        let source = &self.sources[file];
        let targets = source.paths.iter().filter_map(|path| self.resolve(file, path, STEPS_MAX));
        let is_beside = |target: &usize| *target != file && self.sources[*target].module.first() == source.module.first();
        targets.filter(is_beside).collect()
    }

    /// The file that defines what `path` names in `file`, past re-exports.
    fn resolve(&self, file: usize, path: &[String], steps_left: usize) -> Option<usize> {
        let steps_left = steps_left.checked_sub(1)?;
        let source = &self.sources[file];
        let (mut module, mut rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (source.module.clone(), &path[1..]),
            "super" => {
                let ups = path.iter().take_while(|segment| *segment == "super").count();
                (source.module[..source.module.len().checked_sub(ups)?].to_vec(), &path[ups..])
            }
            first if source.children.contains(first) => (source.module.clone(), path),
            first => {
                let known = |(import, name): &&(Segments, String)| name == first && import != path && path.len() > 1;
                return source.imports.iter().filter(known).find_map(|(import, _)| {
                    let whole = [import.as_slice(), &path[1..]].concat();
                    self.resolve(file, &whole, steps_left)
                });
            }
        };
        while let Some(next) = rest.first() {
            module.push(next.clone());
            if !self.by_module.contains_key(&module) {
                module.pop();
                break;
            }
            rest = &rest[1..];
        }
        let target = *self.by_module.get(&module)?;
        match rest.first() {
            None => Some(target),
            Some(name) => Some(self.definition(target, name, steps_left).unwrap_or(target)),
        }
    }

    /// The file that defines `name`, which `file` defines or re-exports.
    fn definition(&self, file: usize, name: &str, steps_left: usize) -> Option<usize> {
        let source = &self.sources[file];
        if source.items.contains(name) {
            return Some(file);
        }
        source.imports.iter().find_map(|(import, known_as)| match known_as.as_str() {
            "*" => {
                let glob = self.resolve(file, &import[..import.len() - 1], steps_left)?;
                self.sources[glob].items.contains(name).then_some(glob)
            }
            known_as if known_as == name => self.resolve(file, import, steps_left),
            _ => None,
        })
    }
}

impl Source {
    fn read(file: &Path, text: &str) -> Self {
        let module = file.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let mut source = Self { module, imports: Vec::new(), paths: Vec::new(), items: HashSet::new(), children: HashSet::new() };
        if file == Path::new("lib.rs") || file == Path::new("main.rs") {
            return source;
        }
        let code = code(text);
        let mut rest = code.as_str();
        let mut outside = String::new();
        while let Some(at) = next_use(rest) {
            outside.push_str(&rest[..at]);
            let statement = &rest[at + "use ".len()..];
            let end = statement.find(';').unwrap_or(statement.len());
            expand(&[], &statement[..end], &mut source.imports);
            rest = &statement[end..];
        }
        outside.push_str(rest);
        source.paths = source.imports.iter().map(|(path, _)| path.clone()).collect();
        source.paths.extend(paths(&outside));
        let words: Vec<&str> = outside.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            match pair[0] {
                "mod" => drop(source.children.insert(pair[1].to_owned())),
                "struct" | "enum" | "trait" | "type" | "fn" | "const" | "static" | "macro_rules" => {
                    source.items.insert(pair[1].to_owned());
                }
                _ => {}
            }
        }
        source
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text without comments, without what is compiled for tests only, and without the places in `pub(in …)`.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut is_for_tests = false;
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default();
        let word = line.trim_start().trim_start_matches("pub(super) ");
        if word.starts_with("#[cfg(test)]") {
            is_for_tests = true;
            continue;
        }
        // A module with tests ends the file.
        if is_for_tests && word.starts_with("mod ") && word.ends_with('{') {
            break;
        }
        let is_left_out = is_for_tests && (word.starts_with("use ") || word.starts_with("mod "));
        is_for_tests = is_left_out && !line.ends_with(';');
        if !is_left_out {
            code.push_str(line);
            code.push('\n');
        }
    }
    while let Some(at) = code.find("pub(in ") {
        let end = code[at..].find(')').map_or(code.len(), |end| at + end + 1);
        code.replace_range(at..end, "pub");
    }
    code
}

/// Where the next `use ` begins.
fn next_use(code: &str) -> Option<usize> {
    let is_whole = |at: &usize| !code[..*at].ends_with(is_word);
    code.match_indices("use ").map(|(at, _)| at).find(is_whole)
}

/// Every path of the tree of a `use`, behind the segments before it.
fn expand(before: &[String], tree: &str, paths: &mut Vec<(Segments, String)>) {
    let tree = tree.trim();
    if let Some((front, group)) = tree.split_once('{') {
        let front = front.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(str::to_owned);
        let before: Vec<String> = before.iter().cloned().chain(front).collect();
        let group = group.trim_end().trim_end_matches('}');
        let (mut depth, mut start) = (0, 0);
        for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 || at == group.len() => {
                    expand(&before, &group[start..at], paths);
                    start = (at + 1).min(group.len());
                }
                _ => {}
            }
        }
        return;
    }
    let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name.trim().to_owned())));
    let segments = path.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(str::to_owned);
    let mut whole: Vec<String> = before.iter().cloned().chain(segments).collect();
    if whole.len() > 1 && whole.last().is_some_and(|last| last == "self") {
        whole.pop();
    }
    if let Some(last) = whole.last().cloned().filter(|_| !tree.is_empty()) {
        paths.push((whole, name.unwrap_or(last)));
    }
}

/// The paths of two segments and more that begin with a module or a keyword.
fn paths(code: &str) -> Vec<Segments> {
    let candidates = code.split(|c: char| !is_word(c) && c != ':');
    let is_path = |text: &&str| text.contains("::") && text.starts_with(|c: char| c.is_lowercase());
    let segments = |text: &str| text.split("::").filter(|segment| !segment.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    candidates.filter(is_path).map(segments).filter(|path| path.len() > 1).collect()
}

/// Everything that can be reached from `start`, itself included only if it lies on a ring.
fn reachable(edges: &[BTreeSet<usize>], start: usize) -> BTreeSet<usize> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![start]);
    while let Some(file) = open.pop() {
        open.extend(edges[file].iter().filter(|next| reached.insert(**next)));
    }
    reached
}
