//! Slots in libraries: in an rlib that knows hotcall by another name, through a re-export, and in a cdylib.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use hotcall_examples::plugins;
use hotcall_probe::Probe;
use hotcall_renamed::{Add, FILTER, Filter, OWN, SCALE, call, call_inline, facade, install};

#[test]
fn slots_of_an_rlib_are_called_and_retargeted_from_both_sides() {
    assert_eq!(call(1), [1, 1, 2]);
    assert_eq!(call_inline(1), [1, 1, 2]);
    assert_eq!([FILTER.run(1), OWN.run(1), SCALE(1)], [1, 1, 2]);
    install(5).unwrap();
    assert_eq!(call(1), [6, 6, 2]);
    assert_eq!(call_inline(1), [6, 6, 2]);
    assert_eq!([FILTER.run(1), OWN.run(1), SCALE(1)], [6, 6, 2]);
    drop(FILTER.replace(Add(7)).unwrap());
    drop(SCALE.replace(|x: u32| x * 3).unwrap());
    for _ in 0..100 {
        assert_eq!(call(1), [8, 6, 3]);
        assert_eq!(call_inline(1), [8, 6, 3]);
        assert_eq!([FILTER.run(1), OWN.run(1), SCALE(1)], [8, 6, 3]);
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    assert_eq!(FILTER.name(), "add 7");
}

#[facade::swapping::dispatch(crate = hotcall_renamed::facade::swapping)]
trait Through: Send + Sync {
    fn run(&self) -> String;
}
impl Through for Add {
    fn run(&self) -> String {
        self.0.to_string()
    }
}
#[facade::swapping::slot(crate = hotcall_renamed::facade::swapping, control = THROUGH_CONTROL)]
static THROUGH: dyn Through = Add(1);

#[test]
fn through_a_re_export() {
    assert_eq!(THROUGH.run(), "1");
    drop(THROUGH_CONTROL.replace(Add(2)).unwrap());
    assert_eq!(THROUGH.run(), "2");
}

#[test]
fn a_plugin_has_slots_of_its_own() {
    let path = plugins::build(&["hotcall-probe-slotted"]).unwrap().remove(0);
    let library = plugins::open(&path).unwrap();
    let instance = library.instantiate::<dyn Probe>("").unwrap();
    assert_eq!([instance.count(), instance.count(), instance.count()], [1, 11, 21]);
}
