//! One line that says what the figures were taken on.
use std::fs;
use std::path::Path;

const TMPFS: i64 = 0x0102_1994;

pub fn line(dir: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|m| m.split(' ').next()?.parse::<u64>().ok())
        .map_or(0, |kib| (kib + (1 << 19)) >> 20);
    let kernel = first_word("/proc/sys/kernel/osrelease");
    let file_system = if on_tmpfs(dir) {
        "tmpfs".into()
    } else {
        mounted(dir).unwrap_or_else(|| "unknown file system".into())
    };
    format!("{cores} x {cpu}, {memory} GiB, Linux {kernel}, {file_system}")
}

/// The load over the last minute.
pub fn load() -> String {
    first_word("/proc/loadavg")
}

/// Where a sync costs nothing, the durable figures say nothing.
pub fn on_tmpfs(dir: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(dir.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: statfs is plain integers, for which zeros are a value.
    let mut s: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a C string and a struct of the right type, both alive.
    unsafe { libc::statfs(path.as_ptr(), &mut s) == 0 && s.f_type as i64 == TMPFS }
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|l| l.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_word(file: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

/// The file system type of the longest mount point above `dir`.
fn mounted(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let text = fs::read_to_string("/proc/self/mounts").ok()?;
    text.lines()
        .filter_map(|l| {
            let mut w = l.split(' ');
            let (_, at, kind) = (w.next()?, w.next()?, w.next()?);
            dir.starts_with(at).then(|| (at.len(), kind.to_owned()))
        })
        .max_by_key(|m| m.0)
        .map(|m| m.1)
}
