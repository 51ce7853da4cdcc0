//! The files that the rack writes.

use std::fmt;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::live::Live;
use crate::picture::Picture;
use crate::rotation::Rotation;
use crate::wav::{self, Sound};

/// What was heard, and a picture of it. Both files are open from the start: a run is too long to find out at
/// its end that they cannot be.
pub struct Outputs {
    sound: (PathBuf, File),
    picture: (PathBuf, File),
}

impl Outputs {
    /// Creates both files, and the folders they are to be in.
    pub fn create(sound: &Path, picture: &Path) -> Result<Self, Failure> {
        let create = |path: &Path| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            folder
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| File::create(path))
                .map(|file| (path.to_owned(), file))
                .map_err(|error| Failure::refused(format!("{} cannot be written: {error}", path.display())))
        };
        Ok(Self { sound: create(sound)?, picture: create(picture)? })
    }

    /// Writes both.
    pub fn write(&self, rotation: &Rotation, live: &Live) -> Result<(), Failure> {
        let broken = |path: &Path, error: &dyn fmt::Display| {
            Failure::broken(format!("{} could not be written: {error}", path.display()))
        };
        let (path, file) = &self.sound;
        let heard = Sound { samples: live.recording.samples.clone(), ..rotation.sound.clone() };
        wav::write(file, &heard).map_err(|error| broken(path, &error))?;

        let (path, file) = &self.picture;
        let swapped = live.swapped.as_ref();
        let picture = Picture {
            rotation,
            recording: &live.recording,
            marks: swapped.map(|swapped| &swapped.marks),
            swaps: swapped.map_or(0, |swapped| swapped.swaps),
            run_seconds: live.elapsed.as_secs_f64(),
        };
        picture.write(BufWriter::new(file)).map_err(|error| broken(path, &error))
    }
}

/// Where they are.
impl fmt::Display for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrote {} and {}", self.sound.0.display(), self.picture.0.display())
    }
}
