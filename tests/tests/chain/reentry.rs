//! Edits from inside an element, and from inside an edit.

use hotcall::{Chain, Error};

use crate::{Effect, Gain, Nothing};

#[test]
fn an_element_edits_the_chain_that_calls_it() {
    static RACK: Chain<dyn Effect> = Chain::EMPTY;
    struct Edits;
    impl Effect for Edits {
        fn process(&self, sample: f32) -> f32 {
            RACK.push(Gain(2.0)).unwrap();
            let gone = RACK.remove(0).unwrap();
            // This very call keeps it.
            let refused = gone.wait().unwrap_err();
            assert!(matches!(refused, hotcall::WaitError::WouldDeadlock(_)));
            // A call from inside sees the new list.
            assert_eq!(RACK.process(sample), sample * 2.0);
            sample
        }
        fn note(&self, _: &mut Vec<u32>) {}
    }
    RACK.push(Edits).unwrap();
    RACK.push(Nothing).unwrap();
    assert_eq!(RACK.process(3.0), 3.0, "the call goes on over the list with which it began");
    assert_eq!(RACK.process(3.0), 6.0);
    let inner = RACK.edit(|list| {
        list.push(Nothing);
        let refused = RACK.push(Nothing).unwrap_err();
        assert!(matches!(refused.error(), Error::Reentrant));
        RACK.len()
    });
    assert_eq!((inner.unwrap().0, RACK.len()), (0, 3));
    let caught = std::panic::catch_unwind(|| {
        RACK.edit(|list| {
            list.clear();
            panic!("inside an edit");
        })
    });
    assert!(caught.is_err());
    assert_eq!((RACK.len(), RACK.process(3.0)), (3, 6.0), "an edit that panics changes nothing");
    drop(RACK.clear().unwrap());
}
