//! The files that the rack writes.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::live::Live;
use crate::picture::Picture;
use crate::rotation::Rotation;
use crate::wav::{self, Sound};

/// What was heard, and a picture of it.
pub struct Outputs {
    sound: PathBuf,
    picture: PathBuf,
}

impl Outputs {
    /// Creates both files where they are not there yet, and the folders they are to be in: a run is too long to
    /// find out at its end that they cannot be written. What is in them stays until then.
    pub fn create(sound: &Path, picture: &Path) -> Result<Self, Failure> {
        let create = |path: &Path| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            folder
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| OpenOptions::new().write(true).create(true).truncate(false).open(path))
                .map(|_| path.to_owned())
                .map_err(|error| Failure::refused(format!("{} cannot be written: {error}", path.display())))
        };
        Ok(Self { sound: create(sound)?, picture: create(picture)? })
    }

    /// Writes both.
    pub fn write(&self, rotation: &Rotation, live: &Live) -> Result<(), Failure> {
        fn broken<E: fmt::Display>(path: &Path) -> impl Fn(E) -> Failure {
            move |error| Failure::broken(format!("{} could not be written: {error}", path.display()))
        }
        let heard = Sound { samples: live.recording.samples.clone(), ..rotation.sound.clone() };
        let file = File::create(&self.sound).map_err(broken(&self.sound))?;
        wav::write(file, &heard).map_err(broken(&self.sound))?;

        let swapped = live.swapped.as_ref();
        let picture = Picture {
            rotation,
            recording: &live.recording,
            marks: swapped.map(|swapped| &swapped.marks),
            swaps: swapped.map_or(0, |swapped| swapped.swaps),
            run_seconds: live.elapsed.as_secs_f64(),
        };
        let file = File::create(&self.picture).map_err(broken(&self.picture))?;
        picture.write(BufWriter::new(file)).map_err(broken(&self.picture))
    }
}

/// Where they are.
impl fmt::Display for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrote {} and {}", self.sound.display(), self.picture.display())
    }
}
