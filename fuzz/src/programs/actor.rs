//! Who does what a program says: stackful coroutines of one thread, and threads. One of them at a time; all others stand
//! wherever they are, inside calls, edits, batches and under guards.
//!
//! An actor asks for its next operation from inside whatever it is inside of ([`serve`]). So a program goes into a call by one
//! operation and out of it by another, and in between others take their turns.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::Op;
use super::edits::{Bottom, Level};
use super::instance::{SECOND, Step};
use super::ledger::{self, Open};
use super::ops;
use super::world::World;

/// A panic that the program asked for, which passes through so many more of the actor's frames.
pub struct Planned(pub u8);

/// What an actor is told.
#[derive(Clone, Copy)]
pub enum Order {
    Do(Op),
    /// To leave everything that it is inside of, and end.
    End,
}

type Yields = Yielder<Order, ()>;

#[derive(Clone, Copy)]
enum Port<'a> {
    Coroutine(&'a Yields),
    Thread(&'a Receiver<Order>, &'a SyncSender<()>),
}

/// What an actor knows of itself.
pub struct Actor {
    /// Which thread it is on; 0 is that of the coroutines.
    pub thread: usize,
    pub world: Arc<World>,
    /// So many elements further, the next call goes on with the program.
    pub park: Cell<Option<u8>>,
    /// Dropped in any order.
    pub guards: RefCell<Vec<(Open, hotcall::Guard)>>,
    ending: Cell<bool>,
    depth: Cell<u32>,
}

impl Actor {
    fn new(thread: usize, world: &Arc<World>) -> Self {
        Self {
            thread,
            world: Arc::clone(world),
            park: Cell::new(None),
            guards: RefCell::default(),
            ending: Cell::new(false),
            depth: Cell::new(0),
        }
    }
}

/// Where an actor is.
pub struct At<'a> {
    pub actor: &'a Actor,
    port: Port<'a>,
}

/// How deep an actor may be inside.
const DEEPEST: u32 = 6;

impl At<'_> {
    fn next(&self) -> Option<Op> {
        if self.actor.ending.get() {
            return None;
        }
        let order = match self.port {
            Port::Coroutine(yielder) => yielder.suspend(()),
            Port::Thread(orders, ready) => {
                let _ = ready.send(());
                orders.recv().unwrap_or(Order::End)
            }
        };
        match order {
            Order::Do(op) => Some(op),
            Order::End => {
                self.actor.ending.set(true);
                None
            }
        }
    }

    /// Inside a call: goes on with the program here, if the call was made for that.
    pub fn go_on_inside(&self) {
        match self.actor.park.get() {
            Some(0) => {
                self.actor.park.set(None);
                serve(self, &mut Bottom);
            }
            Some(more) => self.actor.park.set(Some(more - 1)),
            None => {}
        }
    }
}

/// Goes on with the program, here, until it says that this is to be left.
pub fn serve(at: &At<'_>, level: &mut dyn Level) {
    struct Leave<'a>(&'a Cell<u32>);
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    let depth = &at.actor.depth;
    if depth.get() >= DEEPEST {
        return;
    }
    depth.set(depth.get() + 1);
    let _leave = Leave(depth);
    while let Some(op) = at.next() {
        if matches!(op.what(), super::What::Leave) && depth.get() > 1 {
            break;
        }
        framed(|| ops::step(at, level, op));
    }
}

/// A planned panic ends here, or one frame further out. Any other one is a finding, or none of ours.
pub fn framed(work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        judge(payload);
    }
}

fn judge(payload: Box<dyn Any + Send>) {
    match payload.downcast::<Planned>() {
        Ok(planned) if planned.0 == 0 => {}
        Ok(planned) => resume_unwind(Box::new(Planned(planned.0 - 1))),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            match text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())) {
                Some(text) => ledger::report(format!("panicked: {text}")),
                // A coroutine that is dropped is unwound.
                None => resume_unwind(payload),
            }
        }
    }
}

fn live(actor: &Actor, port: Port<'_>) {
    while !actor.ending.get() {
        let at = At { actor, port };
        // Further out than this nothing passes.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| serve(&at, &mut Bottom)))
            && !payload.is::<Planned>()
        {
            judge(payload);
        }
    }
    // In the order in which they were made, so not the reverse.
    let guards = std::mem::take(&mut *actor.guards.borrow_mut());
    for (open, guard) in guards {
        drop(open);
        drop(guard);
    }
}

/// An actor, from outside.
pub enum Handle {
    Coroutine(Coroutine<Order, (), ()>),
    Thread { orders: SyncSender<Order>, ready: Receiver<()>, thread: JoinHandle<()> },
}

impl Handle {
    pub fn coroutine(world: &Arc<World>) -> Self {
        let world = Arc::clone(world);
        let mut coroutine = Coroutine::new(move |yielder: &Yields, _| {
            let actor = Actor::new(0, &world);
            live(&actor, Port::Coroutine(yielder));
        });
        // The first order is only to begin.
        coroutine.resume(Order::End);
        Self::Coroutine(coroutine)
    }

    pub fn thread(number: usize, world: &Arc<World>) -> Self {
        let world = Arc::clone(world);
        let (orders, receive) = sync_channel(0);
        let (answer, ready) = sync_channel(0);
        let thread = std::thread::spawn(move || {
            LAST.with(|_| {});
            let actor = Actor::new(number, &world);
            live(&actor, Port::Thread(&receive, &answer));
        });
        let _ = ready.recv();
        Self::Thread { orders, ready, thread }
    }

    /// Lets it do that, and comes back when it asks for the next.
    pub fn order(&mut self, op: Op) {
        match self {
            Self::Coroutine(coroutine) => drop(coroutine.resume(Order::Do(op))),
            Self::Thread { orders, ready, .. } => {
                let _ = orders.send(Order::Do(op));
                let _ = ready.recv();
            }
        }
    }

    /// Lets it leave all that it is inside of, and end.
    pub fn end(self) {
        match self {
            Self::Coroutine(mut coroutine) => {
                if !matches!(coroutine.resume(Order::End), CoroutineResult::Return(())) {
                    ledger::report("a coroutine does not end");
                    std::mem::forget(coroutine);
                }
            }
            Self::Thread { orders, ready, thread, .. } => {
                let _ = orders.send(Order::End);
                drop((orders, ready));
                if thread.join().is_err() {
                    ledger::report("a thread has panicked");
                }
            }
        }
    }

    /// Ends it by unwinding what it is inside of.
    pub fn unwind(self) {
        match self {
            Self::Coroutine(coroutine) => drop(coroutine),
            thread => thread.end(),
        }
    }

    /// Something was found: nothing is run any more.
    pub fn abandon(self) {
        std::mem::forget(self);
    }
}

struct Last;
impl Drop for Last {
    fn drop(&mut self) {
        let guard = hotcall::pin();
        SECOND.get(&guard).peek(SECOND.peek(1));
    }
}

thread_local! {
    /// Calls once more when a thread ends.
    static LAST: Last = const { Last };
}
