//! WAV files in and out.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::failure::Failure;

/// The longest sound that is played; of a longer one, its beginning. Each effect's rendering is as long again.
const LONGEST: usize = 16 << 20;

/// A sound, with the channels of each frame side by side. Full scale is -1 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// Where it is from, for a person to read.
    pub title: String,
    pub samples: Vec<f32>,
    pub channels: u16,
    /// Frames a second.
    pub rate: u32,
}

impl Sound {
    /// How long it plays.
    pub fn seconds(&self) -> f64 {
        (self.samples.len() / usize::from(self.channels)) as f64 / f64::from(self.rate)
    }
}

/// Reads a WAV file.
pub fn read(path: &Path) -> Result<Sound, Failure> {
    let refuse = |reason: &str| Failure::refused(format!("{}: {reason}", path.display()));
    let file = File::open(path).map_err(|error| refuse(&format!("cannot be read: {error}")))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(refuse("is a directory, not a WAV file"));
    }
    let title = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    from_reader(BufReader::new(file), title).map_err(|reason| refuse(&reason))
}

fn from_reader(reader: impl Read, title: String) -> Result<Sound, String> {
    let mut reader = WavReader::new(reader).map_err(|error| match error {
        hound::Error::IoError(error) => format!("is cut short or cannot be read: {error}"),
        hound::Error::FormatError(reason) => format!("is not a WAV file that the rack can read: {reason}"),
        hound::Error::Unsupported => {
            "is a WAV file of another format: 16, 24 or 32 bit integer or 32 bit float samples are needed"
                .into()
        }
        other => format!("is not a WAV file that the rack can read: {other}"),
    })?;
    let WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format } = reader.spec();
    if !(1..=2).contains(&channels) {
        return Err(format!("has {channels} channels: mono or stereo is needed"));
    }
    if rate == 0 {
        return Err("has a rate of 0 samples a second".into());
    }
    let samples: Result<Vec<f32>, hound::Error> = match (sample_format, bits) {
        (SampleFormat::Int, 16 | 24 | 32) => {
            let full_scale = (1_i64 << (bits - 1)) as f32;
            reader.samples::<i32>().take(LONGEST).map(|sample| Ok(sample? as f32 / full_scale)).collect()
        }
        (SampleFormat::Float, 32) => reader.samples::<f32>().take(LONGEST).collect(),
        (format, _) => {
            let format = if format == SampleFormat::Int { "integer" } else { "float" };
            return Err(format!(
                "has {bits} bit {format} samples: 16, 24 or 32 bit integer or 32 bit float are needed"
            ));
        }
    };
    let mut samples = samples.map_err(|error| format!("is cut short or damaged: {error}"))?;
    samples.truncate(samples.len() / usize::from(channels) * usize::from(channels));
    if samples.is_empty() {
        return Err("holds no samples".into());
    }
    if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
        return Err(format!("sample {index} is not a finite number"));
    }
    let title = if reader.len() as usize > LONGEST { format!("the beginning of {title}") } else { title };
    Ok(Sound { title, samples, channels, rate })
}

/// Writes a sound as 32 bit float: bit by bit what was heard.
pub fn write(file: impl Write + std::io::Seek, sound: &Sound) -> Result<(), hound::Error> {
    let spec = WavSpec {
        channels: sound.channels,
        sample_rate: sound.rate,
        bits_per_sample: 32,
        sample_format: SampleFormat::Float,
    };
    let mut writer = WavWriter::new(BufWriter::new(file), spec)?;
    for &sample in &sound.samples {
        writer.write_sample(sample)?;
    }
    writer.finalize()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn encode(channels: u16, bits: u16, format: SampleFormat, samples: &[f32]) -> Vec<u8> {
        let spec = WavSpec { channels, sample_rate: 8_000, bits_per_sample: bits, sample_format: format };
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        for &sample in samples {
            match format {
                SampleFormat::Float => writer.write_sample(sample).unwrap(),
                SampleFormat::Int => {
                    let full_scale = (1_i64 << (bits - 1)) as f64;
                    writer.write_sample((f64::from(sample) * full_scale) as i32).unwrap();
                }
            }
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn decode(bytes: &[u8]) -> Result<Sound, String> {
        from_reader(bytes, "test".into())
    }

    #[test]
    fn reads_every_format_it_promises() {
        let samples = [0.0, 0.5, -0.25, -1.0];
        for bits in [16, 24, 32] {
            let sound = decode(&encode(2, bits, SampleFormat::Int, &samples)).unwrap();
            assert_eq!((sound.channels, sound.rate), (2, 8_000));
            assert_eq!(sound.samples, samples, "{bits} bit");
        }
        assert_eq!(decode(&encode(1, 32, SampleFormat::Float, &samples)).unwrap().samples, samples);
    }

    #[test]
    fn refuses_every_other_and_says_why() {
        let quiet = [0.0; 6];
        for (bytes, reason) in [
            (encode(1, 8, SampleFormat::Int, &quiet), "8 bit integer"),
            (encode(3, 16, SampleFormat::Int, &quiet), "3 channels"),
            (encode(1, 16, SampleFormat::Int, &[]), "no samples"),
            (encode(1, 32, SampleFormat::Float, &[0.0, f32::NAN]), "sample 1 is not a finite number"),
            (b"OggS, not a WAV file at all".to_vec(), "not a WAV file"),
            (Vec::new(), "cut short"),
        ] {
            let answer = decode(&bytes).unwrap_err();
            assert!(answer.contains(reason), "{answer}");
        }
        let mut cut = encode(1, 16, SampleFormat::Int, &[0.5; 100]);
        cut.truncate(150);
        assert!(decode(&cut).unwrap_err().contains("cut short"));
    }

    #[test]
    fn a_float_file_gives_back_the_same_bits() {
        let sound =
            Sound { title: "test".into(), samples: vec![0.1, -0.2, 1.0e-30, 1.5], channels: 2, rate: 44_100 };
        let mut bytes = Cursor::new(Vec::new());
        write(&mut bytes, &sound).unwrap();
        assert_eq!(decode(bytes.get_ref()).unwrap(), sound);
    }
}
