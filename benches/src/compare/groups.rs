//! The groups of rows, and what running one gives.

use std::time::Duration;

use clap::ValueEnum;

use super::chain::Row;
use super::figure::{Figure, relate};
use super::{fused, keys, measure, mix, rows, swaps, table, threads, width};

/// A group of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// The limit, the vtable, the slots, `arc-swap`, `RwLock`. A part of `peers`.
    Core,
    /// Everything that might be used instead.
    Peers,
    /// From one call site to 16,384.
    Width,
    /// Bodies of all lengths; changing targets; cold calls.
    Mix,
    /// The vtable call as compiled with retpolines.
    Retpoline,
    /// Many callers, with swaps.
    Threads,
    /// What a swap costs.
    Swaps,
    /// Lists of plugins: a chain, a vector of boxes, calls written out by hand.
    Chains,
    /// A question whose answer hardly ever changes: keys, and what else might be asked.
    Keys,
}

impl Group {
    /// What runs when nothing is named. `core` is in `peers`.
    pub const ALL: [Self; 8] = [
        Self::Peers,
        Self::Width,
        Self::Mix,
        Self::Retpoline,
        Self::Threads,
        Self::Swaps,
        Self::Chains,
        Self::Keys,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Peers => "peers",
            Self::Width => "width",
            Self::Mix => "mix",
            Self::Retpoline => "retpoline",
            Self::Threads => "threads",
            Self::Swaps => "swaps",
            Self::Chains => "chains",
            Self::Keys => "keys",
        }
    }

    /// The time it takes if nobody says otherwise, in seconds.
    const fn seconds(self) -> u64 {
        match self {
            Self::Peers => 60,
            Self::Width | Self::Mix | Self::Threads | Self::Swaps | Self::Chains => 40,
            Self::Core => 30,
            Self::Keys => 20,
            Self::Retpoline => 15,
        }
    }

    /// Measures its rows, for `seconds` or its own time, and `more` among the peers. Answers the figures and a table.
    ///
    /// # Errors
    ///
    /// A row that does no work; something that was refused.
    pub fn run(
        self,
        seconds: Option<f64>,
        more: Vec<Row>,
    ) -> Result<(Vec<Figure>, String), Box<dyn std::error::Error>> {
        let own = Duration::from_secs(self.seconds());
        let time = seconds.map_or(own, Duration::from_secs_f64);
        rows::slots::prepare()?;
        Ok(match self {
            Self::Core => chains("core", &rows::core(), "a call, and what it costs", time)?,
            Self::Peers => {
                let rows: Vec<Row> = rows::peers().into_iter().chain(more).collect();
                chains("peers", &rows, "a call, and what else might be used", time)?
            }
            Self::Retpoline => {
                let mut rows = rows::retpoline::rows();
                for row in &mut rows {
                    row.name = format!("retpoline/{}", row.name);
                }
                chains("retpoline", &rows, "where indirect branches go through a retpoline", time)?
            }
            Self::Mix => {
                let (mut figures, _) = chains("mix", &mix::rows(), "", time)?;
                figures.extend(mix::cold()?);
                relate(&mut figures, |figure| {
                    let place = figure.name.rsplit_once('/').map_or("", |(place, _)| place);
                    let chosen =
                        ["predictable", "random", "adversarial"].iter().any(|order| place.ends_with(order));
                    let direct = if chosen { "match_direct" } else { "direct" };
                    (format!("{place}/{direct}"), format!("{place}/dyn"))
                });
                let text = table::calls(
                    "bodies of 1 to 1,000 cycles; changing targets; independent calls; cold calls",
                    &figures,
                );
                (figures, text)
            }
            Self::Width => {
                let figures = width::measure(time)?;
                let columns = [("sites", "sites", 0), ("ns_per_call", "ns/call", 2)];
                let text = table::columns("many call sites in rotation", &figures, &columns);
                (figures, text)
            }
            Self::Threads => {
                let figures = threads::measure(time)?;
                let columns = [
                    ("ns_per_call", "ns/call", 2),
                    ("calls_per_second", "calls/s", 0),
                    ("swaps_per_second", "swaps/s", 0),
                    ("p50_ns", "p50 ns", 0),
                    ("p99_ns", "p99 ns", 0),
                    ("p999_ns", "p99.9 ns", 0),
                    ("max_ns", "max ns", 0),
                ];
                (figures.clone(), table::columns("callers on several threads, and swaps", &figures, &columns))
            }
            Self::Chains => {
                let figures = fused::figures(time)?;
                let columns = [
                    ("ns_per_call", "ns/element", 2),
                    ("vec_over_this", "vec/this", 2),
                    ("over_hand", "this/hand", 2),
                    ("p50_ns", "p50 ns", 0),
                    ("p99_ns", "p99 ns", 0),
                    ("max_ns", "max ns", 0),
                ];
                (figures.clone(), table::columns("lists of plugins", &figures, &columns))
            }
            Self::Keys => {
                let figures = keys::measure(time)?;
                let columns = [
                    ("places", "places", 0),
                    ("ns_per_call", "ns/question", 3),
                    ("vs_atomic", "of atomic's", 2),
                ];
                (
                    figures.clone(),
                    table::columns("a question whose answer hardly ever changes", &figures, &columns),
                )
            }
            Self::Swaps => {
                let figures = swaps::measure(time)?;
                let columns = [
                    ("p50_ns", "p50 ns", 0),
                    ("p99_ns", "p99 ns", 0),
                    ("max_ns", "max ns", 0),
                    ("vs_membarrier", "vs_membarrier", 2),
                    ("ns_per_slot", "ns/slot", 1),
                    ("calls_per_second", "calls/s", 0),
                    ("of_undisturbed", "of undisturbed", 3),
                    ("swaps_per_second", "swaps/s", 0),
                    ("events", "samples", 0),
                ];
                (figures.clone(), table::columns("what a swap costs", &figures, &columns))
            }
        })
    }
}

/// Measures rows that are chains, and relates each to the `direct` and `dyn` of its kind.
fn chains(
    group: &str,
    rows: &[Row],
    title: &str,
    time: Duration,
) -> Result<(Vec<Figure>, String), Box<dyn std::error::Error>> {
    let mut figures = measure::measure(group, rows, time)?;
    relate(&mut figures, |figure| {
        let stateful = figure.more.get("stateful").and_then(serde_json::Value::as_bool).unwrap_or(false);
        let suffix = match figure.name.as_str() {
            "empty_slot" | "direct_empty" => "_empty",
            _ if stateful => "_stateful",
            _ => "",
        };
        let prefix = figure.name.rsplit_once('/').map_or(String::new(), |(prefix, _)| format!("{prefix}/"));
        (format!("{prefix}direct{suffix}"), format!("{prefix}dyn{suffix}"))
    });
    let text = table::calls(title, &figures);
    Ok((figures, text))
}
