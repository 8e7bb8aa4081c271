//! A disk that fills up under a node: a small tmpfs, in a mount namespace of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::launch;
use super::ledger::Writers;
use super::stores::Kind;

/// A file system of a few megabytes at `path`, which only processes started `under` it see.
struct SmallDisk {
    holder: Child,
    path: PathBuf,
    arguments: Vec<String>,
}

impl SmallDisk {
    /// `Err`: why this machine does not let us.
    fn mount(path: &Path, megabytes: u32) -> Result<SmallDisk, String> {
        std::fs::create_dir_all(path).expect("a folder to mount on");
        let user = SmallDisk::mount_with(&["-U", "-r", "-m"], &["-U", "--preserve-credentials"], path, megabytes);
        user.or_else(|why| {
            SmallDisk::mount_with(&["-m"], &[], path, megabytes)
                .map_err(|and| format!("{}; {}", why.trim(), and.trim()))
        })
    }

    fn mount_with(new: &[&str], enter: &[&str], path: &Path, megabytes: u32) -> Result<SmallDisk, String> {
        // It holds the namespace until its input ends.
        let script = format!("mount -t tmpfs -o size={megabytes}m none \"$1\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(new).args(["sh", "-c", &script, "sh"]).arg(path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut line).expect("its output");
        let pid = holder.id().to_string();
        let entered = ["nsenter", "-t", &pid, "-m"].into_iter().chain(enter.iter().copied()).chain(["--"]);
        let arguments = entered.map(str::to_owned).collect();
        if line == "mounted\n" {
            return Ok(SmallDisk { holder, path: path.to_owned(), arguments });
        }
        let output = holder.wait_with_output().expect("it ends");
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// A file on it, as this process finds it.
    fn file(&self, name: &str) -> PathBuf {
        let inside = self.path.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside).join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_node_clearly_and_takes_nothing_that_was_acknowledged() {
    let Some(engine) = Kind::chosen().engine() else { return };
    let home = tempfile::tempdir().expect("a folder");
    let disk = match SmallDisk::mount(&home.path().join("small"), 10) {
        Ok(disk) => disk,
        Err(why) => {
            println!("SKIPPED: a full disk cannot be tested here, for nobody lets us mount a tmpfs: {why}");
            return;
        }
    };
    let under: Vec<&str> = disk.arguments.iter().map(String::as_str).collect();
    let launch = launch(home.path()).data(&disk.path.join("data")).engine(engine).under(&under);
    let ballast = disk.file("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20]).expect("there is room yet");
    let server = launch.start();
    let writers = Writers::start(&server.url, 8, 50);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let last = ended.log.lines().last().unwrap_or_default();
    assert!(last.starts_with("souk: ") && last.contains("No space left on device"), "{}", ended.log);
    let ledger = writers.finish().await;
    println!(
        "{engine:?}: {} acknowledged, {} refused, {} unanswered",
        ledger.carts.len(),
        ledger.refused.len(),
        ledger.unanswered
    );
    assert!(ledger.carts.len() > 100);
    ledger.refused_with(&["outcome_unknown", "unavailable"]);
    if let Err(still) = launch.try_start() {
        assert_eq!(still.status.code(), Some(1), "{}", still.log);
        let last = still.log.lines().last().unwrap_or_default();
        assert!(last.contains("No space left on device"), "{}", still.log);
    }
    std::fs::remove_file(&ballast).expect("room is made");
    let server = launch.start();
    ledger.is_kept_by(&server.url).await;
    assert!(server.stop().status.success());
}
