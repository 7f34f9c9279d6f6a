//! A small file system of its own: a tmpfs in a user and mount namespace that a helper process holds, which needs no root; or,
//! where there are no such namespaces, one that root mounts.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use super::gateway::Setup;

/// A tmpfs. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    mount: PathBuf,
    /// The process in whose namespace it is; `None` where root mounted it for everybody.
    holder: Option<Holder>,
}

#[derive(Debug)]
struct Holder {
    process: Child,
    stdin: Option<ChildStdin>,
}

impl SmallDisk {
    /// A file system of `bytes` bytes mounted on `mount`, an empty folder, for those who enter.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub fn mount(mount: &Path, bytes: u64) -> Result<Self, String> {
        let namespace = Holder::mount(mount, bytes);
        let holder = namespace.map(Some).or_else(|reason| mount_as_root(mount, bytes, &reason).map(|()| None))?;
        Ok(Self { mount: mount.to_owned(), holder })
    }

    /// The same gateway with this file system in sight; its data is in the folder `data` of it.
    pub fn enter(&self, setup: Setup) -> Setup {
        let Some(holder) = &self.holder else { return setup };
        let id = holder.process.id().to_string();
        let wrapper = ["nsenter", "--preserve-credentials", "-U", "-m", "-t", &id].map(str::to_owned);
        setup.through(wrapper.to_vec(), self.data())
    }

    /// The file system's root, seen from outside.
    pub fn path(&self) -> PathBuf {
        let Some(holder) = &self.holder else { return self.mount.clone() };
        let inside = self.mount.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(holder.process.id().to_string()).join("root").join(inside)
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
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.holder.is_none() {
            // Lazily: a gateway that is being dropped may still have files open.
            let _ = Command::new("umount").arg("--lazy").arg(&self.mount).status();
        }
    }
}

impl Holder {
    fn mount(mount: &Path, bytes: u64) -> Result<Self, String> {
        let script = r#"mount -t tmpfs -o "size=$2" tmpfs "$1" && echo mounted && read -r line"#;
        let mut command = Command::new("unshare");
        command.args(["-r", "-m", "sh", "-c", script, "sh"]).arg(mount).arg(bytes.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let stdin = process.stdin.take();
        let mut said = String::new();
        let stdout = process.stdout.take().expect("piped above");
        let heard = BufReader::new(stdout).read_line(&mut said);
        let mut holder = Self { process, stdin };
        if heard.is_ok() && said == "mounted\n" {
            return Ok(holder);
        }
        holder.end();
        let mut reason = String::new();
        if let Some(stderr) = &mut holder.process.stderr {
            let _ = std::io::Read::read_to_string(stderr, &mut reason);
        }
        Err(format!("unshare -rm and mount: {}", reason.trim()))
    }

    fn end(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.end();
    }
}

/// For machines without user namespaces, such as most containers.
fn mount_as_root(mount: &Path, bytes: u64, before: &str) -> Result<(), String> {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(mount);
    let output = command.output().map_err(|error| format!("{before}; mount: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{before}; mount: {}", said.trim())) }
}
