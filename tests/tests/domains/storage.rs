//! Stores, their transactions, and what their values are.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;

use hotcall::{dispatch, slot};

pub trait Cursor {
    fn next(&mut self) -> Option<(Vec<u8>, Vec<u8>)>;
}
/// A transaction, that lends what it has read.
#[dispatch]
pub trait Transaction: Send {
    fn value<'t>(&'t self, key: &[u8]) -> Result<Option<&'t [u8]>, String>;
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), String>;
    fn cursor(&self) -> Box<dyn Cursor + '_>;
    fn iter<'a>(&'a self, from: &'a [u8]) -> Box<dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a>;
    fn commit(self: Box<Self>) -> Result<usize, String>;
}
struct Tree(BTreeMap<Vec<u8>, Vec<u8>>);
struct Walk<'a>(std::collections::btree_map::Iter<'a, Vec<u8>, Vec<u8>>);
impl Cursor for Walk<'_> {
    fn next(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        self.0.next().map(|(key, value)| (key.clone(), value.clone()))
    }
}
impl Transaction for Tree {
    fn value<'t>(&'t self, key: &[u8]) -> Result<Option<&'t [u8]>, String> {
        Ok(self.0.get(key).map(Vec::as_slice))
    }
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.0.insert(key.into(), value.into());
        Ok(())
    }
    fn cursor(&self) -> Box<dyn Cursor + '_> {
        Box::new(Walk(self.0.iter()))
    }
    fn iter<'a>(&'a self, from: &'a [u8]) -> Box<dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a> {
        Box::new(self.0.range(from.to_vec()..).map(|(key, value)| (&**key, &**value)))
    }
    fn commit(self: Box<Self>) -> Result<usize, String> {
        Ok(self.0.len())
    }
}
#[slot]
static TRANSACTION: dyn Transaction = Tree(BTreeMap::new());

#[test]
fn a_transaction() {
    locked!(TRANSACTION: dyn Transaction = Tree(BTreeMap::new());
    |transaction| (transaction.put(b"a", b"1"), transaction.put(b"b", b"2"));
    lends |transaction| (
        transaction.value(b"a").map(|value| value.map(<[u8]>::to_vec)),
        transaction.cursor().next(),
        transaction.iter(b"b").map(|(key, _)| key.to_vec()).collect::<Vec<_>>(),
    ));
    let transaction = hotcall::Instance::<dyn Transaction>::new(Tree(BTreeMap::new()));
    assert_eq!(transaction.into_box().unwrap().commit(), Ok(0));
}

pub type Answer<'a, T> = Result<T, Box<dyn Error + Send + Sync + 'a>>;
/// A session with a database.
#[dispatch]
pub trait Session: Send {
    fn begin<'s>(&'s mut self, isolation: u8) -> Box<dyn FnMut(&str) -> u64 + Send + 's>;
    fn prepare(&mut self, sql: &str) -> Answer<'static, u64>;
    fn row<'r, 'q: 'r>(&'r self, query: &'q str) -> Option<(&'r str, &'q str)>;
    fn each(&mut self, f: &mut dyn for<'r> FnMut(&'r [&'r str]) -> bool) -> usize;
}
struct Rows(Vec<String>);
impl Session for Rows {
    fn begin<'s>(&'s mut self, isolation: u8) -> Box<dyn FnMut(&str) -> u64 + Send + 's> {
        Box::new(move |sql| {
            self.0.push(sql.to_owned());
            self.0.len() as u64 + u64::from(isolation)
        })
    }
    fn prepare(&mut self, sql: &str) -> Answer<'static, u64> {
        if sql.is_empty() { Err("nothing".into()) } else { Ok(sql.len() as u64) }
    }
    fn row<'r, 'q: 'r>(&'r self, query: &'q str) -> Option<(&'r str, &'q str)> {
        self.0.first().map(|row| (&**row, query))
    }
    fn each(&mut self, f: &mut dyn for<'r> FnMut(&'r [&'r str]) -> bool) -> usize {
        self.0.iter().filter(|row| f(&[row])).count()
    }
}
#[slot]
static SESSION: dyn Session = Rows(Vec::new());

#[test]
fn a_session() {
    locked!(SESSION: dyn Session = Rows(vec!["one".into()]);
    |session| (
        session.prepare("select").ok(),
        session.prepare("").map_err(|error| error.to_string()),
        session.each(&mut |row| row[0] == "one"),
    );
    lends |session| {
        let begun = session.begin(2)("two");
        (begun, session.row("q").map(|(row, query)| format!("{row}{query}")))
    });
}

/// Bytes, by what can be had of them.
#[dispatch]
pub trait Bytes: AsRef<[u8]> + Borrow<[u8]> + Debug + Send + Sync {
    fn slice(&self, range: Range<usize>) -> Box<dyn Bytes>;
    fn is_unique(&self) -> bool;
    fn same(&self, other: &dyn Bytes) -> bool;
    fn clone_box(&self) -> Box<dyn Bytes>;
}
#[derive(Debug)]
struct Owned(Vec<u8>);
impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
impl Borrow<[u8]> for Owned {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}
impl Bytes for Owned {
    fn slice(&self, range: Range<usize>) -> Box<dyn Bytes> {
        Box::new(Self(self.0[range].to_vec()))
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn same(&self, other: &dyn Bytes) -> bool {
        self.0 == other.as_ref()
    }
    fn clone_box(&self) -> Box<dyn Bytes> {
        Box::new(Self(self.0.clone()))
    }
}
#[slot]
static BYTES: dyn Bytes = Owned(Vec::new());

#[test]
fn bytes() {
    shared!(BYTES: dyn Bytes = Owned(vec![1, 2, 3]);
    |bytes| {
        let part = bytes.slice(1..3);
        (bytes.is_unique(), (*part).as_ref().to_vec(), bytes.same(&*part), bytes.same(&*bytes.clone_box()))
    };
    lends |bytes| {
        let borrowed: &[u8] = bytes.as_ref();
        borrowed.to_vec()
    });
}

pub struct Config(bool);
/// A watcher of files, made of a type that is given.
#[dispatch]
pub trait Watcher {
    fn new<F: Fn(&Path) + Send + 'static>(handler: F, config: Config) -> Result<Self, String>
    where
        Self: Sized;
    fn watch(&mut self, path: &Path, recursive: bool) -> Result<usize, String>;
    fn configure(&mut self, config: Config) -> Result<bool, String> {
        Ok(config.0)
    }
    fn kind() -> u8
    where
        Self: Sized;
}
struct Polling(usize);
impl Watcher for Polling {
    fn new<F: Fn(&Path) + Send + 'static>(_: F, config: Config) -> Result<Self, String> {
        Ok(Self(usize::from(config.0)))
    }
    fn watch(&mut self, path: &Path, recursive: bool) -> Result<usize, String> {
        self.0 += path.as_os_str().len() + usize::from(recursive);
        Ok(self.0)
    }
    fn kind() -> u8 {
        7
    }
}
#[slot]
static WATCHER: dyn Watcher = Polling(0);

#[test]
fn a_watcher() {
    locked!(WATCHER: dyn Watcher = Polling::new(|_| {}, Config(true)).unwrap();
        |watcher| (watcher.watch(Path::new("/tmp"), true), watcher.configure(Config(true)));
        lends |watcher| watcher.watch(Path::new("/"), false));
    assert_eq!(Polling::kind(), 7);
}

/// A table, whose types say things of each other.
#[dispatch]
pub trait Table: Send {
    type Key: Ord + Clone;
    type Entry: From<Self::Key>;
    type Iter: Iterator<Item = Self::Entry>;
    fn iter(&self) -> Self::Iter;
    fn first(&mut self, key: &Self::Key) -> Option<Self::Entry>
    where
        Self::Key: Clone;
    fn entry(&self, key: Self::Key) -> Self::Entry
    where
        Self::Entry: Sized,
    {
        key.into()
    }
}
struct Numbers(u16);
impl Table for Numbers {
    type Key = u8;
    type Entry = u16;
    type Iter = std::vec::IntoIter<u16>;
    fn iter(&self) -> Self::Iter {
        vec![self.0].into_iter()
    }
    fn first(&mut self, key: &u8) -> Option<u16> {
        self.0 = (*key).into();
        Some(self.0)
    }
}
#[slot]
static TABLE: dyn Table<Key = u8, Entry = u16, Iter = std::vec::IntoIter<u16>> = Numbers(0);

#[test]
fn a_table() {
    locked!(TABLE: dyn Table<Key = u8, Entry = u16, Iter = std::vec::IntoIter<u16>> = Numbers(1);
        |table| (table.first(&7), table.entry(3), table.iter().collect::<Vec<_>>());
        lends |table| table.iter().count());
}
