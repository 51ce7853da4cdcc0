//! The effects that take turns in the slot, and what each makes of the sound when nothing is ever swapped.

use std::path::Path;
use std::sync::Arc;

use hotcall::{Instance, Library};
use hotcall_effects::{Bypass, Effect, Gain};
use hotcall_examples::plugins;

use crate::failure::Failure;
use crate::wav::Sound;

/// This workspace's plugins: the package, and the settings that take turns.
pub const PACKAGES: [(&str, [&str; 2]); 2] =
    [("hotcall-folder", ["2.5", "6"]), ("hotcall-crusher", ["5", "3"])];
/// The most effects there can be: a set of them is a word.
pub const MOST: usize = 64;

/// Where an effect comes from.
#[derive(Clone)]
pub enum Source {
    /// This program: what stands in the slot from the start.
    Bypass,
    /// This program.
    Gain(f32),
    /// A shared library; the export of this name, where it has several.
    Plugin { library: Arc<Library>, name: Option<String>, config: &'static str },
}

impl Source {
    /// Makes an instance of the effect: a new one for each swap.
    pub fn instance(&self) -> Result<Instance<dyn Effect>, hotcall::Error> {
        match self {
            Self::Bypass => Ok(Instance::new(Bypass)),
            Self::Gain(factor) => Ok(Instance::new(Gain::new(*factor))),
            Self::Plugin { library, name: None, config } => library.instantiate::<dyn Effect>(config),
            Self::Plugin { library, name: Some(name), config } => {
                library.instantiate_named::<dyn Effect>(name, config)
            }
        }
    }

    /// The effects of this program.
    pub fn built_in() -> Vec<Self> {
        vec![Self::Bypass, Self::Gain(0.6)]
    }

    /// The effects in the library at `path`, each with every one of `configs`.
    pub fn plugins(path: &Path, configs: &[&'static str]) -> Result<Vec<Self>, hotcall::Error> {
        let library = Arc::new(plugins::open(path)?);
        let effects = library.exports().iter().filter(|export| export.interface() == "dyn Effect");
        let mut names: Vec<_> = effects.map(|export| Some(export.name().to_owned())).collect();
        if names.len() < 2 {
            // The only one needs no name; and where there is none, the library says what it has instead.
            names = vec![None];
        }
        let mut sources = Vec::new();
        for name in names {
            for config in configs {
                let source = Self::Plugin { library: Arc::clone(&library), name: name.clone(), config };
                drop(source.instance()?);
                sources.push(source);
            }
        }
        Ok(sources)
    }
}

/// One effect of the rotation.
pub struct Entry {
    /// What it calls itself.
    pub name: String,
    /// What it makes of the whole sound, rendered offline.
    pub rendering: Vec<f32>,
    /// What it makes of the probe.
    pub probed: f32,
    source: Source,
}

impl Entry {
    /// A new instance of the effect.
    pub fn instance(&self) -> Result<Instance<dyn Effect>, hotcall::Error> {
        self.source.instance()
    }

    /// Whether it comes from a shared library.
    pub fn is_plugin(&self) -> bool {
        matches!(self.source, Source::Plugin { .. })
    }
}

/// The effects in the order of their turns, over and over: turn `n` is that of entry `n % entries.len()`.
pub struct Rotation {
    pub sound: Sound,
    pub entries: Vec<Entry>,
    /// A sample of which each effect makes something else, as far as there is one.
    pub probe: f32,
}

impl Rotation {
    /// Renders the sound with each effect, alone.
    pub fn render(sound: Sound, sources: Vec<Source>) -> Result<Self, Failure> {
        if sources.len() > MOST {
            return Err(Failure::refused(format!("{} effects are too many: {MOST} at most", sources.len())));
        }
        let mut entries = Vec::with_capacity(sources.len());
        for source in sources {
            let (first, second) = (source.instance(), source.instance());
            let (first, second) = (first.map_err(Failure::refused)?, second.map_err(Failure::refused)?);
            let rendering = render(&first, &sound.samples);
            // Another instance, and the same once more: an effect that remembers anything gives itself away.
            if !same_bits(&rendering, &render(&second, &sound.samples))
                || !same_bits(&rendering, &render(&first, &sound.samples))
            {
                return Err(Failure::refused(format!(
                    "effect `{}` answers the same sample differently from time to time: the rack's threads share \
                     one instance, and it can only check effects that remember nothing",
                    first.name()
                )));
            }
            entries.push(Entry { name: first.name(), rendering, probed: 0.0, source });
        }
        let probe = probe(&mut entries)?;
        Ok(Self { sound, entries, probe })
    }

    /// The entry whose turn it is.
    pub fn turn(&self, turn: u64) -> &Entry {
        let entries = self.entries.len() as u64;
        &self.entries[(turn % entries) as usize]
    }

    /// How much of the sound, 0 to 1, tells every effect from every other. In silence they all agree.
    pub fn telling(&self) -> f64 {
        let telling = |position: &usize| {
            let value = |entry: &Entry| entry.rendering[*position].to_bits();
            let entries = &self.entries;
            entries.iter().enumerate().all(|(i, a)| entries[i + 1..].iter().all(|b| value(a) != value(b)))
        };
        let samples = self.sound.samples.len();
        (0..samples).filter(telling).count() as f64 / samples as f64
    }
}

fn render(effect: &Instance<dyn Effect>, samples: &[f32]) -> Vec<f32> {
    samples.iter().map(|&sample| effect.process(sample)).collect()
}

/// Whether two stretches of sound are the same, bit by bit.
pub fn same_bits(one: &[f32], other: &[f32]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Chooses the probe, and notes what each effect makes of it.
fn probe(entries: &mut [Entry]) -> Result<f32, Failure> {
    const CANDIDATES: [f32; 6] = [0.3717, -0.2319, 0.6271, 0.0913, -0.8137, 0.5101];
    let mut best = (0, 0.0, Vec::new());
    for candidate in CANDIDATES {
        let mut answers = Vec::with_capacity(entries.len());
        for entry in &*entries {
            answers.push(entry.instance().map_err(Failure::refused)?.process(candidate));
        }
        let mut different: Vec<u32> = answers.iter().map(|answer| answer.to_bits()).collect();
        different.sort_unstable();
        different.dedup();
        if different.len() > best.0 {
            best = (different.len(), candidate, answers);
        }
    }
    let (_, probe, answers) = best;
    for (entry, answer) in entries.iter_mut().zip(answers) {
        entry.probed = answer;
    }
    Ok(probe)
}

#[cfg(test)]
pub mod tests {
    use super::{Rotation, Source, same_bits};
    use crate::tune;

    /// A rotation that needs no plugin.
    pub fn without_plugins() -> Rotation {
        let sources = vec![Source::Bypass, Source::Gain(0.6), Source::Gain(-0.5)];
        Rotation::render(tune::synthesise(), sources).unwrap()
    }

    #[test]
    fn renders_each_effect_and_tells_them_apart() {
        let rotation = without_plugins();
        assert!(same_bits(&rotation.entries[0].rendering, &rotation.sound.samples));
        assert_eq!(rotation.turn(4).name, "gain 0.6");
        assert!(rotation.telling() > 0.9);
        let probed: Vec<f32> = rotation.entries.iter().map(|entry| entry.probed).collect();
        assert_eq!(probed, [rotation.probe, rotation.probe * 0.6, rotation.probe * -0.5]);
    }

    #[test]
    fn effects_that_agree_tell_nothing() {
        let rotation = Rotation::render(tune::synthesise(), vec![Source::Bypass, Source::Gain(1.0)]).unwrap();
        assert_eq!(rotation.telling(), 0.0);
    }
}
