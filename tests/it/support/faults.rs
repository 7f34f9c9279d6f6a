//! Faults of the machine, in the real program: an `LD_PRELOAD` library (`faults/shim.c`), built once per process, makes
//! chosen calls on chosen paths fail with chosen errors, shifts the wall clock, or ends the process at the n-th call.
//!
//! ```ignore
//! let faults = Faults::new(folder.path());
//! let gateway = faults.on(Setup::new(folder.path().join("data"))).start().await;
//! faults.set(&[Fault::new(Call::Pread, "*.seg", Errno::IO).range(4096..8192).times(3)]);
//! …
//! assert!(faults.hits(0) > 0, "the fault bit");
//! faults.clear();
//! faults.clock(days(-30));
//! ```
//!
//! Always assert [`Faults::hits`]: a rule that never bites proves nothing.
//!
//! The program reaches the kernel through libc only: std does, and rustix does with its feature `use-libc`. What std calls:
//! `File::open` is [`Call::Open`] (the folder of a `sync_all` too), `read_dir` is [`Call::Open`], `read_at` is
//! [`Call::Pread`], `fs::read` is [`Call::Read`], `write_all` is [`Call::Write`], `write_at` and `rustix::io::pwritev` are
//! [`Call::Pwrite`], `sync_all` is [`Call::Fsync`], `sync_data` is [`Call::Fdatasync`], `set_len` is [`Call::Truncate`],
//! `hard_link` is [`Call::Link`], `metadata` is [`Call::Stat`], `statvfs` is [`Call::Statvfs`].

use std::{
    fs::{File, OpenOptions},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::gateway::{Gateway, Setup};

/// A call of libc, with all its variants. The numbers are bits of the shim's enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Call {
    /// `read`, `readv`: at the file's own position; sockets and pipes too, but they have no path.
    Read = 1,
    /// `pread`, `preadv`: at a position.
    Pread = 1 << 1,
    /// Any read.
    AnyRead = 1 | 1 << 1,
    /// `write`, `writev`.
    Write = 1 << 2,
    /// `pwrite`, `pwritev`.
    Pwrite = 1 << 3,
    /// Any write.
    AnyWrite = 1 << 2 | 1 << 3,
    /// `fsync`, of files and folders.
    Fsync = 1 << 4,
    /// `fdatasync`.
    Fdatasync = 1 << 5,
    /// Any sync.
    AnySync = 1 << 4 | 1 << 5,
    /// `open`, `openat`, `creat`, `opendir`.
    Open = 1 << 6,
    /// `rename`, `renameat`; the pattern may match either name.
    Rename = 1 << 7,
    /// `unlink`, `unlinkat`.
    Unlink = 1 << 8,
    /// `ftruncate`.
    Truncate = 1 << 9,
    /// `link`, `linkat`; the pattern may match either name.
    Link = 1 << 10,
    /// `mkdir`, `mkdirat`.
    Mkdir = 1 << 11,
    /// `statvfs`, `fstatvfs`.
    Statvfs = 1 << 12,
    /// `statx`, which is all of `metadata`.
    Stat = 1 << 13,
    /// `rmdir`.
    Rmdir = 1 << 14,
    /// `pthread_create`. Its pattern is `thread`.
    Thread = 1 << 15,
}

#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Action {
    Fail,
    Pretend,
    Delay,
    Short,
    Kill,
    ReadOnly,
    FreeBytes,
    Garble,
    FreeInodes,
}

/// One rule: which calls on which paths end how. The first rule that applies decides.
#[derive(Clone, Debug)]
pub struct Fault {
    call: Call,
    pattern: String,
    action: Action,
    value: i64,
    range: Range<u64>,
    after: i64,
    times: i64,
}

impl Fault {
    fn doing(call: Call, pattern: &str, action: Action, value: i64) -> Self {
        assert!(!pattern.is_empty() && pattern.len() < PATTERN_BYTES, "a pattern has 1 to {PATTERN_BYTES} bytes");
        Self { call, pattern: pattern.into(), action, value, range: 0..0, after: 0, times: i64::MAX / 2 }
    }

    /// The call fails with `errno` and does nothing. `pattern` is one of `fnmatch` for the absolute path; its `*` matches `/`
    /// too. A descriptor has the path that its file has now; a file that was removed keeps its last one.
    pub fn new(call: Call, pattern: &str, errno: Errno) -> Self {
        Self::doing(call, pattern, Action::Fail, errno.raw_os_error().into())
    }

    /// The call does nothing and says that it did all: a disk that lies.
    pub fn pretend(call: Call, pattern: &str) -> Self {
        Self::doing(call, pattern, Action::Pretend, 0)
    }

    /// The call takes so much longer. Rules below it still apply.
    pub fn delay(call: Call, pattern: &str, delay: Duration) -> Self {
        Self::doing(call, pattern, Action::Delay, i64::try_from(delay.as_millis()).expect("short"))
    }

    /// A read or write moves at most so many bytes.
    pub fn short(call: Call, pattern: &str, bytes: u32) -> Self {
        Self::doing(call, pattern, Action::Short, bytes.into())
    }

    /// A read succeeds with other bytes than the file holds.
    pub fn garble(call: Call, pattern: &str) -> Self {
        Self::doing(call, pattern, Action::Garble, 0)
    }

    /// The process ends by SIGKILL right before the call.
    pub fn kill(call: Call, pattern: &str) -> Self {
        Self::doing(call, pattern, Action::Kill, 0)
    }

    /// `statvfs` says that the file system is mounted read-only.
    pub fn read_only(pattern: &str) -> Self {
        Self::doing(Call::Statvfs, pattern, Action::ReadOnly, 0)
    }

    /// `statvfs` says that so many bytes are free.
    pub fn free_bytes(pattern: &str, bytes: u64) -> Self {
        Self::doing(Call::Statvfs, pattern, Action::FreeBytes, i64::try_from(bytes).expect("a disk's size"))
    }

    /// `statvfs` says that so many inodes are free.
    pub fn free_inodes(pattern: &str, inodes: u32) -> Self {
        Self::doing(Call::Statvfs, pattern, Action::FreeInodes, inodes.into())
    }

    /// Only for these bytes of the file. A failing read that begins before them is cut to end there, as a disk does it.
    pub fn range(mut self, bytes: Range<u64>) -> Self {
        assert!(!bytes.is_empty(), "{bytes:?}");
        self.range = bytes;
        self
    }

    /// Lets the first `calls` pass.
    pub fn after(mut self, calls: u32) -> Self {
        self.after = calls.into();
        self
    }

    /// Bites so many times, and is spent.
    pub fn times(mut self, calls: u32) -> Self {
        self.times = calls.into();
        self
    }

    fn encoded(&self) -> [u8; RULE_BYTES] {
        let mut rule = [0; RULE_BYTES];
        let mut put = |at: usize, bytes: &[u8]| rule[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &(self.call as u32).to_ne_bytes());
        put(4, &(self.action as u32).to_ne_bytes());
        put(8, &self.value.to_ne_bytes());
        put(16, &self.range.start.to_ne_bytes());
        put(24, &self.range.end.to_ne_bytes());
        put(32, &self.after.to_ne_bytes());
        put(40, &self.times.to_ne_bytes());
        put(PATTERN_AT, self.pattern.as_bytes());
        rule
    }
}

// The layout of the control file, as `struct control` in the shim.
const RULE_BYTES: usize = 512;
const HITS_AT: u64 = 48;
const PATTERN_AT: usize = 56;
const PATTERN_BYTES: usize = RULE_BYTES - PATTERN_AT;
const RULES: usize = 32;
const BANKS: u64 = 16;
const HEADER_BYTES: u64 = 512;
const CLOCK_AT: u64 = 8;

/// The faults of all programs that were started with [`Faults::on`] the same control file, also of those that are started
/// again. Rules may be changed at any time.
#[derive(Debug)]
pub struct Faults {
    control: PathBuf,
    file: File,
    /// How many sets of rules there were: each is written to the next of the banks, and then put in force with one write.
    sets: Mutex<u64>,
}

impl Faults {
    /// With a control file in `folder`, which is better not the data folder. No rule is in force.
    pub fn new(folder: &Path) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let control = folder.join(format!("faults{}.control", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let control = std::path::absolute(control).expect("a folder");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&control).expect("a control file");
        file.set_len(HEADER_BYTES + BANKS * (RULES * RULE_BYTES) as u64).expect("room for the control file");
        Self { control, file, sets: Mutex::new(0) }
    }

    /// The same gateway under these faults.
    pub fn on(&self, setup: Setup) -> Setup {
        self.environment().into_iter().fold(setup, |setup, (name, value)| setup.variable(name, &value))
    }

    /// What the environment of any other program under these faults must hold.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        [("LD_PRELOAD", text(shim())), ("FAULTS_CONTROL", text(&self.control))]
    }

    /// Puts these rules in force and no others. Their counts begin at 0.
    pub fn set(&self, faults: &[Fault]) {
        assert!(faults.len() <= RULES, "at most {RULES} rules");
        let mut sets = self.sets.lock().expect("no panic inside");
        let bank = (*sets + 1) % BANKS;
        let mut rules = vec![0; RULES * RULE_BYTES];
        let mut state = bank;
        for (place, fault) in rules.chunks_mut(RULE_BYTES).zip(faults) {
            place.copy_from_slice(&fault.encoded());
            state |= u64::from(fault.call as u32) << 8;
        }
        self.write(bank_at(bank), &rules);
        self.write(0, &state.to_ne_bytes());
        *sets += 1;
    }

    /// No rule is in force. The clock stays as it was set.
    pub fn clear(&self) {
        self.set(&[]);
    }

    /// How often the rule at `index` of the last [`Faults::set`] has bitten.
    pub fn hits(&self, index: usize) -> u64 {
        let bank = *self.sets.lock().expect("no panic inside") % BANKS;
        let mut hits = [0; 8];
        self.file.read_exact_at(&mut hits, bank_at(bank) + (index * RULE_BYTES) as u64 + HITS_AT).expect("the control file");
        u64::from_ne_bytes(hits)
    }

    /// Waits until the rule at `index` has bitten `count` times.
    pub async fn until_hits(&self, index: usize, count: u64, limit: Duration) {
        super::eventually(&format!("rule {index} bites {count} times"), limit, async || self.hits(index) >= count).await;
    }

    /// Shifts the wall clock by so many seconds, for all that is running and all that is started. The monotonic clock stays.
    pub fn clock(&self, seconds: i64) {
        self.write(CLOCK_AT, &seconds.checked_mul(1_000_000_000).expect("less than 292 years").to_ne_bytes());
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).expect("the control file can be written");
    }
}

/// For [`Faults::clock`].
pub const fn days(days: i64) -> i64 {
    days * 86_400
}

fn bank_at(bank: u64) -> u64 {
    HEADER_BYTES + bank * (RULES * RULE_BYTES) as u64
}

/// The library, built by the C compiler that links Rust's programs too.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let built = folder.join(format!("faults-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/faults/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&built).arg(source);
        let output = compiler.output().expect("cc is there, since Rust needs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let library = folder.join("faults.so");
        // Programs that have the old one mapped keep it.
        std::fs::rename(&built, &library).expect("a name in the same folder");
        library
    })
}

/// Leaves the gateway `free` file descriptors more than it has now; [`restore_files`] gives it the answer back.
pub fn leave_files(gateway: &Gateway, free: usize) -> Rlimit {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", gateway.id())).expect("its process");
    let used = folder.map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect::<Option<Vec<u64>>>();
    let used = used.expect("numbers");
    let limit = (0..).filter(|number| !used.contains(number)).nth(free);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.id())).expect("its process");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a line of its own");
    let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
    let before = Rlimit { current: numbers.next().flatten(), maximum: numbers.next().flatten() };
    let now = Rlimit { current: limit, maximum: before.maximum };
    prlimit(process(gateway), Resource::Nofile, now).expect("its process");
    before
}

/// Ends what [`leave_files`] began.
pub fn restore_files(gateway: &Gateway, limit: Rlimit) {
    prlimit(process(gateway), Resource::Nofile, limit).expect("its process");
}

fn process(gateway: &Gateway) -> Option<Pid> {
    i32::try_from(gateway.id()).ok().and_then(Pid::from_raw)
}
