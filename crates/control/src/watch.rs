//! Has anything that the document is made of changed?
//!
//! Files are looked at, not subscribed to: a look costs a `stat` for each file, and sees what
//! notifications miss: symbolic links swapped behind a mount (Kubernetes), network file systems,
//! files in other folders. See `docs/adr/`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one state of a file from another: device, inode, size, and both times with
/// nanoseconds. The time of the last change of the inode cannot be set back.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// Watches a document (a file or a folder) and the files it refers to.
#[derive(Debug)]
pub struct Watch {
    document: PathBuf,
    files: Vec<PathBuf>,
    loaded: BTreeMap<PathBuf, Option<Stamp>>,
    seen: BTreeMap<PathBuf, Option<Stamp>>,
}

impl Watch {
    /// Begins to watch, from the state of now.
    #[must_use]
    pub fn new(document: PathBuf, files: Vec<PathBuf>) -> Self {
        let mut watch = Self { document, files, loaded: BTreeMap::new(), seen: BTreeMap::new() };
        watch.loaded = watch.look();
        watch.seen.clone_from(&watch.loaded);
        watch
    }

    /// Looks once. True when something differs from what was loaded and has not moved since the
    /// last look: an editor or a copy that is still writing is waited for. After that the state
    /// counts as loaded, good or bad.
    pub fn changed(&mut self) -> bool {
        let now = self.look();
        let settled = now == self.seen && now != self.loaded;
        self.seen = now;
        if settled {
            self.loaded.clone_from(&self.seen);
        }
        settled
    }

    /// The document is about to be loaded: what is there now is no news any more.
    pub fn loading(&mut self) {
        self.loaded = self.look();
        self.seen.clone_from(&self.loaded);
    }

    /// From now on the document refers to `files`, which are yet to be read.
    pub fn refers_to(&mut self, files: Vec<PathBuf>) {
        let added: Vec<PathBuf> =
            files.iter().filter(|file| !self.files.contains(file)).cloned().collect();
        self.files = files;
        let keep = |path: &PathBuf| self.files.contains(path) || path.starts_with(&self.document);
        self.loaded.retain(|path, _| keep(path));
        for file in added {
            let stamp = stamp(&file);
            self.loaded.insert(file, stamp);
        }
        self.seen.clone_from(&self.loaded);
    }

    fn look(&self) -> BTreeMap<PathBuf, Option<Stamp>> {
        let mut all = BTreeMap::new();
        let mut add = |path: &Path| {
            all.insert(path.to_owned(), stamp(path));
        };
        if self.document.is_dir() {
            for entry in fs::read_dir(&self.document).into_iter().flatten().flatten() {
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                if !hidden {
                    add(&entry.path());
                }
            }
        } else {
            add(&self.document);
        }
        self.files.iter().for_each(|file| add(file));
        all
    }
}

/// Follows links; `None` where there is no such file.
fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    let modified = (found.mtime(), found.mtime_nsec());
    let changed = (found.ctime(), found.ctime_nsec());
    Some((found.dev(), found.ino(), found.size(), modified, changed))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn settles(watch: &mut Watch) -> bool {
        let first = watch.changed();
        assert!(!first, "a change is not believed at first sight");
        watch.changed()
    }

    #[test]
    fn a_file_moved_over_the_old_one_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        fs::write(&path, "1").unwrap();
        let mut watch = Watch::new(path.clone(), vec![]);
        assert!(!settles(&mut watch));
        fs::write(folder.path().join("new"), "2").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(settles(&mut watch));
        assert!(!settles(&mut watch));
    }

    #[test]
    fn a_file_still_being_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        fs::write(&path, "1").unwrap();
        let mut watch = Watch::new(path.clone(), vec![]);
        for length in 2..5 {
            fs::write(&path, "1".repeat(length)).unwrap();
            assert!(!watch.changed());
        }
        assert!(watch.changed());
    }

    #[test]
    fn what_a_signal_had_loaded_is_not_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        fs::write(&path, "1").unwrap();
        let mut watch = Watch::new(path.clone(), vec![]);
        fs::write(&path, "22").unwrap();
        watch.loading();
        watch.refers_to(vec![]);
        assert!(!settles(&mut watch));
        fs::write(&path, "333").unwrap();
        assert!(settles(&mut watch));
    }

    #[test]
    fn a_swapped_link_is_seen_as_kubernetes_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..v1", "..v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("a.yaml"), version).unwrap();
        }
        symlink("..v1", at("..data")).unwrap();
        symlink("..data/a.yaml", at("a.yaml")).unwrap();
        let mut watch = Watch::new(folder.path().to_owned(), vec![]);
        assert!(!settles(&mut watch));
        symlink("..v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(settles(&mut watch));
    }

    #[test]
    fn files_that_appear_vanish_or_are_referred_to_count() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let (more, key) = (folder.path().join("b.yaml"), outside.path().join("key"));
        let mut watch = Watch::new(folder.path().to_owned(), vec![]);
        fs::write(&more, "1").unwrap();
        assert!(settles(&mut watch));
        watch.refers_to(vec![key.clone()]);
        assert!(!settles(&mut watch));
        fs::write(&key, "1").unwrap();
        assert!(settles(&mut watch));
        fs::remove_file(&more).unwrap();
        assert!(settles(&mut watch));
    }
}
