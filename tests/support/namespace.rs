//! A small file system of its own, without being root: a tmpfs in a user and mount namespace that a helper process holds.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use super::gateway::Setup;

/// A tmpfs. Its holder ends when this is dropped, and the file system with it.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    stdin: Option<ChildStdin>,
    mount: PathBuf,
}

impl SmallDisk {
    /// A file system of `bytes` bytes mounted on `mount`, an empty folder, for those who enter.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub fn mount(mount: &Path, bytes: u64) -> Result<Self, String> {
        let script = r#"mount -t tmpfs -o "size=$2" tmpfs "$1" && echo mounted && read -r line"#;
        let mut command = Command::new("unshare");
        command.args(["-r", "-m", "sh", "-c", script, "sh"]).arg(mount).arg(bytes.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let stdin = holder.stdin.take();
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("piped above");
        let heard = BufReader::new(stdout).read_line(&mut said);
        let mut disk = Self { holder, stdin, mount: mount.to_owned() };
        if heard.is_ok() && said == "mounted\n" {
            return Ok(disk);
        }
        disk.end();
        let mut reason = String::new();
        if let Some(stderr) = &mut disk.holder.stderr {
            let _ = std::io::Read::read_to_string(stderr, &mut reason);
        }
        Err(format!("unshare -rm and mount: {}", reason.trim()))
    }

    /// The same gateway with this file system in sight; its data is in the folder `data` of it.
    pub fn enter(&self, setup: Setup) -> Setup {
        let id = self.holder.id().to_string();
        let wrapper = ["nsenter", "--preserve-credentials", "-U", "-m", "-t", &id].map(str::to_owned);
        setup.through(wrapper.to_vec(), self.data())
    }

    /// The file system's root, seen from outside.
    pub fn path(&self) -> PathBuf {
        let inside = self.mount.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside)
    }

    /// The gateway's data, seen from outside.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The path of the gateway's data as the gateway sees it.
    pub fn data_inside(&self) -> PathBuf {
        self.mount.join("data")
    }

    /// Bytes that are free.
    pub fn free_bytes(&self) -> u64 {
        let fs = rustix::fs::statvfs(self.path()).expect("the file system is there");
        fs.f_bavail * fs.f_frsize
    }

    fn end(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.end();
    }
}
