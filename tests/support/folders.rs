//! Folders of files.

use std::fs;
use std::path::Path;

/// Makes one folder what another is.
pub fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to); // the first time there is none
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        if entry.file_type().expect("its type").is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}
