//! Query engines, visitors, schedulers.

use std::any::Any;
use std::fmt::{self, Debug, Display};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hotcall::{dispatch, slot};

pub trait DisplayAs {
    fn display_as(&self, wide: bool) -> String;
}
/// A node of a plan.
#[dispatch]
pub trait Execution: Debug + DisplayAs + Send + Sync {
    fn static_name() -> &'static str
    where
        Self: Sized,
    {
        "execution"
    }
    fn name(&self) -> &str;
    fn as_any(&self) -> &dyn Any;
    fn children(&self) -> Vec<&Arc<dyn Execution>>;
    fn with_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn Execution>>,
    ) -> Result<Arc<dyn Execution>, String>;
    fn execute(&self, partition: usize, context: Arc<u8>) -> Result<Vec<u8>, String>;
    fn metrics(&self) -> Option<Vec<u8>> {
        None
    }
}
#[derive(Debug)]
struct Filter(Vec<Arc<dyn Execution>>);
impl DisplayAs for Filter {
    fn display_as(&self, wide: bool) -> String {
        format!("filter {wide}")
    }
}
impl Execution for Filter {
    fn name(&self) -> &str {
        "filter"
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn children(&self) -> Vec<&Arc<dyn Execution>> {
        self.0.iter().collect()
    }
    fn with_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn Execution>>,
    ) -> Result<Arc<dyn Execution>, String> {
        Ok(Arc::new(Self(children)))
    }
    fn execute(&self, partition: usize, context: Arc<u8>) -> Result<Vec<u8>, String> {
        Ok(vec![partition as u8, *context])
    }
}
#[slot]
static EXECUTION: dyn Execution = Filter(Vec::new());

#[test]
fn a_node_of_a_plan() {
    shared!(EXECUTION: dyn Execution = Filter(vec![Arc::new(Filter(Vec::new()))]);
    |node| (node.execute(3, Arc::new(4)), node.metrics());
    lends |node| (
        node.name().to_owned(),
        node.children().len(),
        node.as_any().is::<Filter>(),
        node.display_as(true),
        format!("{node:?}"),
    ));
    let whole: Arc<dyn Execution> =
        hotcall::Instance::<dyn Execution>::new(Filter(Vec::new())).into_box().unwrap().into();
    assert_eq!(whole.with_children(vec![Arc::new(Filter(Vec::new()))]).unwrap().children().len(), 1);
    assert_eq!(Filter::static_name(), "execution");
}

pub trait DynEq {
    fn dyn_eq(&self, other: &dyn Any) -> bool;
}
impl<T: Eq + Any> DynEq for T {
    fn dyn_eq(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }
}
pub trait DynHash {
    fn dyn_hash(&self, state: &mut dyn Hasher);
}
impl<T: Hash> DynHash for T {
    fn dyn_hash(&self, mut state: &mut dyn Hasher) {
        self.hash(&mut state);
    }
}
/// An expression, with supertraits that all types of a kind have.
#[dispatch]
pub trait Expression: Any + Send + Sync + Display + Debug + DynEq + DynHash {
    fn as_any(&self) -> &dyn Any;
    fn evaluate(&self, row: &[u8]) -> Result<u8, String>;
    fn nullable(&self, _schema: &u8) -> Result<bool, String> {
        Ok(true)
    }
}
#[derive(Debug, PartialEq, Eq, Hash)]
struct Column(usize);
impl Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}", self.0)
    }
}
impl Expression for Column {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn evaluate(&self, row: &[u8]) -> Result<u8, String> {
        row.get(self.0).copied().ok_or_else(|| format!("no {self}"))
    }
}
#[slot]
static EXPRESSION: dyn Expression = Column(0);

#[test]
fn an_expression() {
    shared!(EXPRESSION: dyn Expression = Column(1);
        |expression| (expression.evaluate(&[1, 2]), expression.evaluate(&[]), expression.nullable(&1));
        lends |expression| (expression.as_any().downcast_ref() == Some(&Column(1)), format!("{expression:?}")));
    let guard = hotcall::pin();
    let held = EXPRESSION.get(&guard);
    let mut hasher = std::hash::DefaultHasher::new();
    (*held).dyn_hash(&mut hasher);
    assert!((*held).dyn_eq(&Column(1)) && hasher.finish() != 0 && held.to_string() == "column 1");
}

pub struct Node<'ast>(&'ast str);
/// A visitor of a tree that lives longer.
#[dispatch]
pub trait Visitor<'ast>: Send {
    fn visit_node(&mut self, node: &Node<'ast>) -> bool {
        self.visit_name(node.0);
        true
    }
    fn visit_name(&mut self, name: &'ast str);
    fn found(&self) -> usize;
}
struct Count(usize);
impl<'ast> Visitor<'ast> for Count {
    fn visit_name(&mut self, name: &'ast str) {
        self.0 += name.len();
    }
    fn found(&self) -> usize {
        self.0
    }
}
#[slot]
static VISITOR: dyn for<'ast> Visitor<'ast> = Count(0);

#[test]
fn a_visitor() {
    locked!(VISITOR: dyn for<'ast> Visitor<'ast> = Count(0);
        |visitor| {
            let name = String::from("name");
            visitor.visit_name(&name);
            (visitor.visit_node(&Node(&name)), visitor.found())
        };
        lends |visitor| visitor.found());
}

/// A reader of batches is an iterator.
#[dispatch]
pub trait Batches: Iterator<Item = Result<Vec<u8>, String>> + Send {
    fn schema(&self) -> Arc<u8>;
    fn metadata(&self) -> Option<&str> {
        None
    }
}
struct Twice(u8);
impl Iterator for Twice {
    type Item = Result<Vec<u8>, String>;
    fn next(&mut self) -> Option<Self::Item> {
        self.0 = self.0.checked_sub(1)?;
        Some(Ok(vec![self.0]))
    }
}
impl Batches for Twice {
    fn schema(&self) -> Arc<u8> {
        Arc::new(self.0)
    }
}
#[slot]
static BATCHES: dyn Batches = Twice(0);

#[test]
fn batches() {
    locked!(BATCHES: dyn Batches = Twice(3);
        |batches| (batches.next(), batches.schema(), batches.size_hint());
        lends |batches| (batches.metadata().map(str::to_owned), batches.next(), batches.next()));
}

/// A system of a game engine.
#[dispatch]
pub trait System: Send + Sync + 'static {
    type In;
    type Out;
    fn name(&self) -> std::borrow::Cow<'static, str>;
    fn run(&mut self, input: Self::In, world: &mut Vec<u8>) -> Self::Out;
    fn others(&self) -> Vec<Box<dyn System<In = Self::In, Out = Self::Out>>> {
        Vec::new()
    }
}
struct Spawn;
impl System for Spawn {
    type In = u8;
    type Out = usize;
    fn name(&self) -> std::borrow::Cow<'static, str> {
        "spawn".into()
    }
    fn run(&mut self, input: u8, world: &mut Vec<u8>) -> usize {
        world.push(input);
        world.len()
    }
}
#[slot]
static SYSTEM: dyn System<In = u8, Out = usize> = Spawn;

#[test]
fn a_system() {
    locked!(SYSTEM: dyn System<In = u8, Out = usize> = Spawn;
        |system| (system.run(1, &mut vec![0]), system.name(), system.others().len());
        lends |system| system.name());
}
