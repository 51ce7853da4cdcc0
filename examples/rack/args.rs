//! What the rack can be told on its command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Parser;

/// Plays a sound through one hotcall slot on several threads, and swaps the effect in it all the while.
///
/// Every sample is compared with an offline rendering of every effect. The exit code is 0 if each came from
/// exactly the effect that was in force, 1 if one did not, and 2 if something given here cannot be used.
#[derive(Debug, Parser)]
#[command(name = "rack")]
pub struct Args {
    /// The sound: a WAV file, 16, 24 or 32 bit integer or 32 bit float, mono or stereo [default: a tune]
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Where to write what was heard, as a WAV file of 32 bit float
    #[arg(long, value_name = "FILE", default_value = "out/rack.wav")]
    pub output: PathBuf,

    /// Where to draw what was heard and when the effect changed, as SVG
    #[arg(long, value_name = "FILE", default_value = "out/rack.svg")]
    pub picture: PathBuf,

    /// How long to play and swap
    #[arg(long, value_name = "N", default_value = "5", value_parser = seconds)]
    pub seconds: Duration,

    /// How many threads call the slot [default: one a core]
    #[arg(long, value_name = "N", value_parser = count(256))]
    pub threads: Option<usize>,

    /// How often to swap the effect
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub swaps_per_second: u32,

    /// Samples in a block, of each channel
    #[arg(long, value_name = "N", default_value = "128", value_parser = count(65_536))]
    pub block: usize,

    /// A shared library with an effect to add, made with `hotcall::export!(dyn Effect, …)`; may be repeated
    #[arg(long, value_name = "FILE")]
    pub plugin: Vec<PathBuf>,
}

impl Args {
    /// The number of threads to use.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0.1 to 86400 is needed".into()),
    }
}

fn count(most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(format!("a number from 1 to {most} is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, Duration};
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let args = Args::parse_from(["rack"]);
        assert_eq!(args.seconds, Duration::from_secs(5));
        assert_eq!((args.swaps_per_second, args.block), (200, 128));
        assert!(args.threads() >= 1);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in ["--seconds=0", "--seconds=nan", "--threads=0", "--block=0", "--swaps-per-second=-1"] {
            assert!(Args::try_parse_from(["rack", wrong]).is_err(), "{wrong}");
        }
    }
}
