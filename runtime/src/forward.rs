//! The traits that are everywhere, for whatever holds an implementor whose trait asks for them.

use core::error::Error;
use core::fmt::{self, Display};
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::instance::Instance;
use crate::interface::{Exclusive, Interface, Shared};
use crate::lease::Lease;
use crate::patched::Patched;
use crate::quiesce::Section;
use crate::slot::{Bound, Definition, Held, Locked, ReadLocked, Slot};

impl<D: Definition<Interface: Shared + Display>> Display for Slot<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _section = Section::enter();
        self.held().fmt(f)
    }
}

impl<D: Definition<Interface: Shared + Error>> Error for Slot<D> {}

impl<D: Definition<Interface: Display>> Display for Bound<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.__within().object().fmt(f)
    }
}

impl<D: Definition<Interface: Error>> Error for Bound<'_, D> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.__within().object().source()
    }
}

impl<D: Definition<Interface: Display>> Display for ReadLocked<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object().fmt(f)
    }
}

impl<D: Definition<Interface: Display>> Display for Locked<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object().fmt(f)
    }
}

impl<I: ?Sized + Interface + Display> Display for Held<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<I: ?Sized + Interface + Error> Error for Held<'_, I> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        (**self).source()
    }
}

impl<I: ?Sized + Interface + Display> Display for Instance<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<I: ?Sized + Interface + Error> Error for Instance<I> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        (**self).source()
    }
}

impl<I: ?Sized + Shared + Display> Display for Lease<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<I: ?Sized + Shared + Error> Error for Lease<I> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        (**self).source()
    }
}

impl<I: ?Sized + Interface + Display> Display for Patched<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|instance| instance.fmt(f))
    }
}

impl<I: ?Sized + Interface + Error> Error for Patched<I> {}

/// What is alone with its implementor.
pub(crate) trait Alone {
    type Object: ?Sized;

    fn alone<R>(&mut self, change: impl FnOnce(&mut Self::Object) -> R) -> R;
}

impl<D: Definition> Alone for Locked<D> {
    type Object = D::Interface;

    fn alone<R>(&mut self, change: impl FnOnce(&mut D::Interface) -> R) -> R {
        change(self.object_mut())
    }
}

impl<I: ?Sized + Exclusive> Alone for Instance<I> {
    type Object = I;

    fn alone<R>(&mut self, change: impl FnOnce(&mut I) -> R) -> R {
        change(self)
    }
}

impl<I: ?Sized + Interface> Alone for Patched<I> {
    type Object = I;

    fn alone<R>(&mut self, change: impl FnOnce(&mut I) -> R) -> R {
        self.with_mut(change)
    }
}

/// Traits whose methods take `&mut self`.
macro_rules! alone {
    ([$($generics:tt)*] $target:ty, $interface:ty) => {
        impl<$($generics)*> Iterator for $target
        where
            $interface: Iterator,
        {
            type Item = <$interface as Iterator>::Item;

            fn next(&mut self) -> Option<Self::Item> {
                self.alone(|object| object.next())
            }
        }

        impl<$($generics)*> Read for $target
        where
            $interface: Read,
        {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.alone(|object| object.read(buffer))
            }
        }

        impl<$($generics)*> Write for $target
        where
            $interface: Write,
        {
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                self.alone(|object| object.write(buffer))
            }

            fn flush(&mut self) -> io::Result<()> {
                self.alone(|object| object.flush())
            }
        }

        impl<$($generics)*> Seek for $target
        where
            $interface: Seek,
        {
            fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
                self.alone(|object| object.seek(position))
            }
        }
    };
}
alone!([D: Definition] Locked<D>, D::Interface);
alone!([I: ?Sized + Exclusive] Instance<I>, I);
alone!([I: ?Sized + Interface] Patched<I>, I);
