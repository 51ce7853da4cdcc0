//! What a figure was measured on: processor, kernel, toolchain, date.

use std::fs;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The machine and the toolchain, as written beside every figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Vendor's name of the processor, with family, model and stepping.
    pub processor: String,
    /// How many processors this process may use.
    pub processors: usize,
    /// The kernel's name and release.
    pub kernel: String,
    /// The compiler that built this program.
    pub rustc: String,
    /// The day of the run, in UTC.
    pub date: String,
}

impl Machine {
    /// Asks the system. What it does not say reads "unknown".
    #[must_use]
    pub fn detect() -> Self {
        Self {
            processor: processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            processors: thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel(),
            rustc: env!("HOTCALL_BENCHES_RUSTC").to_owned(),
            date: today(),
        }
    }

    /// A short name of the processor, of its vendor, family and model: `amd-25-17`. Figures are kept by it.
    #[must_use]
    pub fn folder(&self) -> String {
        let vendor: String = self.processor.chars().take_while(char::is_ascii_alphanumeric).collect();
        let words: Vec<&str> = self.processor.split(|one: char| !one.is_ascii_alphanumeric()).collect();
        let after =
            |name: &str| words.windows(2).rev().find(|pair| pair[0] == name).map_or("0", |pair| pair[1]);
        format!("{}-{}-{}", vendor.to_lowercase(), after("family"), after("model"))
    }

    /// The processor's name, family and model, without what differs between machines of one kind.
    #[must_use]
    pub fn short(&self) -> String {
        let parts = self.processor.split_once(" stepping");
        parts.map_or_else(|| self.processor.clone(), |(name, _)| format!("{name})"))
    }

    /// One line for the head of a table or a picture.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { processor, processors, kernel, rustc, date } = self;
        format!("{processor}, {processors} cpus, {kernel}, {rustc}, {date}")
    }
}

/// Reads the first processor of `/proc/cpuinfo`.
///
/// Hypervisors hide the model's name ("AMD EPYC"): family and model say which core it is.
fn processor(cpuinfo: &str) -> String {
    let field = |name: &str| {
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    let Some(name) = field("model name") else { return "unknown processor".to_owned() };
    match (field("cpu family"), field("model"), field("stepping")) {
        (Some(family), Some(model), Some(stepping)) => {
            format!("{name} (family {family} model {model} stepping {stepping})")
        }
        _ => name,
    }
}

fn kernel() -> String {
    let read = |path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    match (read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease")) {
        (Some(name), Some(release)) => format!("{name} {release}"),
        _ => "unknown kernel".to_owned(),
    }
}

fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The civil date of a day counted from 1970-01-01 (Gregorian, years begun in March).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{Machine, civil, processor};

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }

    #[test]
    fn processor_names_family_and_model() {
        let text = "vendor_id\t: X\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: Some CPU\nstepping\t: 1\n";
        assert_eq!(processor(text), "Some CPU (family 26 model 2 stepping 1)");
        assert_eq!(processor(""), "unknown processor");
    }

    #[test]
    fn folders_name_vendor_family_and_model() {
        let folder =
            |processor: &str| Machine { processor: processor.to_owned(), ..Machine::detect() }.folder();
        assert_eq!(folder("AMD EPYC (family 25 model 17 stepping 1)"), "amd-25-17");
        assert_eq!(folder("Intel(R) Xeon(R) Processor (family 6 model 207 stepping 2)"), "intel-6-207");
        assert_eq!(folder("unknown processor"), "unknown-0-0");
        let amd =
            Machine { processor: "AMD EPYC (family 25 model 17 stepping 1)".to_owned(), ..Machine::detect() };
        assert_eq!(amd.short(), "AMD EPYC (family 25 model 17)");
    }
}
