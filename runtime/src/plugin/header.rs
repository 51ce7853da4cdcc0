//! The record that `export!` leaves in a library: how it is written, and how it is read with suspicion.
//!
//! # Format
//!
//! The section `hotcall_plugin` holds one record per export, one after the other; zero bytes between them
//! are padding. Numbers are little-endian; a *text* is its length in a `u32` and as many bytes of UTF-8.
//!
//! ```text
//!    0  magic          8 bytes, 7f "hotcall"
//!    8  format         u32
//!   12  length         u32, of the whole record
//!   16  fingerprint    u64, FNV-1a 64 of all that follows
//!   24  hotcall        text, version of hotcall         \  these stay in place in every format, so that
//!       compiler       text, see build.rs               /  any two versions can name each other
//!       panic          text, `unwind` or `abort`
//!       layout         u64, how the compiler lays out a type of many fields
//!       backend        text, `patched` or `portable`: it matters where both sides have a slot
//!       name           text, of the export
//!       entry          text, symbol of the constructor
//!       package        text, text: name and version of the package that exports
//!       hands over     u32, 0 or 1: it saves and restores state
//!       interface      text, `dyn Effect`
//!       crate          text, text: name and version of the crate that declares the interface
//!       since          text, the version of that crate since which the interface is compatible; empty for this version alone
//!       definitions    u32, and for each: name text, hash u64
//!       shares memory  u32, 0 or 1
//!       methods        u32, and for each: name text, signature text,
//!                      u32, and for each argument and the result: size u64, alignment u64
//! ```
//!
//! A program has the same records, for itself and for each of its interfaces, in notes (see `note`): name and entry are empty.
//!
//! The writer runs in constant evaluation: what reaches the file is an array of bytes without a single
//! relocation, so that the reader needs to know nothing of how the library would be loaded.
//!
//! The hash is FNV-1a by Fowler, Noll and Vo (`draft-eastlake-fnv`). It finds damage, and tells two builds
//! apart in a log. It decides nothing: interfaces are compared in full.

use core::fmt;

use crate::interface::Description;

/// How a record begins.
pub const MAGIC: [u8; 8] = *b"\x7fhotcall";
/// The format that this version writes and reads.
pub const FORMAT: u32 = 3;
/// The section of the library.
#[cfg(target_os = "linux")]
pub(crate) const SECTION: &str = "hotcall_plugin";

const HOTCALL: &str = env!("HOTCALL_SOURCE");
const COMPILER: &str = env!("HOTCALL_COMPILER");
/// What the runtime itself was compiled with. A library's record says it of the crate that exports.
const PANIC: &str = if cfg!(panic = "abort") { "abort" } else { "unwind" };

/// How calls of slots are made.
pub(crate) const BACKEND: &str = if cfg!(patched) { "patched" } else { "portable" };

/// Differs where a compiler was told to lay types out at random, or by another rule.
const LAYOUT: u64 = {
    #[allow(dead_code, reason = "it is only measured")]
    struct Probe {
        a: u8,
        b: u32,
        c: u16,
        d: [u8; 3],
        e: u64,
        f: (u8, u16, u32),
        g: Option<u32>,
    }
    use core::mem::offset_of;
    let offsets = [
        offset_of!(Probe, a) as u8,
        offset_of!(Probe, b) as u8,
        offset_of!(Probe, c) as u8,
        offset_of!(Probe, d) as u8,
        offset_of!(Probe, e) as u8,
        offset_of!(Probe, f) as u8,
        offset_of!(Probe, f.0) as u8,
        offset_of!(Probe, f.1) as u8,
        offset_of!(Probe, f.2) as u8,
        offset_of!(Probe, g) as u8,
        size_of::<Probe>() as u8,
    ];
    fnv1a(&offsets)
};

/// The record of no interface: it says what this copy of hotcall was built with.
pub(super) const OF_THIS_BUILD: Record = Record::known(&Description {
    name: "",
    crate_name: "",
    crate_version: "",
    since: "",
    definitions: &[],
    shares_memory: false,
    leaves_nothing: false,
    methods: &[],
});

const LENGTH_AT: usize = 12;
const FINGERPRINT_AT: usize = 16;
const BODY_AT: usize = 24;

/// FNV-1a, 64 bits wide.
#[must_use]
pub const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0000_0100_0000_01b3);
        rest = tail;
    }
    hash
}

/// What `export!` says of one export.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    interface: &'static Description,
    name: &'static str,
    entry: &'static str,
    panic: &'static str,
    package: (&'static str, &'static str),
    hands_over: bool,
}

impl Record {
    /// The record of the export `name`, whose constructor has the symbol `entry`, in a crate whose panics do as `panic` says.
    #[must_use]
    pub const fn new(
        interface: &'static Description,
        name: &'static str,
        entry: &'static str,
        panic: &'static str,
    ) -> Self {
        Self { interface, name, entry, panic, package: ("", ""), hands_over: false }
    }

    /// Says which package exports it: its name and its version.
    #[must_use]
    pub const fn of_package(mut self, name: &'static str, version: &'static str) -> Self {
        self.package = (name, version);
        self
    }

    /// Says whether the export saves and restores its state.
    #[must_use]
    pub const fn hands_over(mut self, hands_over: bool) -> Self {
        self.hands_over = hands_over;
        self
    }

    /// The record of an interface that a program knows.
    #[must_use]
    pub const fn known(interface: &'static Description) -> Self {
        Self { interface, name: "", entry: "", panic: PANIC, package: ("", ""), hands_over: false }
    }

    /// How many bytes it takes.
    #[must_use]
    pub const fn length(&self) -> usize {
        // The writer counts on past the end of its array.
        self.write::<0>(HOTCALL, COMPILER).at
    }

    /// The bytes, for an array of [`Record::length`].
    #[must_use]
    pub const fn encode<const N: usize>(&self) -> [u8; N] {
        self.encode_as(HOTCALL, COMPILER)
    }

    const fn encode_as<const N: usize>(&self, hotcall: &str, compiler: &str) -> [u8; N] {
        let Writer { mut bytes, at } = self.write::<N>(hotcall, compiler);
        assert!(at == N, "the array must have the length of the record");
        assert!(N <= u32::MAX as usize, "the record is too long");
        overwrite(&mut bytes, LENGTH_AT, &(N as u32).to_le_bytes());
        let fingerprint = fnv1a(bytes.split_at(BODY_AT).1);
        overwrite(&mut bytes, FINGERPRINT_AT, &fingerprint.to_le_bytes());
        bytes
    }

    const fn write<const N: usize>(&self, hotcall: &str, compiler: &str) -> Writer<N> {
        let mut writer = Writer { bytes: [0; N], at: 0 };
        writer.bytes(&MAGIC);
        writer.number(FORMAT as usize);
        writer.bytes(&[0; BODY_AT - LENGTH_AT]);
        writer.text(hotcall);
        writer.text(compiler);
        writer.text(self.panic);
        writer.bytes(&LAYOUT.to_le_bytes());
        writer.text(BACKEND);
        writer.text(self.name);
        writer.text(self.entry);
        writer.text(self.package.0);
        writer.text(self.package.1);
        writer.number(self.hands_over as usize);
        writer.text(self.interface.name);
        writer.text(self.interface.crate_name);
        writer.text(self.interface.crate_version);
        writer.text(self.interface.since);
        writer.number(self.interface.definitions.len());
        let mut definitions = self.interface.definitions;
        while let [definition, tail @ ..] = definitions {
            writer.text(definition.name);
            writer.bytes(&definition.hash.to_le_bytes());
            definitions = tail;
        }
        writer.number(self.interface.shares_memory as usize);
        writer.number(self.interface.methods.len());
        let mut methods = self.interface.methods;
        while let [method, tail @ ..] = methods {
            writer.text(method.name);
            writer.text(method.signature);
            writer.number(method.layout.len());
            let mut layout = method.layout;
            while let [(size, alignment), tail @ ..] = layout {
                writer.bytes(&(*size as u64).to_le_bytes());
                writer.bytes(&(*alignment as u64).to_le_bytes());
                layout = tail;
            }
            methods = tail;
        }
        writer
    }
}

const fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes.split_at_mut(at).1.split_at_mut(with.len()).0.copy_from_slice(with);
}

/// Writes what fits into `N` bytes and counts all of it.
struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    const fn bytes(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        if end <= N {
            overwrite(&mut self.bytes, self.at, bytes);
        }
        self.at = end;
    }

    const fn number(&mut self, number: usize) {
        assert!(number <= u32::MAX as usize, "the description is too long");
        self.bytes(&(number as u32).to_le_bytes());
    }

    const fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes(text.as_bytes());
    }
}

/// What a program or a library was built with: all that must be equal before interfaces are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) format: u32,
    pub(crate) hotcall: String,
    pub(crate) compiler: String,
    /// Nothing where the format is another.
    pub(crate) panic: String,
    layout: u64,
}

impl Build {
    /// That of this program.
    pub(crate) fn host() -> Self {
        Self {
            format: FORMAT,
            hotcall: HOTCALL.to_owned(),
            compiler: COMPILER.to_owned(),
            panic: PANIC.to_owned(),
            layout: LAYOUT,
        }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hotcall {} (header format {}) and {}", self.hotcall, self.format, self.compiler)?;
        if !self.panic.is_empty() {
            write!(f, ", with panic = \"{}\"", self.panic)?;
        }
        if self.layout != LAYOUT && self.layout != 0 {
            write!(f, ", with types laid out otherwise ({:016x})", self.layout)?;
        }
        Ok(())
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fingerprint: u64,
    pub(crate) backend: String,
    pub(crate) name: String,
    pub(crate) entry: String,
    pub(crate) package: (String, String),
    pub(crate) hands_over: bool,
    pub(crate) interface: InterfaceRecord,
}

/// A [`Description`] as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceRecord {
    pub(crate) name: String,
    pub(crate) crate_name: String,
    pub(crate) crate_version: String,
    pub(crate) since: String,
    pub(crate) definitions: Vec<(String, u64)>,
    pub(crate) shares_memory: bool,
    pub(crate) methods: Vec<MethodRecord>,
}

/// A [`crate::interface::Method`] as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MethodRecord {
    pub(crate) name: String,
    pub(crate) signature: String,
    pub(crate) layout: Vec<(u64, u64)>,
}

/// Why a section was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It is not a sequence of records.
    Malformed(String),
    /// It was written by another build.
    Build(Build),
}

/// Reads every record of a section, all of them written by a build like `host`.
pub(crate) fn decode(section: &[u8], host: &Build) -> Result<Vec<Header>, Flaw> {
    let mut headers = Vec::new();
    for record in records(section) {
        let record = record?;
        if record.build != *host {
            return Err(Flaw::Build(record.build));
        }
        headers.push(record.exported()?);
    }
    if headers.is_empty() {
        return Err(Flaw::Malformed(EMPTY.to_owned()));
    }
    Ok(headers)
}

/// What is wrong with a section without records.
pub(crate) const EMPTY: &str = "its header is empty";

/// The records of a section, whatever build wrote them. It ends with the first that is damaged.
pub(crate) fn records(section: &[u8]) -> impl Iterator<Item = Result<Opened<'_>, Flaw>> {
    let mut reader = Reader { section, at: 0 };
    core::iter::from_fn(move || {
        while section.get(reader.at) == Some(&0) {
            reader.at += 1;
        }
        if reader.at == section.len() {
            return None;
        }
        let opened = Opened::next(&mut reader);
        if opened.is_err() {
            reader.at = section.len();
        }
        Some(opened)
    })
}

/// A record of which it is known who wrote it: the rest can be read where that was the same format.
pub(crate) struct Opened<'a> {
    pub(crate) build: Build,
    fingerprint: u64,
    start: usize,
    rest: Reader<'a>,
}

impl<'a> Opened<'a> {
    fn next(reader: &mut Reader<'a>) -> Result<Self, Flaw> {
        let start = reader.at;
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(reader.flaw(start, "the magic number is missing"));
        }
        let format = reader.u32()?;
        let length = reader.u32()? as usize;
        let fingerprint = reader.u64()?;
        let body_length = length
            .checked_sub(BODY_AT)
            .ok_or_else(|| reader.flaw(start, "the record's length is impossible"))?;
        let body = reader.at;
        if fnv1a(reader.take(body_length)?) != fingerprint {
            return Err(reader.flaw(start, "the record's fingerprint is not that of its bytes"));
        }
        // From here on reads end with the record, and positions in messages are still those of the section.
        let mut rest = Reader { section: &reader.section[..reader.at], at: body };
        let mut build =
            Build { format, hotcall: rest.text()?, compiler: rest.text()?, panic: String::new(), layout: 0 };
        if format == FORMAT {
            build.panic = rest.text()?;
            build.layout = rest.u64()?;
        }
        Ok(Self { build, fingerprint, start, rest })
    }

    /// What it says; nothing, where it is of another format.
    pub(crate) fn read(self) -> Result<Option<Header>, Flaw> {
        let Self { build, fingerprint, mut rest, .. } = self;
        if build.format != FORMAT {
            return Ok(None);
        }
        let header = Header {
            fingerprint,
            backend: rest.text()?,
            name: rest.text()?,
            entry: rest.text()?,
            package: (rest.text()?, rest.text()?),
            hands_over: rest.u32()? != 0,
            interface: InterfaceRecord {
                name: rest.text()?,
                crate_name: rest.text()?,
                crate_version: rest.text()?,
                since: rest.text()?,
                definitions: rest.list(|reader| Ok((reader.text()?, reader.u64()?)))?,
                shares_memory: rest.u32()? != 0,
                methods: rest.list(Reader::method)?,
            },
        };
        if rest.at != rest.section.len() {
            return Err(rest.flaw(rest.at, "the record is longer than what it holds"));
        }
        Ok(Some(header))
    }

    /// As [`read`](Self::read), of this format, of an export.
    pub(crate) fn exported(self) -> Result<Header, Flaw> {
        let (start, section) = (self.start, self.rest.section);
        let flaw = |what| Reader { section, at: start }.flaw(start, what);
        let header = self.read()?.ok_or_else(|| flaw("the record is of another format"))?;
        if header.entry.is_empty() || header.entry.contains('\0') {
            return Err(flaw("the entry's symbol is not a symbol"));
        }
        Ok(header)
    }
}

/// Reads forward through bytes that nothing vouches for.
///
/// Invariant: `at <= section.len()`.
struct Reader<'a> {
    section: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn flaw(&self, at: usize, what: &str) -> Flaw {
        Flaw::Malformed(format!("its header is damaged at byte {at} of {}: {what}", self.section.len()))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Flaw> {
        let rest = &self.section[self.at..];
        let bytes = rest.get(..length).ok_or_else(|| {
            self.flaw(self.at, &format!("{length} bytes are needed, {} are left", rest.len()))
        })?;
        self.at += length;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Flaw> {
        self.array().map(u64::from_le_bytes)
    }

    /// Texts end up in messages and terminals: control characters have no business in them.
    fn text(&mut self) -> Result<String, Flaw> {
        let start = self.at;
        let length = self.u32()? as usize;
        let text = core::str::from_utf8(self.take(length)?)
            .map_err(|error| self.flaw(start, &format!("a text is not UTF-8: {error}")))?;
        if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
            return Err(self.flaw(start, "a text holds control characters"));
        }
        Ok(text.to_owned())
    }

    /// No room is reserved for the count that the header claims: the bytes have to be there.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, Flaw>) -> Result<Vec<T>, Flaw> {
        let count = self.u32()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn method(&mut self) -> Result<MethodRecord, Flaw> {
        Ok(MethodRecord {
            name: self.text()?,
            signature: self.text()?,
            layout: self.list(|reader| Ok((reader.u64()?, reader.u64()?)))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::{Method, TypeDefinition};

    const EFFECT: Description = Description {
        name: "dyn Effect",
        crate_name: "effects",
        crate_version: "1.2.3",
        since: "1.1.0",
        definitions: &[TypeDefinition { name: "Mode", hash: 7 }],
        shares_memory: true,
        leaves_nothing: false,
        methods: &[
            Method { name: "process", signature: "process(&self, x: f32) -> f32", layout: &[(4, 4), (4, 4)] },
            Method { name: "name", signature: "name(&self) -> String", layout: &[(24, 8)] },
        ],
    };
    const RECORD: Record = Record::new(&EFFECT, "reverb", "hotcall_export_1", PANIC)
        .of_package("reverbs", "0.4.1")
        .hands_over(true);
    static BYTES: [u8; RECORD.length()] = RECORD.encode();

    fn read(bytes: &[u8]) -> Result<Vec<Header>, Flaw> {
        decode(bytes, &Build::host())
    }

    fn malformed(bytes: &[u8]) -> String {
        match read(bytes) {
            Err(Flaw::Malformed(reason)) => reason,
            other => panic!("accepted: {other:?}"),
        }
    }

    /// Makes a mutation reach the parser: the fingerprint would stop it before.
    fn refingerprint(bytes: &mut [u8]) {
        let fingerprint = fnv1a(&bytes[BODY_AT..]);
        overwrite(bytes, FINGERPRINT_AT, &fingerprint.to_le_bytes());
    }

    #[test]
    fn fnv1a_agrees_with_its_published_vectors() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn what_was_written_is_read() {
        let headers = read(&BYTES).unwrap();
        let [header] = headers.as_slice() else { panic!("one record: {headers:?}") };
        assert_eq!((header.name.as_str(), header.entry.as_str()), ("reverb", "hotcall_export_1"));
        assert_eq!(header.package, ("reverbs".to_owned(), "0.4.1".to_owned()));
        assert!(header.hands_over);
        assert_eq!(header.interface.name, "dyn Effect");
        assert_eq!(header.interface.crate_name, "effects");
        assert_eq!(header.interface.crate_version, "1.2.3");
        assert_eq!(header.interface.since, "1.1.0");
        assert_eq!(header.interface.definitions, [("Mode".to_owned(), 7)]);
        assert!(header.interface.shares_memory);
        assert_eq!(header.interface.methods[0].signature, "process(&self, x: f32) -> f32");
        assert_eq!(header.interface.methods[0].layout, [(4, 4), (4, 4)]);
        assert_eq!(header.interface.methods[1].layout, [(24, 8)]);
        assert_eq!(&BYTES[..12], b"\x7fhotcall\x03\0\0\0");
        assert_eq!(BYTES[12..16], (BYTES.len() as u32).to_le_bytes());
    }

    #[test]
    fn records_may_be_padded() {
        let section = [&BYTES[..], &[0; 5], &BYTES[..], &[0; 9]].concat();
        assert_eq!(read(&section).unwrap().len(), 2);
        assert_eq!(malformed(&[0; 64]), "its header is empty");
        assert_eq!(malformed(&[]), "its header is empty");
    }

    #[test]
    fn another_build_is_named() {
        const LENGTH: usize = RECORD.write::<0>("9.9.9", "another compiler").at;
        let mut bytes = RECORD.encode_as::<LENGTH>("9.9.9", "another compiler");
        let Err(Flaw::Build(build)) = read(&bytes) else { panic!("accepted") };
        assert_eq!(
            build.to_string(),
            "hotcall 9.9.9 (header format 3) and another compiler, with panic = \"unwind\""
        );
        // A later format still names its version and compiler, whatever follows them.
        bytes[8] = 4;
        let Err(Flaw::Build(build)) = read(&bytes) else { panic!("accepted") };
        assert_eq!(build.to_string(), "hotcall 9.9.9 (header format 4) and another compiler");
        assert!(matches!(read(&[&BYTES[..], &bytes[..]].concat()), Err(Flaw::Build(_))));
    }

    #[test]
    fn every_truncation_is_refused() {
        for length in 1..BYTES.len() {
            malformed(&BYTES[..length]);
            let mut shorter = BYTES[..length].to_vec();
            if length >= BODY_AT {
                overwrite(&mut shorter, LENGTH_AT, &(length as u32).to_le_bytes());
                refingerprint(&mut shorter);
                malformed(&shorter);
            }
        }
        let mut longer = [&BYTES[..], &[0]].concat();
        overwrite(&mut longer, LENGTH_AT, &(BYTES.len() as u32 + 1).to_le_bytes());
        refingerprint(&mut longer);
        assert!(malformed(&longer).contains("longer than what it holds"));
    }

    #[test]
    fn hostile_texts_are_refused() {
        let at = BYTES.windows(6).position(|window| window == b"reverb").unwrap();
        let mut bytes = BYTES;
        bytes[at] = 0xff;
        refingerprint(&mut bytes);
        assert!(malformed(&bytes).contains("not UTF-8"));
        bytes[at] = 0x1b;
        refingerprint(&mut bytes);
        assert!(malformed(&bytes).contains("control characters"));
    }

    #[test]
    fn no_mutation_panics() {
        let mut random = crate::plugin::testing::random();
        let edges = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff];
        for at in 0..BYTES.len() {
            for edge in edges {
                let mut bytes = BYTES;
                bytes[at] = edge;
                // The fingerprint does not cover what stands before it; the magic number and the length are
                // checked for themselves.
                assert!(read(&bytes).is_err() || bytes == BYTES, "byte {at} = {edge:#x}");
                refingerprint(&mut bytes);
                let _ = read(&bytes);
            }
        }
        for _ in 0..20_000 {
            let mut bytes = [&BYTES[..], &BYTES[..]].concat();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                bytes[at] = if random(2) == 0 { edges[random(edges.len())] } else { random(256) as u8 };
            }
            let (first, second) = bytes.split_at_mut(BYTES.len());
            refingerprint(first);
            refingerprint(second);
            bytes.truncate(bytes.len() - random(2) * random(BYTES.len()));
            let _ = read(&bytes);
        }
    }
}
