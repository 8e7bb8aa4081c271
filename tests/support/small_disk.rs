//! A disk that can fill up: a small tmpfs, in a mount namespace of its own.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A file system of a few megabytes at `path`, which only processes that are started [`SmallDisk::under`] it see.
pub struct SmallDisk {
    holder: Child,
    pub path: PathBuf,
    /// What a process is started under to see it.
    pub under: Vec<String>,
}

impl SmallDisk {
    /// `Err`: why this machine does not let us.
    pub fn mount(path: &Path, megabytes: u32) -> Result<SmallDisk, String> {
        std::fs::create_dir_all(path).expect("a folder to mount on");
        let user = SmallDisk::mount_with(&["-U", "-r", "-m"], &["-U", "--preserve-credentials"], path, megabytes);
        user.or_else(|why| {
            SmallDisk::mount_with(&["-m"], &[], path, megabytes)
                .map_err(|and| format!("{}; {}", why.trim(), and.trim()))
        })
    }

    /// The same for processes of other users, too, which only root can make.
    pub fn mount_as_root(path: &Path, megabytes: u32) -> Result<SmallDisk, String> {
        std::fs::create_dir_all(path).expect("a folder to mount on");
        SmallDisk::mount_with(&["-m"], &[], path, megabytes)
    }

    fn mount_with(new: &[&str], enter: &[&str], path: &Path, megabytes: u32) -> Result<SmallDisk, String> {
        // It holds the namespace until its input ends.
        let script = format!("mount -t tmpfs -o size={megabytes}m,mode=1777 none \"$1\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(new).args(["sh", "-c", &script, "sh"]).arg(path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut line).expect("its output");
        let pid = holder.id().to_string();
        let entered = ["nsenter", "-t", &pid, "-m"].into_iter().chain(enter.iter().copied()).chain(["--"]);
        let under = entered.map(str::to_owned).collect();
        if line == "mounted\n" {
            return Ok(SmallDisk { holder, path: path.to_owned(), under });
        }
        let output = holder.wait_with_output().expect("it ends");
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// A file on it, as this process finds it.
    pub fn file(&self, name: &str) -> PathBuf {
        let inside = self.path.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside).join(name)
    }

    /// Fills it up, but for so many bytes. The answer is the file to remove when there is to be room again.
    pub fn fill_up(&self, left_bytes: u64) -> PathBuf {
        let ballast = self.file("ballast");
        let mut file = std::fs::File::create(&ballast).expect("there is room yet");
        let mut written = 0;
        while let Ok(more) = file.write(&[1; 1 << 16]) {
            written += more as u64;
        }
        file.set_len(written.saturating_sub(left_bytes)).expect("a shorter file");
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
