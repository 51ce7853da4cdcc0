//! A player whose source and decoder are swapped: two traits of `symphonia-core`, as that crate declares them.
//!
//! ```sh
//! cargo run --release --example decoder
//! ```
//!
//! `AudioDecoder` has results that borrow from the decoder: the decoded samples stay in its buffer. `MediaSource` has the supertraits
//! `Read` and `Seek`. Both are in slots. Tracks of three codecs are played, one after the other: a track's source and decoder are put
//! into the slots together, as one change. While a track plays, another thread swaps its decoder for a new one of the same codec,
//! as often as it can, also while the player looks at samples in the old one's buffer. The same tracks are then decoded by
//! `Box<dyn AudioDecoder>` from `Box<dyn MediaSource>`. Where one sample differs, the program fails.

mod tracks;

use std::error::Error;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use hotcall::{Patched, foreign, slot};
use symphonia_core::audio::{AsGenericAudioBufferRef, AudioBuffer, AudioSpec, GenericAudioBufferRef};
use symphonia_core::codecs::CodecInfo;
use symphonia_core::codecs::audio::{AudioCodecParameters, FinalizeResult};
use symphonia_core::packet::{Packet, PacketRef};
use symphonia_core::units::{Duration, Timestamp};
use tracks::Track;

foreign! {
    /// What makes samples of packets.
    trait symphonia_core::codecs::audio::AudioDecoder {
        fn reset(&mut self);
        fn codec_info(&self) -> &CodecInfo;
        fn codec_params(&self) -> &AudioCodecParameters;
        fn decode(&mut self, packet: &Packet) -> symphonia_core::errors::Result<GenericAudioBufferRef<'_>>;
        fn decode_ref(&mut self, packet: &PacketRef<'_>) -> symphonia_core::errors::Result<GenericAudioBufferRef<'_>>;
        fn finalize(&mut self) -> FinalizeResult;
        fn last_decoded(&self) -> GenericAudioBufferRef<'_>;
    }
    /// What packets are read from.
    trait symphonia_core::io::MediaSource: Read + Seek {
        fn is_seekable(&self) -> bool;
        fn byte_len(&self) -> Option<u64>;
    }
}

#[slot]
static DECODER: dyn AudioDecoder = NoDecoder;
#[slot]
static SOURCE: dyn MediaSource = Cursor::new(&[]) as Cursor<&'static [u8]>;

/// What the decoder's slot begins with.
struct NoDecoder;

static NO_PARAMETERS: LazyLock<AudioCodecParameters> = LazyLock::new(AudioCodecParameters::new);
static NO_SAMPLES: LazyLock<AudioBuffer<i16>> =
    LazyLock::new(|| AudioBuffer::new(AudioSpec::new(48_000, tracks::channels()), 0));

impl symphonia_core::codecs::audio::AudioDecoder for NoDecoder {
    fn reset(&mut self) {}
    fn codec_info(&self) -> &CodecInfo {
        &CodecInfo { short_name: "none", long_name: "no decoder", profiles: &[] }
    }
    fn codec_params(&self) -> &AudioCodecParameters {
        &NO_PARAMETERS
    }
    fn decode_ref(&mut self, _: &PacketRef<'_>) -> symphonia_core::errors::Result<GenericAudioBufferRef<'_>> {
        symphonia_core::errors::unsupported_error("there is no decoder yet")
    }
    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }
    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        NO_SAMPLES.as_generic_audio_buffer_ref()
    }
}

/// A player whose source and decoder are swapped while it plays.
#[derive(Parser)]
struct Arguments {
    /// How many frames of two samples each track has.
    #[arg(long, default_value_t = 2_000_000)]
    frames: usize,
}

/// Bytes of a packet.
const PACKET: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { frames } = Arguments::parse();
    let nothing = DECODER.lock().decode_ref(&packet(0, &[])).err();
    println!("before the first track: {}", nothing.ok_or("the default decodes nothing")?);

    let (mut samples, mut swaps, mut differing) = (0, 0, 0);
    for track in Track::all(frames) {
        let played = play(&track)?;
        let expected = from_boxes(&track)?;
        let wrong = played.samples.iter().zip(&expected).filter(|(one, other)| one != other).count()
            + played.samples.len().abs_diff(expected.len());
        println!(
            "{:<10} {:>9} samples, {:>6} swaps, {wrong} samples differ",
            played.codec,
            expected.len(),
            played.swaps
        );
        samples += expected.len();
        swaps += played.swaps;
        differing += wrong + first_packet(&track, &expected)?;
    }
    println!("{samples} samples through {swaps} swaps, {differing} differ from Box<dyn AudioDecoder>");
    if differing != 0 || swaps == 0 {
        return Err("the slots and the boxes differ".into());
    }
    Ok(())
}

/// What came of a track.
struct Played {
    codec: String,
    samples: Vec<i16>,
    swaps: usize,
}

/// Plays a track through the slots, while another thread swaps the decoder.
fn play(track: &Track) -> Result<Played, Box<dyn Error>> {
    let (decoder, source) = (track.decoder()?, track.source());
    // Both or neither, and at one moment. What was there is dropped when nobody uses it.
    let changed = hotcall::batch(|batch| {
        batch.replace(&DECODER, decoder);
        batch.replace(&SOURCE, source);
    });
    drop(changed?);

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swaps = scope.spawn(|| -> Result<usize, Box<dyn Error + Send + Sync>> {
            let mut swaps = 0;
            while swaps == 0 || !done.load(Ordering::Relaxed) {
                drop(DECODER.replace(track.decoder()?)?);
                swaps += 1;
            }
            Ok(swaps)
        });
        let samples = through_the_slots(track);
        done.store(true, Ordering::Relaxed);
        let swaps = swaps.join().map_err(|_| "the thread that swaps panicked")?;
        let codec = DECODER.read().codec_info().short_name.to_owned();
        Ok(Played { codec, samples: samples?, swaps: swaps.map_err(|error| error as Box<dyn Error>)? })
    })
}

fn through_the_slots(track: &Track) -> Result<Vec<i16>, Box<dyn Error>> {
    let (mut samples, mut block) = (Vec::new(), Vec::new());
    let mut source = SOURCE.lock();
    if source.byte_len() != Some(track.bytes() as u64) || !source.is_seekable() {
        return Err("the source is not that of the track".into());
    }
    source.seek(SeekFrom::Start(0))?;
    let mut buffer = [0; PACKET];
    for number in 0.. {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        // The decoder may be swapped at any moment. What it has lent stays until the lock is given back.
        let mut decoder = DECODER.lock();
        let decoded = decoder.decode_ref(&packet(number, &buffer[..read]))?;
        decoded.copy_to_vec_interleaved(&mut block);
        samples.extend_from_slice(&block);
    }
    Ok(samples)
}

/// The first packet by a handle, an owned one. How many samples differ.
fn first_packet(track: &Track, expected: &[i16]) -> Result<usize, Box<dyn Error>> {
    let mut decoder: Patched<dyn AudioDecoder> = Patched::new(track.decoder()?);
    let mut buffer = [0; PACKET];
    let read = track.source().read(&mut buffer)?;
    let guard = hotcall::pin();
    let mut samples: Vec<i16> = Vec::new();
    decoder.get_mut(&guard).decode_ref(&packet(0, &buffer[..read]))?.copy_to_vec_interleaved(&mut samples);
    Ok(samples.iter().zip(expected).filter(|(one, other)| one != other).count())
}

/// The same track as most programs decode it.
fn from_boxes(track: &Track) -> Result<Vec<i16>, Box<dyn Error>> {
    let mut source: Box<dyn symphonia_core::io::MediaSource> = Box::new(track.source());
    let mut decoder: Box<dyn symphonia_core::codecs::audio::AudioDecoder> = Box::new(track.decoder()?);
    let (mut samples, mut block, mut buffer) = (Vec::new(), Vec::new(), [0; PACKET]);
    for number in 0.. {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        decoder.decode_ref(&packet(number, &buffer[..read]))?.copy_to_vec_interleaved(&mut block);
        samples.extend_from_slice(&block);
    }
    Ok(samples)
}

fn packet(number: u32, data: &[u8]) -> PacketRef<'_> {
    PacketRef::new(0, Timestamp::from(number), Duration::from(0_u32), data)
}
