//! From disk to trees: one file, or all files of a folder.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Diagnostics, Sources};

use super::limits::{MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
use super::{Node, Tree, parse};

/// The names that count in a folder end so.
const EXTENSIONS: &[&str] = &["yaml", "yml", "json"];

/// Reads a document from a file or a folder, and merges it.
///
/// # Errors
/// As [`load_sources`] and [`Tree::merge`]. The texts are in `sources` either way, so that the
/// diagnostics can quote them.
pub fn load(path: &Path, sources: &mut Sources) -> Result<Tree, Diagnostics> {
    load_sources(path, sources).and_then(Tree::merge)
}

/// Reads and parses a file; or of a folder all `*.yaml`, `*.yml` and `*.json` directly in it, by
/// name.
///
/// Names that begin with a dot are passed over and symbolic links followed: that is how
/// Kubernetes mounts a ConfigMap, as links into a hidden folder that is swapped as a whole.
///
/// # Errors
/// `config.unreadable` for what cannot be read, `config.too_large` past 4 MiB a file, 16 MiB or
/// 1,000 files together, `config.empty` for a folder without a file, and all that [`parse()`]
/// finds, of all files at once.
pub fn load_sources(path: &Path, sources: &mut Sources) -> Result<Vec<Node>, Diagnostics> {
    load_within(path, sources, Bounds { files: MAX_FILES, bytes: MAX_TOTAL_BYTES })
}

/// The limits that a test makes smaller.
#[derive(Clone, Copy)]
struct Bounds {
    files: usize,
    bytes: usize,
}

fn load_within(
    path: &Path,
    sources: &mut Sources,
    bounds: Bounds,
) -> Result<Vec<Node>, Diagnostics> {
    let folder = fs::metadata(path).map_err(|error| unreadable(path, &error))?.is_dir();
    let files = if folder { list(path, bounds.files)? } else { vec![path.to_owned()] };
    let mut diagnostics = Diagnostics::new();
    let mut documents = Vec::new();
    let mut total = 0;
    for file in files {
        let bytes = match read(&file, folder) {
            Ok(bytes) => bytes,
            Err(error) => {
                diagnostics.push(unreadable(&file, &error));
                continue;
            }
        };
        total += bytes.len();
        if total > bounds.bytes {
            diagnostics.push(too_large(path, format!("{} KiB", bounds.bytes / 1024)));
            break;
        }
        // What is too large is refused unread, so there is nothing to quote.
        let text = if bytes.len() > MAX_FILE_BYTES { &[] } else { bytes.as_slice() };
        let id = sources.add(file.display().to_string(), String::from_utf8_lossy(text));
        match parse(id, &bytes) {
            Ok(document) => documents.push(document),
            Err(found) => diagnostics.append(found),
        }
    }
    diagnostics.or_value(documents)
}

fn list(folder: &Path, most: usize) -> Result<Vec<PathBuf>, Diagnostics> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let extension = path.extension().and_then(|extension| extension.to_str());
        if hidden || !extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            continue;
        }
        files.push(path);
        if files.len() > most {
            return Err(too_large(folder, format!("{most} files")).into());
        }
    }
    if files.is_empty() {
        let reason = format!("the folder `{}` holds no document", folder.display());
        let help = "names of documents end in .yaml, .yml or .json";
        return Err(Diagnostic::error("config.empty", reason).help(help).into());
    }
    files.sort();
    Ok(files)
}

/// One byte more than a file may have is enough to refuse it. In a folder only regular files are
/// read: a pipe there would hold up the start for ever.
fn read(path: &Path, regular: bool) -> io::Result<Vec<u8>> {
    if regular && !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    let reason = format!("cannot read `{}`: {error}", path.display());
    Diagnostic::error("config.unreadable", reason)
}

fn too_large(folder: &Path, limit: String) -> Diagnostic {
    let reason = format!("the folder `{}` holds more than {limit}", folder.display());
    Diagnostic::error("config.too_large", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn refused(path: &Path) -> (Sources, Diagnostics) {
        let mut sources = Sources::new();
        let found = load(path, &mut sources).unwrap_err();
        (sources, found)
    }

    #[test]
    fn a_folder_is_read_by_name_and_hidden_files_are_not() {
        let folder = folder(&[
            ("b.yaml", "version: 1\nroutes: {b: {}}\n"),
            ("a.yml", "version: 1\nroutes: {a: {}}\n"),
            ("c.json", "{\"routes\": {\"c\": {}}}"),
            (".d.yaml", "routes: ["),
            ("notes.txt", "routes: ["),
        ]);
        let mut sources = Sources::new();
        let tree = load(folder.path(), &mut sources).unwrap();
        let names: Vec<_> = tree.get("routes").unwrap().entries().iter().map(|e| &e.key).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(sources.len(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn a_mounted_config_map_is_read_once() {
        let folder = folder(&[]);
        fs::create_dir(folder.path().join("..2024_01")).unwrap();
        fs::write(folder.path().join("..2024_01/gateway.yaml"), "version: 1\n").unwrap();
        let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, folder.path().join(from));
        link("..2024_01", "..data").unwrap();
        link("..data/gateway.yaml", "gateway.yaml").unwrap();
        let mut sources = Sources::new();
        load(folder.path(), &mut sources).unwrap();
        assert_eq!(sources.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = folder(&[("ok.yaml", "a: 1\n")]);
        fs::create_dir(folder.path().join("x.yaml")).unwrap();
        let (_, found) = refused(folder.path());
        assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["config.unreadable"]);
        assert!(found.iter().all(|d| d.reason.contains("x.yaml`: it is not a file")));
        let (_, found) = refused(&folder.path().join("missing.yaml"));
        assert!(found.iter().all(|d| d.code == "config.unreadable"));
    }

    #[test]
    fn a_folder_without_a_document_is_an_error() {
        let (_, found) = refused(folder(&[("notes.txt", "")]).path());
        assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["config.empty"]);
    }

    #[test]
    fn all_files_are_reported_at_once() {
        let folder = folder(&[("a.yaml", "a: [\n"), ("b.yaml", "b: 1\nb: 2\n"), ("c.yaml", "")]);
        let (sources, found) = refused(folder.path());
        let codes: Vec<_> = found.sorted().iter().map(|d| d.code).collect();
        assert_eq!(codes, ["config.syntax", "config.duplicate_key", "config.empty"]);
        assert!(found.render(&sources).contains("c.yaml:1:1"));
    }

    #[test]
    fn too_much_is_refused() {
        let large = "#".repeat(MAX_FILE_BYTES + 1);
        let (_, found) = refused(&folder(&[("a.yaml", &large)]).path().join("a.yaml"));
        assert!(found.iter().all(|d| d.reason == "the file is larger than 4 MiB"));
        let folder = folder(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n"), ("c.yaml", "c: 1\n")]);
        let within = |files, bytes| {
            let bounds = Bounds { files, bytes };
            load_within(folder.path(), &mut Sources::new(), bounds).map_err(|found| found.len())
        };
        assert_eq!(within(3, 15).map(|documents| documents.len()), Ok(3));
        assert_eq!(within(2, 15), Err(1));
        assert_eq!(within(3, 14), Err(1));
    }

    #[test]
    fn a_byte_order_mark_does_not_move_the_caret() {
        let folder = folder(&[("a.yaml", "\u{feff}a: 1\na: 2\n")]);
        let (sources, found) = refused(folder.path());
        assert!(found.render(&sources).contains("2 | a: 2\n  | ^\n"));
    }
}
