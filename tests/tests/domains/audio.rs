//! Devices, plugins, codecs.

use hotcall::{dispatch, slot};

/// What an audio device is configured with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    rate: u32,
}

#[dispatch]
pub trait Device: Send + Sync {
    type Stream: Send;
    type Configs: Iterator<Item = Config>;
    fn name(&self) -> Result<String, String>;
    fn configs(&self) -> Result<Self::Configs, String>;
    fn stream<F, E>(&self, _: &Config, data: F, _: E) -> Result<Self::Stream, String>
    where
        Self: Sized,
        F: FnMut(&mut [f32]) + Send + 'static,
        E: FnMut(String) + Send + 'static,
    {
        self.stream_boxed(&Config { rate: 1 }, Box::new(data))
    }
    fn stream_boxed(
        &self,
        config: &Config,
        data: Box<dyn FnMut(&mut [f32]) + Send>,
    ) -> Result<Self::Stream, String>;
}
struct Card(u32);
impl Device for Card {
    type Stream = f32;
    type Configs = std::vec::IntoIter<Config>;
    fn name(&self) -> Result<String, String> {
        Ok(format!("card {}", self.0))
    }
    fn configs(&self) -> Result<Self::Configs, String> {
        Ok(vec![Config { rate: self.0 }].into_iter())
    }
    fn stream_boxed(&self, _: &Config, mut data: Box<dyn FnMut(&mut [f32]) + Send>) -> Result<f32, String> {
        let mut block = [1.0; 4];
        data(&mut block);
        Ok(block[3])
    }
}
#[slot]
static DEVICE: dyn Device<Stream = f32, Configs = std::vec::IntoIter<Config>> = Card(1);

#[test]
fn a_device() {
    shared!(DEVICE: dyn Device<Stream = f32, Configs = std::vec::IntoIter<Config>> = Card(44_100);
        |device| (
            device.name(),
            device.configs().map(Iterator::collect::<Vec<_>>),
            device.stream_boxed(&Config { rate: 2 }, Box::new(|block| block.fill(0.5))),
        );
        lends |device| device.name());
    assert_eq!(Card(1).stream(&Config { rate: 1 }, |block| block.fill(2.0), |_| {}), Ok(2.0));
}

pub struct Events<'a>(&'a [u8]);

/// As plugin hosts see one.
#[dispatch]
pub trait Plugin: Send {
    fn id(&self) -> &str;
    fn params(&self) -> &[u32];
    fn activate(&mut self, rate: f64, max: u32) -> bool;
    fn process(&mut self, audio: &mut [&mut [f32]], events: Events<'_>) -> i32;
    fn save(&self, to: &mut Vec<u8>);
    fn load(&mut self, from: &[u8]) -> bool;
    fn editor(&mut self) -> Option<Box<dyn FnMut(&str) -> u8 + Send + '_>> {
        None
    }
}
struct Synth {
    params: Vec<u32>,
    blocks: u8,
}
impl Plugin for Synth {
    fn id(&self) -> &str {
        "synth"
    }
    fn params(&self) -> &[u32] {
        &self.params
    }
    fn activate(&mut self, rate: f64, max: u32) -> bool {
        self.params = vec![rate as u32, max];
        true
    }
    fn process(&mut self, audio: &mut [&mut [f32]], events: Events<'_>) -> i32 {
        self.blocks += 1;
        audio.iter_mut().for_each(|channel| channel.fill(f32::from(self.blocks)));
        events.0.len() as i32
    }
    fn save(&self, to: &mut Vec<u8>) {
        to.push(self.blocks);
    }
    fn load(&mut self, from: &[u8]) -> bool {
        self.blocks = from[0];
        true
    }
    fn editor(&mut self) -> Option<Box<dyn FnMut(&str) -> u8 + Send + '_>> {
        Some(Box::new(|text| {
            self.blocks += text.len() as u8;
            self.blocks
        }))
    }
}
#[slot]
static PLUGIN: dyn Plugin = Synth { params: Vec::new(), blocks: 0 };

#[test]
fn a_plugin() {
    locked!(PLUGIN: dyn Plugin = Synth { params: Vec::new(), blocks: 0 };
    |plugin| {
        let (mut left, mut right, mut saved) = ([0.0; 2], [0.0; 3], Vec::new());
        let active = plugin.activate(48_000.0, 64) && plugin.load(&[3]);
        let events = plugin.process(&mut [&mut left, &mut right], Events(&[1, 2]));
        plugin.save(&mut saved);
        (active, events, left, right, saved)
    };
    lends |plugin| {
        let typed = plugin.editor().map(|mut editor| editor("abc"));
        (typed, plugin.id().to_owned(), plugin.params().to_vec())
    });
}

/// An encoder into a buffer of its caller's.
#[dispatch]
pub trait Encoder<Item: ?Sized, const N: usize = 4> {
    type Error: From<std::io::Error> + Send;
    fn encode(&mut self, item: &Item, to: &mut [u8; N]) -> Result<usize, Self::Error>;
    fn max(&self) -> usize {
        N
    }
}
struct Plain(usize);
impl Encoder<str, 3> for Plain {
    type Error = std::io::Error;
    fn encode(&mut self, item: &str, to: &mut [u8; 3]) -> Result<usize, std::io::Error> {
        self.0 += item.len();
        to.copy_from_slice(&item.as_bytes()[..3]);
        Ok(self.0)
    }
}
#[slot]
static ENCODER: dyn Encoder<str, 3, Error = std::io::Error> = Plain(0);

#[test]
fn an_encoder() {
    locked!(ENCODER: dyn Encoder<str, 3, Error = std::io::Error> = Plain(1);
        |encoder| {
            let mut bytes = [0; 3];
            (encoder.encode("abcd", &mut bytes).unwrap(), encoder.max(), bytes)
        };
        lends |encoder| encoder.max());
}

/// Two traits that a third joins: their associated types are said, for no method of its own names both.
pub trait Encodes<Item> {
    type Error;
    fn encodes(&mut self, item: Item) -> Result<(), Self::Error>;
}
pub trait Decodes {
    type Item;
    fn decodes(&mut self) -> Option<Self::Item>;
}
#[dispatch(type Error, type Item)]
pub trait Codec: Encodes<u8> + Decodes + Send {
    fn reset(&mut self);
    fn pending(&self) -> usize;
}
#[derive(Default)]
struct Queue(Vec<u8>);
impl Encodes<u8> for Queue {
    type Error = String;
    fn encodes(&mut self, item: u8) -> Result<(), String> {
        self.0.push(item);
        Ok(())
    }
}
impl Decodes for Queue {
    type Item = u16;
    fn decodes(&mut self) -> Option<u16> {
        self.0.pop().map(u16::from)
    }
}
impl Codec for Queue {
    fn reset(&mut self) {
        self.0.clear();
    }
    fn pending(&self) -> usize {
        self.0.len()
    }
}
#[slot]
static CODEC: dyn Codec<Error = String, Item = u16> = Queue(Vec::new());

#[test]
fn a_codec_of_two() {
    locked!(CODEC: dyn Codec<Error = String, Item = u16> = Queue(vec![1]);
        |codec| {
            let before = codec.pending();
            codec.reset();
            (before, codec.pending())
        };
        lends |codec| (codec.encodes(5), codec.encodes(6), codec.decodes(), codec.pending()));
}
