//! Windows, their applications and what is drawn in them.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Debug;

use hotcall::{dispatch, slot};

pub struct Loop(u8);
#[allow(dead_code)]
pub enum Cause {
    Poll,
    Init,
}
/// An application, called by its window's loop.
#[dispatch]
pub trait Application<Event: 'static = ()> {
    fn new_events(&mut self, event_loop: &Loop, cause: Cause) {
        let _ = (event_loop.0, matches!(cause, Cause::Init | Cause::Poll));
    }
    fn resumed(&mut self, event_loop: &Loop);
    fn user_event(&mut self, event_loop: &Loop, event: Event) -> Option<Event>;
    fn clear_color(&self, _visuals: &u8) -> [f32; 4] {
        [0.1; 4]
    }
}
struct Clock(u8);
impl Application<String> for Clock {
    fn resumed(&mut self, event_loop: &Loop) {
        self.0 += event_loop.0;
    }
    fn user_event(&mut self, _: &Loop, event: String) -> Option<String> {
        Some(format!("{event} {}", self.0))
    }
}
#[slot]
static APPLICATION: dyn Application<String> = Clock(0);

#[test]
fn an_application() {
    locked!(APPLICATION: dyn Application<String> = Clock(1);
        |application| {
            application.new_events(&Loop(1), Cause::Init);
            application.resumed(&Loop(4));
            (application.user_event(&Loop(1), "tick".into()), application.clear_color(&1))
        };
        lends |application| application.clear_color(&1));
}

pub struct Handle<'a>(&'a u64);
pub trait HasHandle {
    fn window_handle(&self) -> Result<Handle<'_>, String>;
}
/// A window, whose handle a supertrait lends.
#[dispatch]
pub trait Window: HasHandle + Debug + Send + Sync {
    fn scale(&self) -> f64;
    fn title(&self) -> Cow<'_, str>;
}
#[derive(Debug)]
struct Shown(u64);
impl HasHandle for Shown {
    fn window_handle(&self) -> Result<Handle<'_>, String> {
        Ok(Handle(&self.0))
    }
}
impl Window for Shown {
    fn scale(&self) -> f64 {
        2.0
    }
    fn title(&self) -> Cow<'_, str> {
        format!("window {}", self.0).into()
    }
}
#[slot]
static WINDOW: dyn Window = Shown(1);

#[test]
fn a_window() {
    shared!(WINDOW: dyn Window = Shown(9);
    |window| window.scale();
    lends |window| (
        window.title().into_owned(),
        window.window_handle().map(|handle| *handle.0),
        format!("{window:?}"),
    ));
}

pub trait Base: Send {
    fn id(&self) -> u32;
    fn rename(&mut self, id: u32);
    fn label(&self) -> &str {
        "widget"
    }
}
/// A widget, with a supertrait of the program's own that has `&mut self`.
#[dispatch]
pub trait Widget: Base {
    fn update(&mut self, seconds: f32) -> u32;
    fn as_base(&mut self) -> &mut dyn Base;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}
struct Button(u32);
impl Base for Button {
    fn id(&self) -> u32 {
        self.0
    }
    fn rename(&mut self, id: u32) {
        self.0 = id;
    }
}
impl Widget for Button {
    fn update(&mut self, seconds: f32) -> u32 {
        self.0 += seconds as u32;
        self.0
    }
    fn as_base(&mut self) -> &mut dyn Base {
        self
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
#[slot]
static WIDGET: dyn Widget = Button(0);

#[test]
fn a_widget() {
    locked!(WIDGET: dyn Widget = Button(1);
    |widget| (widget.update(2.0), widget.update(1.0));
    lends |widget| {
        let id = widget.id();
        widget.rename(id + 1);
        widget.as_base().rename(9);
        (widget.id(), widget.label().to_owned())
    });
    let whole = hotcall::Patched::<dyn Widget>::new(Button(3)).into_inner().into_box();
    assert_eq!(whole.unwrap().into_any().downcast::<Button>().unwrap().0, 3);
}

pub struct Ui(u8);
/// What draws itself and is gone: by value, as no trait object is called.
#[dispatch]
pub trait Drawn: Send + Sync {
    fn draw(self, ui: &mut Ui) -> u8;
    fn width(&self) -> u8;
}
#[derive(Clone, Copy)]
struct Label(u8);
impl Drawn for Label {
    fn draw(self, ui: &mut Ui) -> u8 {
        ui.0 += self.0;
        ui.0
    }
    fn width(&self) -> u8 {
        self.0
    }
}
#[slot]
static DRAWN: dyn Drawn = Label(1);

#[test]
fn drawn_by_value() {
    shared!(DRAWN: dyn Drawn = Label(6); |drawn| drawn.width(); lends |drawn| drawn.width());
    assert_eq!(Label(2).draw(&mut Ui(1)), 3);
    fn is_drawn(_: &impl Drawn) {}
    is_drawn(&DRAWN);
}
