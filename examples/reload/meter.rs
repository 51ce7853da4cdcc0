//! What the process holds.

use std::fs;

/// Its size, its descriptors, and the libraries that it has mapped from memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    /// Resident memory, in KiB.
    pub resident: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Copies of the plugin.
    pub libraries: usize,
}

impl Meter {
    /// As of now.
    pub fn read() -> std::io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok());
        let maps = fs::read_to_string("/proc/self/maps")?;
        // Each library has one mapping that is executed.
        let is_code = |line: &&str| line.contains("memfd:libcounter.so") && line.contains(" r-xp ");
        Ok(Self {
            resident: resident.unwrap_or_default(),
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            libraries: maps.lines().filter(is_code).count(),
        })
    }
}
