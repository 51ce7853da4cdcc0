//! Tracks of several codecs, made up.

use std::io::Cursor;

use symphonia_codec_pcm::PcmDecoder;
use symphonia_core::audio::Channels;
use symphonia_core::audio::layouts::CHANNEL_LAYOUT_STEREO;
use symphonia_core::codecs::audio::well_known::{CODEC_ID_PCM_ALAW, CODEC_ID_PCM_MULAW, CODEC_ID_PCM_S16LE};
use symphonia_core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoderOptions};

/// Left and right.
pub fn channels() -> Channels {
    CHANNEL_LAYOUT_STEREO
}

/// Bytes, and the codec that they are in.
pub struct Track {
    codec: AudioCodecId,
    bytes: &'static [u8],
}

impl Track {
    /// A track of each codec. For each of them any bytes are samples.
    pub fn all(frames: usize) -> Vec<Self> {
        let mut state = 42_u32;
        let mut track = |codec, bytes_a_sample: usize| {
            let bytes = (0..frames * 2 * bytes_a_sample).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            });
            // A source in a slot borrows from nobody; the program ends soon after its tracks.
            Self { codec, bytes: Vec::leak(bytes.collect()) }
        };
        vec![track(CODEC_ID_PCM_S16LE, 2), track(CODEC_ID_PCM_MULAW, 1), track(CODEC_ID_PCM_ALAW, 1)]
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn source(&self) -> Cursor<&'static [u8]> {
        Cursor::new(self.bytes)
    }

    /// A new decoder for the track.
    pub fn decoder(&self) -> symphonia_core::errors::Result<PcmDecoder> {
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(self.codec).with_sample_rate(48_000).with_channels(channels());
        PcmDecoder::try_new(&parameters, &AudioDecoderOptions::default())
    }
}
